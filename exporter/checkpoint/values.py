"""The trained configuration: what the file tells, what the user says beside it, and what is assumed where nobody does.

    file's own config > tensors' shapes > --model NAME=VALUE > the family's default, which is an assumption

A value that the user says and the file contradicts is refused: one of the two is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from slide_export.core.errors import CheckpointError, RequestError
from slide_export.core.model import ASSUMED, ValueInForce
from slide_export.models import Config, Family, ModelValue, ShapeError, State

NOTHING_SAID: Mapping[str, str] = MappingProxyType({})
SAID, OWN_CONFIG, SHAPES, UNSAID = "--model", "the checkpoint's own config", "the tensor shapes", "its default"


@dataclass(frozen=True)
class Configured:
    """A configuration of a trained model.

    Attributes:
        source: what told the architecture, for people.
        values: those of the family, as they were taken.
    """

    config: Config
    source: str
    values: tuple[ValueInForce, ...]


def configure(
    family: Family,
    state: State,
    tree: Mapping[str, Any] | None,
    variant: str | None,
    values: Mapping[str, str],
) -> Configured:
    """Make the configuration of a state dict.

    Args:
        tree: the training code's own configuration, where the file has one.
        variant: whose widths, depths and heads it has; None leaves them to the file.
        values: what the user says of the model.

    Raises:
        CheckpointError: neither config nor shapes are those of a model of the family.
        RequestError: a value does not exist, is misformed, or is not what the file or the variant tells.
    """
    said = read(family, values)
    own = family.read_config(tree) if tree is not None else None
    config = _infer(family, state, variant, said) if own is None else own
    source = SHAPES if own is None else OWN_CONFIG
    if own is not None:
        _refuse_others(family, said, own, OWN_CONFIG)
    if variant:
        config, source = family.resize(config, variant), f"--variant {variant}"
        _refuse_others(family, said, config, source)
    found = (_in_force(value, config, _source(value, state, said, own, variant)) for value in family.values)
    return Configured(config, source, tuple(found))


def read(family: Family, values: Mapping[str, str]) -> dict[str, Any]:
    """Read what the user says of a model.

    Raises:
        RequestError: a name is none of the family's, or a value is not written as it is to be.
    """
    known = {value.name: value for value in family.values}
    said = {}
    for name, text in values.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise RequestError(f"expected --model with a name of {family.name} ({listed}), found {name!r}")
        try:
            said[name] = known[name].kind.read(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(f"expected --model {name} as {known[name].kind.expected}; found {text!r}") from error
    return said


def _infer(family: Family, state: State, variant: str | None, said: Mapping[str, Any]) -> Any:
    needed = {value.field_name: said[value.name] for value in family.values if value.needed and value.name in said}
    for value in family.values:
        if value.name in said:
            _refuse_contradicted(value, state, said[value.name])
    try:
        config = family.infer(state, **needed)
    except (ShapeError, KeyError, IndexError, ValueError) as error:
        if variant is None:
            _refuse_shapes(family, error)
        config = family.variants[variant]
    for value in family.values:
        if value.name in said:
            config = _applied(value, config, said[value.name])
    return config


def _refuse_contradicted(value: ModelValue, state: State, said: Any) -> None:
    """Refuse a value that the shapes contradict.

    Raises:
        RequestError: they tell another one, or fit no model that has it.
    """
    asked = f"--model {value.name}={value.shown(said)}"
    try:
        told = value.told(state)
        value.check(state, said)
    except (ShapeError, KeyError, IndexError) as error:
        raise RequestError(f"expected a value that the tensors' shapes can have, {asked} gives {error}") from error
    if told is not None and told != said:
        raise RequestError(f"expected {value.name}={value.shown(told)}, which the tensors' shapes tell; found {asked}")


def _applied(value: ModelValue, config: Any, said: Any) -> Any:
    try:
        return value.applied(config, said)
    except ShapeError as error:
        asked = f"--model {value.name}={value.shown(said)}"
        raise RequestError(f"expected a value that this model can have, {asked} gives {error}") from error


def _refuse_shapes(family: Family, error: Exception) -> NoReturn:
    names = [f"--model {value.name}=..." for value in family.values if value.needed]
    say = f"say {' or '.join(names)}, " if names else ""
    raise CheckpointError(
        f"expected the shapes of a {family.name}, found others ({error}): name it with --variant, {say}"
        "or write its configuration into the file under 'config'"
    ) from error


def _refuse_others(family: Family, said: Mapping[str, Any], config: Config, source: str) -> None:
    """Refuse what another source tells otherwise.

    Raises:
        RequestError: it tells another value.
    """
    for value in family.values:
        if value.name in said and value.of(config) != said[value.name]:
            found, told = value.shown(said[value.name]), value.shown(value.of(config))
            raise RequestError(
                f"expected {value.name}={told}, which {source} tells; found --model {value.name}={found}: "
                "leave one of them out"
            )


def _source(value: ModelValue, state: State, said: Mapping[str, Any], own: Config | None, variant: str | None) -> str:
    """What told a value, the strongest first."""
    if value.name in said:
        return SAID
    if variant:
        return f"--variant {variant}"
    if own is not None:
        return OWN_CONFIG
    if value.told(state) is not None:
        return SHAPES
    return ASSUMED if value.assumed else UNSAID


def _in_force(value: ModelValue, config: Config, source: str) -> ValueInForce:
    shown = value.shown(value.of(config))
    return ValueInForce(value.name, shown, source, value.kind.expected, value.help, value.default)
