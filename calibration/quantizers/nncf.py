"""NNCF: post-training quantization of the ONNX graph, or of its weights alone.

The graph is quantized before OpenVINO reads it: Q/DQ in ONNX becomes the same FakeQuantize, and one kind of graph is
enough for every target. NNCF reports its use to its makers unless its CI variable is set while it is imported.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import onnx

from slide_export.calibration.recipe import QuantizationRecipe

from . import Images


def quantize(
    proto: onnx.ModelProto, nodes: list[str], images: Images | None, recipe: QuantizationRecipe
) -> onnx.ModelProto:
    """Returns the quantized graph."""
    with _unreported():
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
    """Returns the recipe in NNCF's words."""
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


def _plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph without NNCF's record of how it was called, and with scales as ONNX wants them.

    NNCF 3.4 gives the scales of a convolution's weights four axes; DequantizeLinear takes one, or none.
    """
    scales = {node.input[1]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    for tensor in proto.graph.initializer:
        if tensor.name in scales and sum(side != 1 for side in tensor.dims) == 1 < len(tensor.dims):
            axis = next(index for index, side in enumerate(tensor.dims) if side != 1)
            tensor.dims[:] = [tensor.dims[axis]]
            node = scales[tensor.name]
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("axis", axis))
    kept = [entry for entry in proto.metadata_props if not entry.key.startswith("nncf")]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    return proto


@contextlib.contextmanager
def _unreported() -> Iterator[None]:
    """Keeps the use of NNCF to ourselves."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # read when nncf is imported
    try:
        yield
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
