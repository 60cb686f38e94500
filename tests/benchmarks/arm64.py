"""The digits' bundles proved by ARM64 kernels without ARM hardware: `make arm64 [TARGETS=...]`. Nothing here is timed.

A Debian userland for arm64 is unpacked, not installed: nothing of it has to run for that. QEMU's user emulator runs its
Python, which runs the same runner that a device over ssh gets, with the aarch64 wheels of the versions of this machine.
QEMU comes from the same Debian: 7.2, of the release before, crashes in ONNX Runtime 1.32's import.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import slide_export
from slide_export.backends import optional, registry
from slide_export.benchmark.devices.command import CommandDevice
from slide_export.core.errors import SlideExportError
from slide_export.digits import train
from slide_export.verification import on_device as proof

ROOT = Path("exported/arm64")
DEBIAN, QEMU, WHEELS = ROOT / "debian", ROOT / "qemu", ROOT / "wheels"
RELEASE, PYTHON = "trixie", "3.13"
GLIBC = 41  # of that release, 2.41: wheels for any version up to it will do
BUNDLES = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "executorch": ("fp32", "fp16", "int8-dynamic"),
    "litert": ("fp32", "w16", "int8-dynamic"),
    "ncnn": ("fp32", "w16"),
}
MORE = {
    "onnx": ("onnx",),
    "executorch": (
        *("filelock", "typing-extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec"),
        *("flatbuffers", "tabulate", "ruamel.yaml", "pydot", "torchao"),
    ),
    "litert": ("backports.strenum", "flatbuffers", "protobuf"),
    "ncnn": ("requests", "tqdm"),
}
"""Distributions that the runtime imports beside those of `DEVICE`; pip would take what x86 asks for as well."""
DIGITS = Path(train.__file__).parent


def unpack(directory: Path, packages: str, *more: str) -> None:
    """Unpacks Debian packages, with what they depend on, unless it was done before."""
    if not directory.exists():
        command = ("mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", *more, RELEASE, directory)
        subprocess.run(command, check=True)


def install(target: str) -> Path:
    """Unpacks the wheels of a target, unless it was done before; gives their directory."""
    place = WHEELS / target
    if not place.exists():
        platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1)]
        names = (*optional.device_distributions(registry.load(target)), *MORE.get(target, ()))
        wanted = [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]
        options = (
            "--quiet",
            "--only-binary=:all:",
            "--no-deps",
            f"--python-version={PYTHON}",
            f"--target={place}.part",
        )
        command = (sys.executable, "-m", "pip", "install", *options, *platforms, "--platform=manylinux2014_aarch64")
        subprocess.run((*command, *wanted), check=True)
        Path(f"{place}.part").rename(place)
    return place


def export(target: str, precision: str) -> Path:
    """The digits' bundle, exported and proved on this machine."""
    batches = optional.fixed_batches(registry.load(target))
    made = slide_export.export(
        DIGITS / "digits.pth",
        target,
        precision=precision,
        images=DIGITS / "heldout",
        out=ROOT / "bundles",
        overwrite=True,
        batch=None if batches is None else batches[0],
    )
    return made.path


def prove(device: CommandDevice, target: str) -> Iterator[tuple[str, str]]:
    """The name of each bundle of a target and what its proof says, "NOT" in front where it failed."""
    for precision in BUNDLES[target]:
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


def main(targets: Sequence[str]) -> int:
    """0 where every bundle of the targets is proved."""
    if shutil.which("mmdebstrap") is None:
        print("expected mmdebstrap, found none: apt-get install mmdebstrap", file=sys.stderr)
        return 3
    ROOT.mkdir(parents=True, exist_ok=True)
    unpack(DEBIAN, "base-files,python3-minimal,libpython3-stdlib,libstdc++6", "--architectures=arm64")
    unpack(QEMU, "qemu-user")
    failed = False
    for target in targets:
        wheels = install(target).resolve()
        emulator = (str(QEMU / "usr/bin/qemu-aarch64"), "-L", str(DEBIAN), "-E", f"PYTHONPATH={wheels}")
        with CommandDevice("emulated arm64", (*emulator, str(DEBIAN / f"usr/bin/python{PYTHON}"))) as device:
            machine, _ = device.fingerprint(1, ())
            print(f"{machine.system}, Python {machine.python}")
            for name, said in prove(device, target):
                print(f"{name:24} {said}", flush=True)
                failed |= said.startswith("NOT")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or tuple(BUNDLES)))
