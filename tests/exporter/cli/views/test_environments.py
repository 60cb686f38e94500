"""What an environment takes before it is made, and what is kept, in words."""

from pathlib import Path

import pytest

from slide_export.backends import isolation
from slide_export.backends.isolation import KeptEnvironment
from slide_export.cli.views.environments import question, sentence
from slide_export.core.errors import RequestError


def test_a_target_without_an_environment_of_its_own_is_refused() -> None:
    for target in ("onnx", "abacus"):
        with pytest.raises(RequestError, match=target):
            question(target)


@pytest.mark.parametrize(("made", "asked"), [(None, True), (Path("made"), False)])
def test_what_is_made_already_is_no_question(made: Path | None, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "installed", lambda _target, _environment: made)
    found = question("litert")
    assert (found is not None) is asked
    assert found is None or (" GiB to download and " in found and " GiB free)." in found)


@pytest.mark.parametrize("current", [True, False])
def test_what_no_installation_uses_is_said(current: bool) -> None:
    kept = KeptEnvironment("litert", Path("place"), 3 << 29, current)
    assert sentence(kept).startswith("place, 1.5 GiB")
    assert ("which this installation does not use" in sentence(kept)) is not current
