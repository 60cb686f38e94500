"""The fingerprint is the published one."""

from pathlib import Path

from slide_export.core.files import sha256_of


def test_sha256_of_abc(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
