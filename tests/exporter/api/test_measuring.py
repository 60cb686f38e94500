"""What cannot be recommended or compared is refused before anything is measured."""

from pathlib import Path

import pytest

from slide_export.api import measuring
from slide_export.core.errors import RequestError


@pytest.mark.parametrize("count", [0, 1])
def test_a_choice_is_among_two_at_least(count: int) -> None:
    with pytest.raises(RequestError, match=f"expected at least two bundles to choose from, found {count}"):
        measuring.recommend([Path("nowhere")] * count)


def test_results_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "onnx.json").touch()
    with pytest.raises(RequestError, match="onnx"):
        measuring.compare(["swin_tiny", "slide_swin_tiny"], out=tmp_path)
