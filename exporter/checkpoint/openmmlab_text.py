"""OpenMMLab's configuration, Python text in `meta.cfg` of its files: read as a syntax tree, never run.

model = dict(type='ImageClassifier', backbone=dict(type='SwinTransformer', arch='tiny', img_size=224))
->  {"model": {"type": "ImageClassifier", "backbone": {"type": "SwinTransformer", "arch": "tiny", "img_size": 224}}}
"""

import ast
from typing import Any

NEEDED = ("model", "data_preprocessor", "img_norm_cfg", "test_pipeline")  # what is read of it
LONGEST = 2_000_000  # characters; a training configuration has some thousand


def read_config_text(text: str) -> dict[str, Any]:
    """Read the assignments of plain values at the top of a configuration; what is no plain value is left out.

    Raises:
        ValueError: it is no text of a configuration, or one of `NEEDED` is computed.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"no Python ({error})") from error
    found: dict[str, Any] = {}
    for statement in tree.body:
        if (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            name = statement.targets[0].id
            try:
                found[name] = _value(statement.value, found)
            except (ValueError, RecursionError) as error:
                if name in NEEDED:
                    raise ValueError(f"{name} that is computed ({error})") from error
    return found


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """Read one value: a literal, dict(...), a sequence of them, or the name of an earlier one.

    Raises:
        ValueError: it is computed.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, names) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        number = node.operand.value
        if isinstance(number, int | float):
            return -number
    if isinstance(node, ast.Dict):
        return {_key(key, names): _value(value, names) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _value(keyword.value, names) for keyword in node.keywords if keyword.arg is not None}
    raise ValueError("no plain value")


def _key(node: ast.expr | None, names: dict[str, Any]) -> Any:
    if node is None:
        raise ValueError("a dictionary that unpacks another one")
    key = _value(node, names)
    if isinstance(key, list | dict):
        raise ValueError("a key that is no plain value")
    return key
