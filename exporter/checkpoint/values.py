"""The trained configuration: what the file tells, what the user says beside it, and what is assumed where nobody does.

    file's own config > tensors' shapes > --model NAME=VALUE > the family's default, which is an assumption

A value that the user says and the file contradicts is refused: one of the two is wrong.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, NoReturn, get_type_hints

from slide_export.core.errors import CheckpointError, RequestError, option
from slide_export.core.model import ASSUMED, ValueInForce
from slide_export.core.text import foreign
from slide_export.models import Config, Family, IncompleteError, ModelValue, ShapeError, State, config_tree
from slide_export.models.formats import Told
from slide_export.models.typed_value import typed

from .text import listed

UNINFERRED = (
    ShapeError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
)  # what shapes raise that no model of a family has
NOTHING_TOLD: Mapping[str, Any] = MappingProxyType({})
TOO_LITTLE = "the checkpoint's own config says too little of the model or cannot be read: it is not used"
WITHOUT = "the checkpoint's own config tells no {}: it is not used"
OTHER_FORM = "the checkpoint's own config has {} and no MODEL: its form is not known, it is not used"
UNREAD = "the checkpoint's own config also has {}: taken for what changes no output"
PICTURES = ("DATA", "TEST")  # branches of what is read of preprocessing
SWINS = ("swin", "slide_swin")
SAID, OWN_CONFIG, SHAPES, UNSAID = "--model", "the checkpoint's own config", "the tensor shapes", "its default"


@dataclass(frozen=True)
class Configured:
    """A configuration of a trained model.

    Attributes:
        source: what told the architecture, for people.
        values: those of the family, as they were taken.
        assumed: what nobody told, one sentence each.
    """

    config: Config
    source: str
    values: tuple[ValueInForce, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """What another library's files, or its code where they say nothing, tell of a model.

    Attributes:
        name: of the library, for people.
        fields: of the family's configuration.
        source: what told them; "" where the library's code alone does.
        guessed: fields that nothing told; the library's reader says so.
    """

    name: str
    fields: Mapping[str, Any]
    source: str
    guessed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, told: Told | None, name: str) -> "Library | None":
        """What a format read; None of official names."""
        return None if told is None else cls(name, told.fields, told.source, told.guessed)


def configure(
    family: Family,
    state: State,
    tree: Mapping[str, Any] | None,
    variant: str | None,
    values: Mapping[str, str],
    library: Library | None = None,
) -> Configured:
    """Make the configuration of a state dict.

    Args:
        tree: the training code's own configuration, where the file has one.
        variant: whose widths, depths and heads it has; None leaves them to the file.
        values: what the user says of the model.
        library: what another library tells, in the place of `tree`.

    Raises:
        CheckpointError: neither config nor shapes are those of a model of the family.
        RequestError: a value does not exist, is misformed, or is not what the file or the variant tells.
    """
    said = read(family, values)
    own, missing = _own(family, tree) if tree is not None and library is None else (None, ())
    if own is not None:
        config, source = own, OWN_CONFIG
        _refuse_others(family, said, own, OWN_CONFIG)
    else:
        config = (
            _from_library(family, state, variant, said, library) if library else _infer(family, state, variant, said)
        )
        source = (library.source if library else "") or SHAPES
    for value in family.values:
        if value.name in said:
            config = _applied(value, config, said[value.name])
    if variant:
        config, source = family.resize(config, family.variants[variant]), f"--variant {variant}"
        _refuse_others(family, said, config, f"{option('variant')} {variant}")
    told = own is not None or bool(variant)
    found = tuple(
        _in_force(value, config, source if told and value.name not in said else _source(value, state, said, library))
        for value in family.values
    )
    guesses = () if told or library else _guesses(family, state)
    if tree is not None and library is None:
        guesses = (*guesses, *_unread(tree, own, missing))
    said_already = {value.name for value in family.values if library and value.field_name in library.guessed}
    unsaid = (one.assumption for one in found if one.source == ASSUMED and one.name not in said_already)
    assumed = (*unsaid, *guesses)
    return Configured(config, source, found, assumed)


def _own(family: Family, tree: Mapping[str, Any]) -> tuple[Any | None, tuple[str, ...]]:
    """Read the training code's own configuration; None where it says too little, and what it does not say.

    Raises:
        ShapeError: it is of another model, or has a field or a value that is not known.
    """
    types = SWINS if family.name in SWINS else (family.name, *family.variants)
    missing: tuple[str, ...] = ()
    with config_tree.reading("a configuration"):
        try:
            own = family.read_config(tree)
        except IncompleteError as error:
            own, missing = None, error.missing
        if "MODEL" in tree:
            config_tree.refuse_other_model(tree, family.name, types)
    return own, missing


def _unread(tree: Mapping[str, Any], own: Any | None, missing: tuple[str, ...]) -> tuple[str, ...]:
    """Say what of a configuration is not used, and for want of what."""
    names = [foreign(name) for name in config_tree.unread(tree)]
    if own is not None or any(place in tree for place in ("MODEL", *PICTURES)):
        little = WITHOUT.format(listed(missing)) if missing else TOO_LITTLE
        return (
            *(() if own is not None or "MODEL" not in tree else (little,)),
            *((UNREAD.format(listed(names)),) if names else ()),
        )
    return (OTHER_FORM.format(listed([foreign(name) for name in tree])),) if tree else ()


def _guesses(family: Family, state: State) -> tuple[str, ...]:
    """What a family assumes beside its values."""
    guess = family.assumed(state) if callable(family.assumed) else family.assumed
    return (guess,) if guess else ()


def _from_library(family: Family, state: State, variant: str | None, said: Mapping[str, Any], library: Library) -> Any:
    """The configuration of a library's fields, the others inferred.

    Raises:
        ShapeError: the library has a field that the family does not model.
    """
    kind = type(next(iter(family.variants.values())))
    known = {one.name: one for one in fields(kind)}
    if strange := sorted(library.fields.keys() - known.keys()):
        raise ShapeError(
            f"{', '.join(strange)}, in which {library.name} differs and which {family.name} does not model"
        )
    hints = get_type_hints(kind)
    told_fields = {name: typed(value, hints[name], name) for name, value in library.fields.items()}
    library = replace(library, fields=told_fields)
    needed = [name for name, one in known.items() if one.default is MISSING or name == "num_classes"]
    if all(name in library.fields for name in needed):
        config = kind(**library.fields)
    else:
        config = replace(_infer(family, state, variant, said, library.fields), **library.fields)
    if library.source:
        told = [value for value in family.values if value.field_name in library.fields]
        _refuse_others(
            family, {value.name: said[value.name] for value in told if value.name in said}, config, library.source
        )
    return config


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
            raise RequestError(
                f"expected {option('values', 'model')} with an option of {family.name} ({listed}), found {name}"
            )
        try:
            said[name] = known[name].kind.read(text)
        except (ValueError, TypeError, AttributeError) as error:
            how = known[name].kind.expected
            raise RequestError(f"expected {option('values', 'model')} {name} as {how}; found {text!r}") from error
    return said


def _infer(
    family: Family,
    state: State,
    variant: str | None,
    said: Mapping[str, Any],
    told: Mapping[str, Any] = NOTHING_TOLD,
) -> Any:
    needed = {value.field_name: told[value.field_name] for value in family.values if value.field_name in told}
    needed |= {value.field_name: said[value.name] for value in family.values if value.name in said}
    needed = {
        value.field_name: needed[value.field_name]
        for value in family.values
        if value.needed and value.field_name in needed
    }
    for value in family.values:
        if value.name in said:
            _refuse_contradicted(value, state, said[value.name])
    try:
        return family.infer(state, **needed)
    except UNINFERRED as error:
        if variant is None:
            _refuse_shapes(family, error)
        return _infer_like(family, state, family.variants[variant], needed)


def _infer_like(family: Family, state: State, variant: Any, needed: Mapping[str, Any]) -> Any:
    """The configuration of the shapes with what a variant has where nothing else tells it, or the variant's whole."""
    fields = {value.field_name: getattr(variant, value.field_name) for value in family.values if value.needed}
    try:
        return family.infer(state, **{**fields, **needed})
    except UNINFERRED:
        return variant


