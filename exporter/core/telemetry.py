"""What the libraries that we import would report to their makers, kept to ourselves.

A library decides when it is imported or first used, so `turn_off` is called where this package is, before any of them;
child processes inherit the variables and import the package again.

    openvino     sends "general_import" to Google Analytics and writes ~/intel/openvino_ga_cid, unless its package
                 `openvino_telemetry` cannot be imported: it then takes its own stub, which does nothing
                 (Source: openvino 2026.4.1, openvino/tools/ovc/__init__.py and telemetry_utils.py)
    nncf         the same through the same package; NNCF_CI alone is enough where that was imported before us
                 (Source: nncf 3.4.0, nncf/telemetry/wrapper.py)
    onnxruntime  writes ~/.cache/Microsoft/DeveloperTools/.onnxruntime with the id of the device, and names
                 mobile.events.data.microsoft.com, unless ORT_DISABLE_TELEMETRY is set before the first session
                 (seen with 1.32.0)
    hub          huggingface_hub, which a checkpoint's library may bring, tells of its user in every request

torch, onnx, onnx_ir, onnxsim, coremltools and TensorRT-RTX have none: their files name no such service.
"""

import os
import sys

VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "NNCF_CI": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",  # consoledonottrack.com: what others may ask for
}
"""Of this process and those that it starts."""
MODULES = ("openvino_telemetry",)
"""What shall not be imported."""


def turn_off() -> None:
    """Turn every report off, of this process and of its children."""
    os.environ.update(VARIABLES)
    for name in MODULES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # an import of it raises ImportError
