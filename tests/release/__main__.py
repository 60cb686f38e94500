"""Build the wheel and the sdist, check what is in them, and run the demo from the wheel under each Python here."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .contents import ROOT, sdist_faults, wheel_faults
from .pythons import pythons

DIST = ROOT / "dist"
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
"""Nothing of the checkout is importable, and threads do not wait for each other where other work runs."""


def main() -> int:
    """Exit code: 1 where anything is wrong."""
    wheel, sdist = _built()
    faults = [f"{wheel.name}: {fault}" for fault in wheel_faults(wheel)]
    faults += [f"{sdist.name}: {fault}" for fault in sdist_faults(sdist)]
    for archive in (wheel, sdist):
        print(f"{archive.relative_to(ROOT)}  {archive.stat().st_size / 2**20:.1f} MiB")
    for version, python in pythons().items():
        began = time.monotonic()
        fault = _demo(wheel, python)
        print(f"Python {version}: {fault or 'the demo passed'}, {time.monotonic() - began:.0f} s", flush=True)
        faults += [f"Python {version}: {fault}"] if fault else []
    print("\n".join(f"✗ {fault}" for fault in faults) or "✓ ready to be published")
    return int(bool(faults))


def _built() -> tuple[Path, Path]:
    """The wheel and the sdist; the wheel is built from the sdist, so that what the sdist lacks is noticed."""
    for old in DIST.glob("slide_export-*"):
        old.unlink()
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL
    )
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def _demo(wheel: Path, python: Path) -> str | None:
    """What went wrong when the wheel was installed into a new environment and its demo run, None where nothing did."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        own = folder / "venv" / "bin"
        constraints = ROOT / ".ci" / "constraints.txt"
        for command in (
            [python, "-m", "venv", folder / "venv"],
            [own / "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}[all]"],
            [own / "slide-export", "demo", "--json"],
        ):
            done = subprocess.run(command, cwd=folder, env=ALONE, capture_output=True, text=True, check=False)
            if done.returncode:
                return (
                    f"{' '.join(map(str, command[:3]))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
                )
        accuracies = {row["what"]: row["accuracy"] for row in json.loads(done.stdout)}
        measured = {accuracy for accuracy in accuracies.values() if accuracy is not None}
        return None if len(measured) == 1 else f"accuracies differ: {accuracies}"


if __name__ == "__main__":
    sys.exit(main())
