"""The targets that the linter judges for; rules and findings themselves are in `core.lint`."""

from collections.abc import Iterable

from slide_export.backends import registry as backends
from slide_export.core.errors import RequestError
from slide_export.core.lint import Device, Finding, Rule, judge, union

__all__ = ["Device", "Finding", "Rule", "judge", "known_targets", "union"]


def known_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """The targets asked for, or all of them where none is.

    Raises:
        RequestError: there is no such target.
    """
    asked, known = tuple(dict.fromkeys(targets)), backends.names()
    unknown = [target for target in asked if target not in known]
    if unknown:
        raise RequestError(f"expected targets of {', '.join(known)}; found {', '.join(map(repr, unknown))}")
    return asked or known