def _refuse_contradicted(value: ModelValue, state: State, said: Any) -> None:
    """Refuse a value that the shapes contradict.

    Raises:
        RequestError: they tell another one, or fit no model that has it.
    """
    asked = f"{option('values', 'model')} {value.name}={value.shown(said)}"
    try:
        told = value.told(state)
        value.check(state, said)
    except (ShapeError, KeyError, IndexError) as error:
        raise RequestError(
            f"expected a value that the tensors' shapes can have, {asked} gives {foreign(error, 300)}"
        ) from error
    if told is not None and told != said:
        raise RequestError(f"expected {value.name}={value.shown(told)}, which the tensors' shapes tell; found {asked}")


def _applied(value: ModelValue, config: Any, said: Any) -> Any:
    try:
        return value.applied(config, said)
    except ShapeError as error:
        asked = f"{option('values', 'model')} {value.name}={value.shown(said)}"
        raise RequestError(f"expected a value that this model can have, {asked} gives {foreign(error, 300)}") from error


def _refuse_shapes(family: Family, error: Exception) -> NoReturn:
    names = [f"{option('values', 'model')} {value.name}=..." for value in family.values if value.needed]
    say = f"say {' or '.join(names)}, " if names else ""
    raise CheckpointError(
        f"expected the shapes of a {family.name}, found others ({foreign(error, 300)}): "
        f"name it with {option('variant')}, {say}"
        "or write its configuration into the file under 'config'"
    ) from error


def _refuse_others(family: Family, said: Mapping[str, Any], config: Config, source: str) -> None:
    """Refuse what another source tells otherwise.

    Raises:
        RequestError: it tells another value.
    """
    for value in family.values:
        if value.assumed and value.name in said and value.of(config) != said[value.name]:
            found, told = value.shown(said[value.name]), value.shown(value.of(config))
            asked = f"{option('values', 'model')} {value.name}={found}"
            raise RequestError(
                f"expected {value.name}={told}, which {source} tells; found {asked}: leave one of them out"
            )


def _source(value: ModelValue, state: State, said: Mapping[str, Any], library: Library | None) -> str:
    """What told a value that neither a configuration nor a variant did."""
    if value.name in said:
        return SAID
    if library is not None and value.field_name in library.guessed:
        return ASSUMED
    if library is not None and value.field_name in library.fields:
        return library.source or library.name
    if value.told(state) is not None:
        return SHAPES
    return ASSUMED if value.assumed else UNSAID


def _in_force(value: ModelValue, config: Config, source: str) -> ValueInForce:
    shown = value.shown(value.of(config))
    return ValueInForce(value.name, shown, source, value.kind.expected, value.help, value.default)
