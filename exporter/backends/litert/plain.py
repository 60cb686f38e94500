"""What `Interpreter("model.tflite")` computes, and what has to be set so that it is what was proved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

WHY = (
    "the file fixes each type, and LiteRT's CPU kernels keep it, XNNPACK's by default; on a phone Accelerator.GPU and "
    "NPUs compute in float16, which was not proved here"
)


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """LiteRT computes in the types that the file says; without settings it takes XNNPACK, as the proof does.

    Source: ai-edge-litert 2.3.0, `Interpreter.__init__`; ai.google.dev/edge/litert, "CompiledModel API".
    """
    call = f'Interpreter("{path.name}")'
    batch = "it takes the batch size of the file alone"
    if settings.get("delegate", "xnnpack") == "xnnpack":
        return PlainLoad(call, True, {}, WHY, batch=batch)
    return PlainLoad(
        call,
        False,
        {"experimental_op_resolver_type": "OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES"},
        "it runs XNNPACK's kernels, and was proved with LiteRT's own",
        batch=batch,
    )
