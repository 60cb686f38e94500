"""The targets that are asked for, or all; one that nobody knows is refused with the known ones."""

import pytest

from slide_export.backends import registry as backends
from slide_export.core.errors import RequestError
from slide_export.linter.rules import known_targets


def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=f"{', '.join(backends.names())}; found 'abacus'"):
        known_targets(["onnx", "abacus"])
    assert known_targets([]) == backends.names()
