"""NNCF: post-training quantization of the ONNX graph, or of its weights alone.

The graph is quantized before OpenVINO reads it: Q/DQ in ONNX becomes the same FakeQuantize, and one kind of graph is
enough for every target.
"""

import logging
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.graph.convert import constant, to_ir, to_proto

from . import Images


def quantize(
    proto: onnx.ModelProto, nodes: list[str], images: Images | None, recipe: QuantizationRecipe
) -> onnx.ModelProto:
    """See `Quantizer`."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own set_log_level changes others' handlers as well
    ignored = nncf.IgnoredScope(names=[node.name for node in proto.graph.node if node.name not in set(nodes)])
    if images is None or not recipe.calibrated:
        mode = nncf.CompressWeightsMode.INT8_SYM
        return _plain(nncf.compress_weights(proto, mode=mode, ignored_scope=ignored))
    quantized = nncf.quantize(
        proto,
        nncf.Dataset(images, dict),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER,
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=ignored,
        advanced_parameters=_parameters(nncf, recipe),
    )
    return _plain(quantized)


def _parameters(nncf: Any, recipe: QuantizationRecipe) -> Any:
    """The recipe in NNCF's words."""
    from nncf.common.quantization.structs import QuantizationScheme
    from nncf.quantization import advanced_parameters as advanced
    from nncf.quantization import range_estimator as estimator

    scheme = QuantizationScheme.SYMMETRIC if recipe.activations == "symmetric" else QuantizationScheme.ASYMMETRIC
    observed = estimator.RangeEstimatorParametersSet.MINMAX
    if recipe.ranges == "percentile":
        outlier = 1 - recipe.percentile / 100
        observed = estimator.RangeEstimatorParameters(
            estimator.StatisticsCollectorParameters(
                estimator.StatisticsType.QUANTILE, estimator.AggregatorType.MEAN, quantile_outlier_prob=outlier
            ),
            estimator.StatisticsCollectorParameters(
                estimator.StatisticsType.QUANTILE, estimator.AggregatorType.MEAN, quantile_outlier_prob=outlier
            ),
        )
    return advanced.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE if recipe.reduced else nncf.OverflowFix.DISABLE,
        disable_bias_correction=not recipe.bias_correction,
        smooth_quant_alphas=advanced.AdvancedSmoothQuantParameters(
            matmul=-1 if recipe.smooth_quant is None else recipe.smooth_quant, convolution=-1
        ),
        activations_quantization_params=advanced.QuantizationParameters(mode=scheme, per_channel=False),
        weights_quantization_params=advanced.QuantizationParameters(
            mode=QuantizationScheme.SYMMETRIC, per_channel=recipe.per_channel
        ),
        activations_range_estimator_params=observed,
    )


class PlainScales(ir.passes.InPlacePass):
    """Write scales as ONNX wants them, and leave out NNCF's record of how it was called.

    1. Scales that vary along one axis alone, but have as many axes as the weights (NNCF 3.4 gives a convolution's
       four): one axis, which the DequantizeLinear names.
    2. One scale with as many axes, of a convolution to one channel: one number.
    3. Any other scale: as it is; DequantizeLinear takes one number, or a list with its axis.
    4. Metadata that NNCF wrote: removed.

        Given    DequantizeLinear(weight [8, 3, 4, 4], scale [8, 1, 1, 1])
        Result   DequantizeLinear(weight [8, 3, 4, 4], scale [8], axis=0)
        Given    DequantizeLinear(weight [1, 2, 7, 7], scale [1, 1, 1, 1])
        Result   DequantizeLinear(weight [1, 2, 7, 7], scale [])
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        modified = False
        for node in model.graph:
            scale = node.inputs[1] if node.op_type == "DequantizeLinear" else None
            if scale is None or scale.const_value is None or len(scale.const_value.shape) < 2:  # Case 3
                continue
            values = scale.const_value.numpy()
            long = [axis for axis, side in enumerate(values.shape) if side != 1]
            if len(long) > 1:  # Case 3
                continue
            plain = ir.tensor(values.reshape([-1] * len(long)), name=scale.name)
            for use in scale.uses():
                use.node.attributes.clear()
                if long:  # Case 1, without it Case 2
                    use.node.attributes.add(ir.AttrInt64("axis", long[0]))
            scale.const_value, scale.shape = plain, ir.Shape(plain.shape.numpy())
            modified = True
        for key in [key for key in model.metadata_props if key.startswith("nncf")]:  # Case 4
            del model.metadata_props[key]
            modified = True
        return ir.passes.PassResult(model, modified)


class UnsignedActivations(ir.passes.InPlacePass):
    """Store activations with a zero point as uint8, in the same steps.

    On processors with AMX, OpenVINO 2026.4 computes a convolution of int8 activations with a zero point in float32.
    NNCF has signed ones for its target CPU, and refuses others.

        Given    QuantizeLinear(x, 0.02, int8 -14) -> DequantizeLinear(0.02, int8 -14)
        Result   QuantizeLinear(x, 0.02, uint8 114) -> DequantizeLinear(0.02, uint8 114)
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite in place."""
        modified = False
        for node in model.graph:
            zero = node.inputs[2] if node.op_type == "QuantizeLinear" and len(node.inputs) > 2 else None
            if zero is None or zero.dtype != ir.DataType.INT8 or zero.const_value is None:
                continue
            (quantized,) = node.outputs
            shifted = zero.const_value.numpy().astype(np.int16) + 128
            if (shifted == 128).all():
                continue
            unsigned = constant(ir.tensor(shifted.astype(np.uint8), name=f"{quantized.name}_zero_point"))
            model.graph.initializers.add(unsigned)
            for reader in (node, *(use.node for use in quantized.uses())):
                reader.replace_input_with(2, unsigned)
            quantized.dtype = ir.DataType.UINT8
            modified = True
        return ir.passes.PassResult(model, modified)


def _plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = to_ir(proto)
    PlainScales()(model)
    UnsignedActivations()(model)
    return to_proto(model)
