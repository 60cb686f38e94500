"""Which value of an artifact is the output of which PyTorch module.

A value belongs to the module in whose scope it was computed, and so to every module around that one. What leaves a
module is its value that something outside uses. No module or layer is known here by name: the artifact says its scopes,
the trained model its modules. An artifact that shows a few values alone says itself whose outputs they are.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from slide_export.core.graph import Value


def outputs_of(values: Sequence[Value], modules: Collection[str]) -> dict[str, str]:
    """Name of the value that is each module's output; modules that the artifact does not show are left out.

    Args:
        values: of the artifact, in the order of execution.
        modules: dotted names of the trained model's modules.
    """
    # The last one that leaves wins: earlier ones are shapes and parts of it.
    return {module: names[-1] for module, names in _leaving(values, modules).items()}


def outputs_of_calls(values: Sequence[Value], calls: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Names of the values that are each module's outputs, one a call; a module that is not shown is left out.

    Of a module that is called several times, as many values leave it, or nothing tells which are its outputs.

    Args:
        calls: how often one image calls each module.
    """
    leaving = _leaving(values, calls)
    found = {module: tuple(names[-1:] if calls[module] == 1 else names) for module, names in leaving.items()}
    return {module: names for module, names in found.items() if len(names) == calls[module]}


def modules_by_value(values: Sequence[Value], without: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """The modules whose output each value is, of all that are in the values' scopes; values of none are left out.

    Args:
        without: modules that no value is the output of.
    """
    scopes = {scope for one in values for scope in _ancestors(one.scope or "")}
    found: dict[str, tuple[str, ...]] = {}
    for module, value in outputs_of(values, sorted(scopes - {*without})).items():
        found[value] = (*found.get(value, ()), module)
    return found


def _leaving(values: Sequence[Value], modules: Collection[str]) -> dict[str, list[str]]:
    """Names of the values of each module that are its outputs or leave it, in the order of execution."""
    stated = any(value.output_of is not None for value in values)
    found: dict[str, list[str]] = defaultdict(list)
    for module, name in _stated(values) if stated else _used_outside(values, frozenset(modules)):
        found[module].append(name)
    return {module: found[module] for module in modules if module in found}


def _stated(values: Sequence[Value]) -> Iterator[tuple[str, str]]:
    """Module and value, as the artifact says."""
    return ((module, value.name) for value in values for module in value.output_of or ())


def _used_outside(values: Sequence[Value], modules: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Module and value, where something outside the module uses the value, or nothing does."""
    owners = _owners(values, modules)
    users: dict[str, set[str]] = defaultdict(set)
    for value in values:
        for name in value.takes:
            users[name].add(owners[value.name])
    for value in values:
        for module in _ancestors(owners[value.name]):
            outside = any(module not in _ancestors(user) for user in users[value.name])
            if outside or not users[value.name]:
                yield module, value.name


def _owners(values: Sequence[Value], modules: frozenset[str]) -> dict[str, str]:
    """Innermost module of each value.

    Where the artifact gives a value no scope it is that of its first user or, at the end, of what it is computed from.
    """
    owners: dict[str, str] = {}
    wanted: dict[str, str] = {}  # value -> module of its first user
    for value in reversed(values):  # users come later in the order of execution: they are known first
        owner = wanted.get(value.name, "") if value.scope is None else _innermost(value.scope, modules)
        owners[value.name] = owner
        wanted.update((name, owner) for name in value.takes)
    for value in values:
        if value.scope is None and not owners[value.name] and value.takes:
            owners[value.name] = owners.get(value.takes[0], "")  # no user inside a module
    return owners


def _innermost(scope: str, modules: frozenset[str]) -> str:
    """Longest beginning of a scope that is a module: what a form or a tool added is cut off."""
    while scope and scope not in modules:
        scope = scope.rpartition(".")[0]
    return scope


def _ancestors(module: str) -> set[str]:
    """The module and its ancestors, without the root: `a.b` -> {`a`, `a.b`}, the root `""` -> {}."""
    parts = module.split(".") if module else []
    return {".".join(parts[: end + 1]) for end in range(len(parts))}
