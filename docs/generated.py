"""Parts of the manual that are made from the code: exit codes, targets and their options, variants and their counts."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import griffe
from command_line import command_line

from slide_export import api
from slide_export.bundle import manifest, records
from slide_export.core import artifact as core_artifact
from slide_export.core import errors


def exit_codes() -> str:
    """A table of every error class, its exit code and what it means."""
    rows = sorted(_classes(errors.SlideExportError), key=lambda error: (error.exit_code, error.__name__))
    body = "".join(f"| {error.exit_code} | `{error.__name__}` | {_first_line(error)} |\n" for error in rows)
    return f"| exit code | raised in Python as | meaning |\n|---|---|---|\n{body}"


def _classes(base: type[errors.SlideExportError]) -> Iterator[type[errors.SlideExportError]]:
    for error in base.__subclasses__():
        yield error
        yield from _classes(error)


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def targets() -> str:
    """A table of targets: precisions and the extra that installs each."""
    body = "".join(
        f"| `{target.target}` | {', '.join(f'`{name}`' for name in target.precisions)} "
        f'| `pip install ".[{target.target}]"` |\n'
        for target in api.targets()
    )
    return f"| target | precisions | install, in a checkout |\n|---|---|---|\n{body}"


def options(target: str) -> str:
    """A table of the options of one target."""
    (found,) = (each for each in api.targets() if each.target == target)
    if not found.options:
        return f"`{target}` has no options of its own."
    body = "".join(
        f"| `{name}` | {option.help} | {', '.join(f'`{choice}`' for choice in option.choices) or 'any'} "
        f"| {f'`{option.default}`' if option.default else '-'} |\n"
        for name, option in found.options.items()
    )
    return f"| `--option NAME=VALUE` | what it does | values | default |\n|---|---|---|---|\n{body}"


def variants(family: str) -> str:
    """A table of a family's variants: our counts, the published ones in brackets."""
    rows = []
    for entry in api.variants(family):
        known, counts = entry.published, entry.counts
        parameters, macs = f"{counts.parameters / 1e6:.1f}", f"{counts.fused_macs / 1e9:.2f}"
        if known is not None:
            parameters, macs = f"{parameters} ({known.parameters_m:g})", f"{macs} ({known.flops_g:g})"
        top1 = f"{known.top1:.1f}" if known else "-"
        size = f"{entry.image_size[0]}x{entry.image_size[1]}"
        rows.append(f"| `{entry.variant}` | {size} | {parameters} | {macs} | {top1} |\n")
    head = "| variant | input | M parameters (published) | G multiply-adds (published) | top-1 % |\n"
    return head + "|---|---|---|---|---|\n" + "".join(rows)


def schema() -> str:
    """The published JSON schema of the manifest, a table for each object in it."""
    file = importlib.resources.files("slide_export.bundle") / "manifest.schema.json"
    if not file.is_file():
        return "Schema 1, which these bundles have, is not published as a JSON schema."
    described = json.loads(file.read_text())
    objects = {"manifest.json": described, **described.get("$defs", {})}
    parts = [_object(name, each) for name, each in objects.items() if each.get("properties")]
    return "It ships with the package as `slide_export/bundle/manifest.schema.json`.\n\n" + "\n".join(parts)


def _object(name: str, described: Mapping[str, Any]) -> str:
    required, told = set(described.get("required", ())), _attributes(name)
    rows = "".join(
        f"| `{field}`{'' if field in required else ' (optional)'} | {_type(value)} | {told.get(field, '')} |\n"
        for field, value in described["properties"].items()
    )
    return f"### {name}\n\n| field | type | |\n|---|---|---|\n{rows}"


def _attributes(name: str) -> dict[str, str]:
    """What the docstring of a record's class says of its fields."""
    classes = {**vars(core_artifact), **vars(records), **vars(manifest)}
    owner = classes.get("Manifest" if name == "manifest.json" else name)
    sections = griffe.Docstring(owner.__doc__ or "", lineno=1).parse("google") if owner else []
    return {
        attribute.name: " ".join(attribute.description.split())
        for section in sections
        if section.kind is griffe.DocstringSectionKind.attributes
        for attribute in section.value
    }


def _type(described: Mapping[str, Any] | bool) -> str:
    """The type of a field in words: array of Tensor, string or null."""
    if isinstance(described, bool):
        return "anything"
    if "$ref" in described:
        return str(described["$ref"]).rpartition("/")[2]
    if choices := described.get("anyOf") or described.get("oneOf"):
        return " or ".join(map(_type, choices))
    if "const" in described or "enum" in described:
        return ", ".join(f"`{json.dumps(value)}`" for value in described.get("enum", [described.get("const")]))
    kind = described.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    return f"array of {_type(described['items'])}" if kind == "array" and "items" in described else kind


MARKS: dict[str, Callable[..., str]] = {
    "command_line": command_line,
    "exit_codes": exit_codes,
    "targets": targets,
    "options": options,
    "variants": variants,
    "schema": schema,
}
