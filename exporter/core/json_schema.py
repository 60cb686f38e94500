"""The JSON schema (draft 2020-12) of what `typed_json` reads into a dataclass."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .typed_json import Least, Most, OrNull, Pattern, hints_of, required

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def schema_of(kind: type) -> dict[str, Any]:
    """The schema of a dataclass, each dataclass inside it a definition under its own name."""
    definitions: dict[str, Any] = {}
    _define(kind, definitions)
    whole = definitions.pop(kind.__name__)
    return {"$schema": DIALECT, "title": kind.__name__, **whole, "$defs": dict(sorted(definitions.items()))}


def _define(kind: Any, definitions: dict[str, Any]) -> None:
    definitions[kind.__name__] = {}  # so that one inside itself ends
    hints = hints_of(kind)
    definitions[kind.__name__] = {
        "type": "object",
        "properties": {field.name: _schema(hints[field.name], definitions) for field in fields(kind)},
        "required": [field.name for field in fields(kind) if required(field)],
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]  # a class, not a value of one
        if name not in definitions:
            _define(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if origin is Annotated:
        return _limited(_schema(arguments[0], definitions), arguments[1:])
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(part, definitions) for part in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is tuple:
        parts = [_schema(part, definitions) for part in arguments]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
    return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}


def _limited(schema: dict[str, Any], limits: tuple[Any, ...]) -> dict[str, Any]:
    for limit in limits:
        match limit:
            case OrNull():
                schema = {"anyOf": [schema, {"type": "null"}]}
            case Least(least):
                schema = {**schema, "minimum": least}
            case Most(most):
                schema = {**schema, "maximum": most}
            case Pattern(expression, _):
                schema = {**schema, "pattern": f"^{expression}$"}
    return schema
