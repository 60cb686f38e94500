"""Outcomes -> JUnit XML, one test case a bundle.

A gate that fails is a `<failure>`; a bundle that could not be proved, for want of a file or of a runtime, is an
`<error>` and never skipped: what was not proved has not passed.
Source: the elements and attributes that Jenkins' junit plugin (`jenkins-junit.xsd`), GitLab's unit test reports and
GitHub's report actions read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from xml.etree import ElementTree as Xml

from .numbers import as_text
from .outcome import VerifyResult

NAME = "slide-export verify"
FAILED = 1  # the exit code of a gate
LONGEST = 2100  # letters of a line


def write(outcomes: Sequence[VerifyResult], began: datetime) -> str:
    """The XML of outcomes.

    Args:
        began: when the first bundle was read.
    """
    root = Xml.Element("testsuites", {"name": NAME, **_counts(outcomes)})
    stamp = began.isoformat(timespec="seconds", sep="T").partition("+")[0]
    suite = Xml.SubElement(root, "testsuite", {"name": NAME, **_counts(outcomes), "timestamp": stamp})
    for outcome in outcomes:
        _case(suite, outcome)
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _counts(outcomes: Sequence[VerifyResult]) -> dict[str, str]:
    failures = sum(outcome.exit_code == FAILED for outcome in outcomes)
    errors = sum(not outcome.passed for outcome in outcomes) - failures
    seconds = sum(outcome.seconds for outcome in outcomes)
    counts = {"tests": len(outcomes), "failures": failures, "errors": errors, "skipped": 0}
    return {**{name: str(count) for name, count in counts.items()}, "time": f"{seconds:.3f}"}


def _case(suite: Xml.Element, outcome: VerifyResult) -> None:
    group = ".".join(filter(None, ("slide_export", outcome.target, outcome.precision)))
    said = {"classname": _allowed(group), "name": _allowed(str(outcome.path)), "time": f"{outcome.seconds:.3f}"}
    case = Xml.SubElement(suite, "testcase", said)
    if not outcome.passed:
        why = {"message": _allowed(outcome.sentence), "type": outcome.kind}
        problem = Xml.SubElement(case, "failure" if outcome.exit_code == FAILED else "error", why)
        problem.text = _allowed("\n".join(filter(None, (outcome.sentence, as_text(outcome)))))
    if outcome.proof is not None:
        Xml.SubElement(case, "system-out").text = _allowed(as_text(outcome))


def _allowed(text: str) -> str:
    """Lines of text that XML may hold and that a CI's log shows without obeying."""
    return "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in map(_shown, text.split("\n")))


def _shown(line: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in line)
