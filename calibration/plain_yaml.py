"""YAML as a person writes a recipe: one mapping of plain values, without anchors, tags of types, or depth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from slide_export.core.errors import RequestError
from slide_export.core.text import foreign

LARGEST_TEXT = 1 << 17  # letters: room for a few thousand names of modules
DEEPEST = 8  # mappings and lists in one another; a recipe has two


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads neither anchors nor tags: a kilobyte of aliases can be gigabytes, and a tag chooses another type."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, refusing what a recipe has no use for."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.composer.ComposerError(None, None, "found an anchor or an alias", event.start_mark)
        if getattr(event, "tag", None):
            raise yaml.composer.ComposerError(None, None, f"found the tag {event.tag}", event.start_mark)
        if self._depth >= DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"found more than {DEEPEST} levels", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_mapping(text: str, name: str) -> dict[Any, Any]:
    """Read a mapping.

    Args:
        name: of the file, for errors.

    Raises:
        RequestError: the text is no YAML, no mapping, or has a field twice.
    """
    if len(text) > LARGEST_TEXT:
        raise RequestError(f"expected at most {LARGEST_TEXT} letters of YAML in {name}, found {len(text)}")
    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
    except Exception as error:  # ValueError of a date, RecursionError of a depth, and others beside YAMLError
        reason = foreign(error, 300) or type(error).__name__
        raise RequestError(f"expected YAML in {name}, found what cannot be read: {reason}") from error
    if not isinstance(content, dict):
        found = foreign(repr(content)[:200], 60)
        raise RequestError(f"expected a YAML mapping such as `name: value` in {name}, found {found}")
    ((most, times),) = Counter(str(key.value) for key, _ in node.value).most_common(1) or [("", 0)]
    if times > 1:
        raise RequestError(f"expected every field once in {name}, found {quoted(most)} {times} times")
    return content


def dump_field(name: str, value: Any) -> str:
    """Write one field."""
    return str(yaml.safe_dump({name: value}, default_flow_style=False)).strip()


def quoted(value: Any) -> str:
    """Write a value that was found: a text in quotes, so that it is told from a number."""
    return f"'{foreign(value)}'" if isinstance(value, str) else foreign(value)
