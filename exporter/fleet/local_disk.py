"""Whether a place is on a disk of this machine: SQLite's shared memory beside a database works on no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from slide_export.core.errors import RequestError

SHARED = frozenset(
    {"9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
     "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "webdav", "wekafs"}
)  # fmt: skip
ESCAPED = re.compile(r"\\([0-7]{3})")  # blank, tab, newline and backslash; all other characters stand as they are
FUSE = "fuse."  # sshfs, s3fs, rclone and their like; `fuseblk` is a local disk's


def refuse_elsewhere(path: Path) -> None:
    """Refuse a database on a network file system.

    Raises:
        RequestError: it would be on one.
    """
    kind = kind_of(path, mounts())
    if kind in SHARED or kind.startswith(FUSE):
        raise RequestError(
            f"expected a disk of this machine for the database {path}, found {kind}, on which two processes cannot "
            "share it: keep it on a local disk; what machines share is the artifact store"
        )


def kind_of(path: Path, mounted: dict[Path, str]) -> str:
    """The file system that a path is on, or would be; empty where nothing tells."""
    place = path.absolute().resolve()
    return next((mounted[above] for above in (place, *place.parents) if above in mounted), "")


def mounts() -> dict[Path, str]:
    """The kind of file system at each place where one is mounted."""
    if sys.platform == "linux":
        return of_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    listed = subprocess.run(("mount",), capture_output=True, text=True, check=False, timeout=10).stdout
    return of_mount(listed)


def of_mountinfo(text: str) -> dict[Path, str]:
    r"""Parse Linux' list; a later line covers an earlier one.

    Given   36 35 98:0 / /mnt/a\040b rw,noatime shared:1 - ext4 /dev/sda rw
    Result  {/mnt/a b: ext4}
    """
    found = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        place = ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        found[Path(place)] = after.split(" ")[0]
    return found


def of_mount(text: str) -> dict[Path, str]:
    """Parse what `mount` prints on macOS.

    Given   //ann@rack/share on /Volumes/share (smbfs, nodev)
    Result  {/Volumes/share: smbfs}
    """
    found = {}
    for line in text.splitlines():
        place, _, kind = line.partition(" on ")[2].rpartition(" (")
        found[Path(place)] = kind.partition(",")[0].rstrip(")")
    return found
