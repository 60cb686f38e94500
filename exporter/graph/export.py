"""InferenceModel -> OnnxGraph: trace, run the passes, state what the graph takes and gives."""

import io
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.overrides import TorchFunctionMode

from slide_export.core.errors import ExportError
from slide_export.core.graph import OnnxGraph, TensorSpec
from slide_export.inference.forms.native import NativeSlideAttention
from slide_export.inference.served import ServedModel
from slide_export.native import DOMAIN
from slide_export.native.schema import VERSION

from . import passes

OPSET = 17
"""The first with LayerNormalization. ONNX Runtime, OpenVINO and TensorRT 10.12 to 11.4 all read it in full; of the
newer ones, ONNX Runtime's static quantization refuses 21, its CUDA provider lacks Resize-19 and ReduceMax-20."""

LARGEST = 2**31 - 1  # bytes of one protobuf
UNFOLDING = frozenset({"unfold", "unfold_copy", "fold", "im2col", "col2im"})


def export(served: ServedModel, *, ships: bool = True) -> OnnxGraph:
    """The checked graph of a model in a form: simplified, no Im2Col, no tensor above rank 5, deterministic.

    Args:
        ships: False allows Im2Col and higher ranks, for a model that is only measured.

    Raises:
        ExportError: the model uses an unfold, or the graph breaks a rule.
    """
    names = (served.input_names, served.output_names)
    proto = _passed(served.wrapper(), served.example(), names, dynamic=not served.io.batch, ships=ships)
    _describe(proto, served)
    return _graph(proto)


def export_module(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    *,
    dynamic: bool = True,
    ships: bool = True,
) -> OnnxGraph:
    """The checked graph of any module.

    The TorchScript exporter is used: on Slide-Swin-T it takes 4 s where the dynamo exporter takes 25 s, for the same
    graph after simplification, and its names carry the module paths. torch is pinned, so its deprecation cannot bite.

    Args:
        examples: the inputs, of a batch of at least 2, unless that is fixed.
        dynamic: whether the batch, the first axis of input and outputs, is.
        ships: see `export`.

    Raises:
        ExportError: the module uses an unfold, or the graph breaks a rule.
    """
    return _graph(_passed(module, examples, (input_names, output_names), dynamic=dynamic, ships=ships))


def _passed(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    names: tuple[Sequence[str], Sequence[str]],
    *,
    dynamic: bool,
    ships: bool,
) -> onnx.ModelProto:
    """Trace a module and run the passes.

    Args:
        names: of the inputs and of the outputs.
    """
    trace = partial(_trace, module, examples, *names, dynamic=dynamic)
    proto = onnx.load_from_string(_without_unfold(trace) if ships else trace())
    if proto.ByteSize() > LARGEST:
        raise ExportError(
            f"expected a graph below 2 GiB, found {proto.ByteSize() / 2**30:.1f} GiB: a smaller variant is needed"
        )
    return passes.run(proto, passes.PASSES if ships else passes.MEASURED_ONLY)


def _graph(proto: onnx.ModelProto) -> OnnxGraph:
    return OnnxGraph(proto, specs(proto.graph.input), specs(proto.graph.output))


class _UnfoldWatch(TorchFunctionMode):
    """Collect the unfolding functions that a forward pass calls, of tensors, torch or its operators."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = getattr(func, "__name__", "").partition(".")[0]  # of an operator's overload too: im2col.default
        if name in UNFOLDING:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def _without_unfold(trace: Callable[[], bytes]) -> bytes:
    """What `trace` makes of a module that does not unfold; `passes.check` refuses Im2Col in the graph as well.

    Raises:
        ExportError: an unfold or fold was called.
    """
    watch = _UnfoldWatch()
    try:
        with watch:
            traced = trace()
    except Exception:
        _refuse(watch.found)  # the exporter does not know all of them
        raise
    _refuse(watch.found)
    return traced


def _refuse(unfolding: set[str]) -> None:
    if unfolding:
        raise ExportError(
            f"expected no Im2Col in the model, found {', '.join(sorted(unfolding))}: "
            "it becomes a chain of gathers on every target; use slide attention's convolutions"
        )


def _trace(
    module: nn.Module, examples: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], *, dynamic: bool
) -> bytes:
    buffer = io.BytesIO()
    own = any(isinstance(layer, NativeSlideAttention) for layer in module.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the TorchScript exporter, see `export_module`
        warnings.simplefilter("ignore", TracerWarning)  # sizes other than the batch are constants on purpose
        warnings.filterwarnings(
            "ignore", "Constant folding - Only steps=1"
        )  # of a Pad's sizes: `passes.simplify` folds
        torch.onnx.export(
            module,
            examples,
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter writes to a buffer too
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_opsets={DOMAIN: VERSION} if own else None,
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)} if dynamic else None,
        )
    return buffer.getvalue()


def _describe(proto: onnx.ModelProto, served: ServedModel) -> None:
    """Write what a user of the bare file needs into its metadata; nothing that changes from run to run."""
    model, io = served.trained, served.io
    proto.producer_name, proto.producer_version = "slide-export", ""
    proto.doc_string = proto.graph.doc_string = ""
    proto.graph.name = model.variant
    metadata = {
        "variant": model.variant,
        "lowering": served.form,
        "mean": json.dumps(model.data.mean, allow_nan=False),
        "std": json.dumps(model.data.std, allow_nan=False),
        "preprocessing": "embedded" if io.embed_preprocessing else "caller",
    }
    if io.labels:
        metadata["labels"] = json.dumps(io.labels, allow_nan=False)
    onnx.helper.set_model_props(proto, metadata)


def specs(values: Sequence[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    """Name, element type and shape of a graph's inputs or outputs."""
    return tuple(
        TensorSpec(
            value.name,
            str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    )
