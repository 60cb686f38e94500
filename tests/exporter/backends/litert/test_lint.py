"""What is taken for a `.tflite` file: its ending, or the identifier that each has."""

from pathlib import Path

import pytest

from slide_export.backends.litert.lint import is_artifact


@pytest.mark.parametrize(
    ("name", "content", "taken"),
    [
        ("model.tflite", None, True),
        ("model.bin", b"\x1c\0\0\0TFL3", True),
        ("model.bin", b"TFL3\0\0\0\0", False),
        ("model.bin", b"\x1c\0\0\0TFL", False),
        ("model.bin", None, False),
    ],
)
def test_a_file_is_told_by_ending_or_identifier(name: str, content: bytes | None, taken: bool, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert is_artifact(tmp_path / name) is taken
