"""coremltools, imported without what it does not need here."""

import sys

UNUSED = ("executorch", "torchao")  # its `_deps` imports each of them whole, where it is installed


def prepare() -> None:
    """Import coremltools as if ExecuTorch and torchao were not installed.

    It takes their programs and weights too, which this package never hands over. ExecuTorch, which brings torchao,
    takes half as long again to import as coremltools itself, and torchao warns of its own use of torch.
    """
    if "coremltools" in sys.modules:
        return
    # Also where one of them is there in part: the other would then be missing in the middle of its import.
    found = {name: sys.modules.get(name) for name in UNUSED}
    sys.modules.update(dict.fromkeys(UNUSED))  # type: ignore[arg-type]  # None: "not there", to the import system
    try:
        import coremltools  # noqa: F401
    finally:
        for name, module in found.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
