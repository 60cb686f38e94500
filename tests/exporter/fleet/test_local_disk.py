"""Which disks are this machine's own: a shared one is refused for a database, a local one is not."""

from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import local_disk
from slide_export.fleet.database import Database
from slide_export.fleet.local_disk import kind_of, mounts, of_mount, of_mountinfo, refuse_elsewhere

LINUX = (
    "21 1 0:20 / / rw - ext4 /dev/sda rw\n"
    "36 21 0:30 / /mnt/a\\040rack rw shared:1 - nfs4 host:/a rw\n"
    "37 21 0:31 / /mnt/far rw - fuse.sshfs host: rw\n"
    "38 21 0:32 / /mnt/größe\\134x rw - nfs host:/g rw\n"
    "39 21 0:33 / /mnt/far/near rw - ext4 /dev/sdb rw\n"
    "40 21 0:34 / /mnt/twice rw - nfs host:/t rw\n"
    "41 21 0:35 / /mnt/twice rw - xfs /dev/sdc rw\n"
)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/mnt/a rack/x/fleet.db", "nfs4"),
        ("/mnt/far/fleet.db", "fuse.sshfs"),
        ("/mnt/far/near/fleet.db", "ext4"),
        ("/mnt/farther/fleet.db", "ext4"),
        ("/mnt/größe\\x/fleet.db", "nfs"),
        ("/mnt/twice/fleet.db", "xfs"),  # a later line covers an earlier one
        ("/var/fleet.db", "ext4"),
    ],
)
def test_the_nearest_mount_above_a_place_tells_its_kind(place: str, kind: str) -> None:
    assert kind_of(Path(place), of_mountinfo(LINUX)) == kind


def test_macs_list_is_parsed_too() -> None:
    listed = "//ann@rack/s on /Volumes/s (smbfs, nodev)\n/dev/disk1 on /Volumes/on (a) disk (apfs)\n"
    assert of_mount(listed) == {Path("/Volumes/s"): "smbfs", Path("/Volumes/on (a) disk"): "apfs"}


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        ("nfs4", True),
        ("cifs", True),
        ("9p", True),
        ("fuse.sshfs", True),
        ("fuseblk", False),
        ("ext4", False),
        ("", False),
    ],
)
def test_a_disk_that_machines_share_is_refused(
    kind: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_disk, "mounts", lambda: {tmp_path: kind})
    if shared:
        with pytest.raises(RequestError, match=f"found {kind}, on which two processes cannot share it"):
            refuse_elsewhere(tmp_path / "fleet.db")
    else:
        refuse_elsewhere(tmp_path / "fleet.db")


def test_where_nothing_tells_a_disk_is_taken() -> None:
    assert kind_of(Path("/var/fleet.db"), {}) == ""


def test_this_machine_tells_its_own_mounts() -> None:
    assert Path("/") in mounts()


def test_a_database_on_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_disk, "mounts", lambda: {tmp_path: "nfs4"})
    with pytest.raises(RequestError, match=r"expected a disk of this machine for the database .* found nfs4"):
        Database.claimed(tmp_path / "fleet.db")
    assert list(tmp_path.iterdir()) == []
