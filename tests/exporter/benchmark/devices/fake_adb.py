"""Stands for Debian's adb where no phone is: composed answers, in the words of the real programs' sources.

Nothing here was recorded from a phone. The phone's directory is one of this machine's, `FAKE_PHONE`; its shell is this
machine's; its program is a script that says what onnxruntime_perf_test or benchmark_app say.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PHONE = Path(os.environ["FAKE_PHONE"])
FACTS = """Example
Pixel of no make
15
8
MemTotal:        7811932 kB
0.10 0.20 0.30 1/900 12345
schedutil
Features	: fp asimd aes fphp asimdhp i8mm bf16
"""


def main(words: list[str]) -> int:
    """Returns adb's exit code."""
    with (PHONE / "asked").open("a") as log:
        print(*words, file=log)
    serial, verb, rest = words[1], words[2], words[3:]
    if serial != "R58M":
        print(f"adb: device '{serial}' not found", file=sys.stderr)
        return 1
    if verb == "get-state":
        print(os.environ.get("FAKE_STATE", "device"))
    elif verb == "push":
        target = there(rest[1])
        copy = shutil.copytree if Path(rest[0]).is_dir() else shutil.copy
        copy(rest[0], target)
    elif "getprop" in rest[0]:
        print(FACTS, end="")
    elif rest[0] == "nproc":
        print(8)
    else:
        done = subprocess.run(["sh", "-c", there(rest[0])], capture_output=True, text=True, check=False)
        print(done.stdout.replace(str(PHONE), ""), end="")
        return done.returncode
    return 0


def there(text: str) -> str:
    """Returns a text with the phone's paths in the directory that stands for it."""
    return re.sub(r"/data/local/tmp", f"{PHONE}/data/local/tmp", text)


sys.exit(main(sys.argv[1:]))
