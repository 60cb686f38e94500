"""What was drawn, read back: marks by their kind, names that a page has to escape."""

import re
from xml.etree import ElementTree

from tests.exporter.pages.synthetic import session

RUNS = session().runs
EVIL = '<script>alert("x")</script>&'


def parsed(markup: str) -> ElementTree.Element:
    """The markup as XML, which inline SVG has to be."""
    quoted = re.sub(r"class=(\w+)>", r'class="\1">', markup)
    return ElementTree.fromstring(f"<div>{quoted}</div>")


def places(root: ElementTree.Element, kind: str, name: str) -> list[float]:
    return [float(mark.attrib[name].rstrip("%")) for mark in root.iter() if mark.get("class", "").startswith(kind)]


def kinds(root: ElementTree.Element, kind: str) -> list[str]:
    """What else the marks of a kind are: "good" of "mark good"."""
    found = [mark.get("class", "") for mark in root.iter() if mark.get("class", "").startswith(kind)]
    return [one.removeprefix(kind).strip() for one in found]
