"""The digits' bundles proved by ARM64 kernels without ARM hardware: `make arm64`. Nothing here is timed.

A Debian userland for arm64 is unpacked, not installed: nothing of it has to run for that. QEMU's user emulator runs its
Python, which runs the same runner that a device over ssh gets, with the aarch64 wheels of the versions of this machine.
QEMU comes from the same Debian: 7.2, of the release before, crashes in ONNX Runtime 1.32's import.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import slide_export
from slide_export.benchmark.devices.command import CommandDevice
from slide_export.core.errors import SlideExportError
from slide_export.digits import train
from slide_export.verification import on_device as proof

ROOT = Path("exported/arm64")
DEBIAN, QEMU, WHEELS = ROOT / "debian", ROOT / "qemu", ROOT / "wheels"
RELEASE, PYTHON = "trixie", "3.13"
GLIBC = 41  # of that release, 2.41: wheels for any version up to it will do
NEEDED = ("numpy", "onnxruntime", "onnx", "openvino", "torch", "executorch", "ai-edge-litert", "ncnn")
BUNDLES = (
    *((target, precision) for target in ("onnx", "openvino") for precision in ("fp32", "fp16", "int8")),
    *(("executorch", precision) for precision in ("fp32", "fp16", "int8-dynamic")),
    *(("litert", precision) for precision in ("fp32", "w16", "int8-dynamic")),
    *(("ncnn", precision) for precision in ("fp32", "w16")),
)
DIGITS = Path(train.__file__).parent


def unpack(directory: Path, packages: str, *more: str) -> None:
    """Unpacks Debian packages, with what they depend on, unless it was done before."""
    if not directory.exists():
        command = ("mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", *more, RELEASE, directory)
        subprocess.run(command, check=True)


def install() -> None:
    """Unpacks the wheels, unless it was done before."""
    if WHEELS.exists():
        return
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1)]
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in NEEDED]
    options = ("--quiet", "--only-binary=:all:", f"--python-version={PYTHON}", f"--target={WHEELS}.part")
    command = (
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        *platforms,
        "--platform=manylinux2014_aarch64",
        *wanted,
    )
    subprocess.run(command, check=True)
    Path(f"{WHEELS}.part").rename(WHEELS)


def export(target: str, precision: str) -> Path:
    """The digits' bundle, exported and proved on this machine."""
    out, images = ROOT / "bundles", DIGITS / "heldout"
    made = slide_export.export(
        DIGITS / "digits.pth", target, precision=precision, images=images, out=out, overwrite=True
    )
    return made.path


def prove(device: CommandDevice) -> Iterator[tuple[str, str]]:
    """The name of each bundle and what its proof says, "" in front where it failed."""
    for target, precision in BUNDLES:
        path = export(target, precision)
        try:
            found = proof.verify(path, device)
        except SlideExportError as error:
            yield path.name, f"NOT proved: {error}"
            continue
        (output,) = found.outputs
        yield (
            path.name,
            f"proved equal, largest error {output.max_abs:.2e} of {output.limit_max:.2e} allowed, "
            f"{output.sqnr_db:.1f} dB ({found.evaluator})",
        )


def main() -> int:
    """0 where every bundle is proved."""
    if shutil.which("mmdebstrap") is None:
        print("expected mmdebstrap, found none: apt-get install mmdebstrap", file=sys.stderr)
        return 3
    ROOT.mkdir(parents=True, exist_ok=True)
    unpack(DEBIAN, "base-files,python3-minimal,libpython3-stdlib,libstdc++6", "--architectures=arm64")
    unpack(QEMU, "qemu-user")
    install()
    emulator = (str(QEMU / "usr/bin/qemu-aarch64"), "-L", str(DEBIAN), "-E", f"PYTHONPATH={WHEELS.resolve()}")
    failed = False
    with CommandDevice("emulated arm64", (*emulator, str(DEBIAN / f"usr/bin/python{PYTHON}"))) as device:
        machine, _ = device.fingerprint(1, ())
        print(f"{machine.system}, Python {machine.python}")
        for name, said in prove(device):
            print(f"{name:22} {said}", flush=True)
            failed |= said.startswith("NOT")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
