"""PyTorch module names of the operations of a saved ML Program.

MIL names carry no module path: a traced model's results are called `var_105_cast_fp16` or `linear_0_cast_fp16`. Its
weights are called after the module, with dots and underscores alike: `layers_0_blocks_0_attn_qkv_weight_to_fp16`. So

* an operation with a weight has the weight's name, split where a number stands or where siblings part;
* any other operation lies between two of those, the last before it and the first after it in the flow of data, and gets
  what their names share: a softmax between `attn.qkv` and `attn.proj` is in `attn`.

A weight that several modules share is stored once, under the first one's name, so the operand with the fewest users
decides. Two levels that no sibling tells apart stay joined by an underscore.
Source: coremltools 9.0 `converters/mil/frontend/torch/converter.py` (names of parameters), pass const_deduplication.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from . import Operation
from .program import Reference

WEIGHT = re.compile(
    r"(?P<module>.+)_(?:weight|bias|running_mean|running_var)(?:_to_fp16|_quantized|_palettized|_sparsified)*"
)
GENERATED = re.compile(r"(?:op|var|x|input|linear|conv|transpose|const)_\d+")  # names that coremltools makes up
WRAPPER = "module."  # the model inside `ExportWrapper`, or inside DataParallel
JOINED = (r"stage\d+_conv_embed", r"patch_embed\d*", r"dep_conv\d?")  # with an underscore where siblings part


def module_names(operations: Sequence[Operation]) -> dict[str, str]:
    """Module of each operation by the name of its first result; "" where the program does not tell."""
    computing = [op for op in operations if not op.is_constant and op.outputs]
    owners = _owners(computing)
    dotted = {flat: name.removeprefix(WRAPPER) for flat, name in _dotted(owners.values()).items()}
    own = {result: dotted[flat] for result, flat in owners.items()}
    before, after = _before(computing, own), _after(computing, own)
    return {
        op.outputs[0].name: own.get(op.outputs[0].name)
        or _shared(before.get(op.outputs[0].name), after.get(op.outputs[0].name))
        for op in computing
    }


def _owners(operations: Sequence[Operation]) -> dict[str, str]:
    """Underscored module name of each operation that has a weight, by its first result."""
    users = Counter(name for op in operations for name in references(op))
    owners = {}
    for op in operations:
        named = [(users[name], name) for name in references(op) if _module(name)]
        if named:
            # The weight with the fewest users: a shared one names several.
            owners[op.outputs[0].name] = _module(min(named)[1])
    return owners


def references(op: Operation) -> list[str]:
    """Names of the values that an operation takes."""
    return [binding.name for _, group in op.bindings() for binding in group if isinstance(binding, Reference)]


def _module(value: str) -> str:
    match = WEIGHT.fullmatch(value)
    return "" if match is None or GENERATED.fullmatch(match["module"]) else match["module"]


def _dotted(flat_names: Iterable[str]) -> dict[str, str]:
    """Dots in the place of underscores, beside every number and where names part.

        Given   layers_0_attn_qkv, layers_0_attn_proj, layers_0_conv_norm
        Result  layers.0.attn.qkv, layers.0.attn.proj, layers.0.conv_norm

    `attn` has two children, so its name ends there; nothing parts `conv` from `norm`, so they stay joined.
    """
    words = {flat: _words(flat) for flat in flat_names}
    next_words: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in words.values():
        for length in range(len(path)):
            next_words[path[:length]].add(path[length])
    names = {}
    for flat, path in words.items():
        name = path[0]
        for length in range(1, len(path)):
            parts = len(next_words[path[:length]]) > 1 or path[length].isdigit() or path[length - 1].isdigit()
            whole = any(
                "_" in word or word != word.lower() for word in path[length - 1 : length + 1]
            )  # one of `JOINED` is a name of its own
            name += ("." if parts or whole else "_") + path[length]
        names[flat] = name
    return names


def _words(flat: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"{'|'.join(JOINED)}|[^_]+", flat))


def _before(operations: Sequence[Operation], own: Mapping[str, str]) -> dict[str, str]:
    """Last named module that each result depends on."""
    last: dict[str, tuple[int, str]] = {}
    for position, op in enumerate(operations):
        sources = [last[name] for name in references(op) if name in last]
        name = own.get(op.outputs[0].name)
        if name is not None:
            sources.append((position, name))  # its own module is the latest
        if sources:
            last.update((output.name, max(sources)) for output in op.outputs)
    return {result: name for result, (_, name) in last.items()}


def _after(operations: Sequence[Operation], own: Mapping[str, str]) -> dict[str, str]:
    """First named module that each result flows into."""
    first: dict[str, tuple[int, str]] = {}
    for position, op in reversed(list(enumerate(operations))):  # users before what they take
        name = own.get(op.outputs[0].name)
        uses = [first[output.name] for output in op.outputs if output.name in first]
        entry = (position, name) if name is not None else min(uses, default=None)
        if entry is not None:
            for taken in references(op):
                first[taken] = min(first.get(taken, entry), entry)
    return {result: name for result, (_, name) in first.items()}


def _shared(before: str | None, after: str | None) -> str:
    """Longest module path that both names have; one name alone gives its parent.

    Given   layers.0.attn.qkv before, layers.0.attn.proj after     Result  layers.0.attn
    """
    if before is None or after is None:
        return (before or after or "").rpartition(".")[0]
    pairs = zip(before.split("."), after.split("."), strict=False)
    shared: list[str] = []
    for left, right in pairs:
        if left != right:
            break
        shared.append(left)
    return ".".join(shared)
