"""The configuration of a model as a tree of plain values, for families whose upstream saves none.

    {"MODEL": {"TYPE": "nat", "NUM_CLASSES": 10, "NAT": {"EMBED_DIM": 16, ...}}, "DATA": {"IMG_SIZE": [64, 64]}}

Every field of the family's configuration stands under the family's name; the form is Swin's (config.py), the names are
ours. A checkpoint that has it under "config" needs no guess from its shapes. What a tree says is believed whole: a
field that is not known, or whose value cannot be, is refused by name.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_type_hints

from .family import Config, IncompleteError, ShapeError
from .typed_value import typed

ConfigT = TypeVar("ConfigT", bound=Config)
FUNCTION = (  # fields that a tree may leave out
    "norm_eps",
    "embed_eps",
    "reduced_eps",
    "activation",
    "dilations",
    "normed_stages",
    "refuse_remainder",
    "feature_norms",
    "padded_stripes",
)
ELSEWHERE = ("image_size", "num_classes")  # fields with a place of their own in the tree
TRAINING = frozenset(
    """
    TYPE NAME NUM_CLASSES PRETRAINED RESUME DROP_RATE ATTN_DROP_RATE DROP_PATH_RATE LABEL_SMOOTHING MODEL_NAME ARCH
    LOSS_FUNC DROPOUT_RATE HEAD_ACT ACT_CHECKPOINT
    """.split()  # noqa: SIM905
)
"""Fields under MODEL that are read, or that change nothing in eval mode."""
MODELS = frozenset("SWIN SLIDE SWINV2 SWIN_MOE SWIN_MLP SIMMIM SWIN_HR SWIN_LRVIT PVD DAT".split())  # noqa: SIM905
"""Branches under MODEL of which upstream reads the one that TYPE names."""
BESIDE: Mapping[str, frozenset[str]] = {
    "DATA": frozenset(
        """
        IMG_SIZE INTERPOLATION MEAN STD BATCH_SIZE DATA_PATH DATASET ZIP_MODE CACHE_MODE PIN_MEMORY NUM_WORKERS
        MASK_PATCH_SIZE MASK_RATIO TRAIN_CROP_SIZE TEST_CROP_SIZE VAL_CROP_RATIO PATH_TO_DATA_DIR PATH_TO_PRELOAD_IMDB
        IN22K_TRAINVAL IN22k_VAL_IN1K
        """.split()  # noqa: SIM905
    ),
    "TEST": frozenset(
        """
        CROP SEQUENTIAL SHUFFLE ENABLE DATASET BATCH_SIZE CHECKPOINT_FILE_PATH CHECKPOINT_SQUEEZE_TEMPORAL
        """.split()  # noqa: SIM905
    ),
    "": frozenset(
        """
        BASE DATA MODEL MVIT TEST TRAIN AUG AMP ENABLE_AMP AMP_ENABLE AMP_OPT_LEVEL OUTPUT TAG SAVE_FREQ PRINT_FREQ
        SEED EVAL_MODE THROUGHPUT_MODE LOCAL_RANK FUSED_WINDOW_PROCESS FUSED_LAYERNORM MIXUP SOLVER DATA_LOADER NUM_GPUS
        NUM_SHARDS SHARD_ID OUTPUT_DIR RNG_SEED LOG_PERIOD LOG_MODEL_INFO DIST_BACKEND
        """.split()  # noqa: SIM905
    ),
}
"""Fields beside the model that are read or that change nothing in eval mode.

Source: config.py of microsoft/Swin-Transformer f82860b, LeapLabTHU/Slide-Transformer 6b1e184, LeapLabTHU/DAT 566a593;
facebookresearch/mvit dfbdfdf, mvit/config/defaults.py.
"""


def write_config(config: Any, family: str) -> dict[str, Any]:
    """Config tree of a frozen dataclass."""
    values = asdict(config)
    numbers = {name.upper(): value for name, value in values.items() if name not in ELSEWHERE}
    return {
        "MODEL": {"TYPE": family, "NUM_CLASSES": values["num_classes"], family.upper(): numbers},
        "DATA": {"IMG_SIZE": list(values["image_size"])},
    }


def read_config(tree: Mapping[str, Any], family: str, kind: type[ConfigT]) -> ConfigT | None:
    """Read a configuration; None if the tree is another family's.

    Args:
        kind: the family's configuration, a frozen dataclass.

    Raises:
        IncompleteError: a field is missing.
        ShapeError: a field is not known, or has a value that it cannot have.
    """
    model, data = branch(tree, "MODEL"), branch(tree, "DATA")
    numbers = branch(model, family.upper())
    if model.get("TYPE", family if numbers else None) != family:
        return None
    told = tuple(name for name in _told(kind, numbers) if name not in ELSEWHERE)
    where = f"MODEL.{family.upper()}"
    missing = [f"{where}.{name.upper()}" for name in told if name.upper() not in numbers]
    missing += ["MODEL.TYPE"] * ("TYPE" not in model)
    missing += ["MODEL.NUM_CLASSES"] * ("NUM_CLASSES" not in model)
    missing += ["DATA.IMG_SIZE"] * (data.get("IMG_SIZE") is None)
    if missing:
        raise IncompleteError(missing)
    refuse_unknown(numbers, _names(kind), where)
    hints = get_type_hints(kind)
    values = {name: typed(numbers[name.upper()], hints[name], f"{where}.{name.upper()}") for name in told}
    classes = typed(model["NUM_CLASSES"], int, "MODEL.NUM_CLASSES")
    return kind(**values, **{"image_size": sides(data["IMG_SIZE"]), "num_classes": classes})


def branch(tree: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """Branch of a tree; empty where it is absent."""
    found = None if tree is None else tree.get(name)
    return found if isinstance(found, Mapping) else {}


def sides(value: Any, name: str = "DATA.IMG_SIZE") -> tuple[int, int]:
    """Rows and columns of an input size given as one number or as two: 224 -> (224, 224).

    Raises:
        ShapeError: it is neither.
    """
    two = value if isinstance(value, list | tuple) else (value, value)
    if len(two) != 2:  # rows and columns
        raise ShapeError(f"{name} {value!r}, where one number or two are expected")
    rows, cols = (typed(side, int, name) for side in two)
    if min(rows, cols) < 1:
        raise ShapeError(f"{name} {value!r}, where positive numbers are expected")
    return rows, cols


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read somebody else's configuration: what fails in it is of another form.

    Raises:
        ShapeError: it is.
    """
    try:
        yield
    except ShapeError:
        raise
    except KeyError as error:
        raise ShapeError(f"{what} without {error}") from error
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        raise ShapeError(f"{what} of another form ({error})") from error


def refuse_unknown(found: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse fields that nothing here reads: they may change what the model computes.

    Raises:
        ShapeError: there is one.
    """
    if strange := sorted(str(name) for name in found if name not in known):
        raise ShapeError(
            f"{where}.{strange[0]} {found.get(strange[0])!r}, which is not known here: take it out of the "
            "configuration if it changes nothing"
        )


def refuse_other_model(tree: Mapping[str, Any], family: str, types: Collection[str]) -> None:
    """Refuse a tree of another model, and fields of the model that are not known.

    Args:
        tree: a configuration.
        family: what the weights are of.
        types: the names that it may have under MODEL.TYPE.

    Raises:
        ShapeError: it is one, or has one.
    """
    for name in ("MODEL", "DATA", "TEST"):
        if not isinstance(tree.get(name, {}), Mapping):
            raise ShapeError(f"{name} {tree[name]!r}, where its fields are expected")
    model = branch(tree, "MODEL")
    told = model.get("TYPE")
    if told is not None and str(told).lower() not in types:
        raise ShapeError(
            f"MODEL.TYPE {told!r}, where {' or '.join(map(repr, types))} is expected: the weights are named as those "
            f"of a {family}; correct the configuration, or leave it out"
        )
    refuse_unknown(model, {*TRAINING, *MODELS, family.upper()}, "MODEL")


def unread(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the fields of a tree beside the model that nothing here reads and that are not known to change nothing."""
    found = [str(name) for name in tree if name not in BESIDE[""]]
    for place in ("DATA", "TEST"):
        found += [f"{place}.{name}" for name in branch(tree, place) if name not in BESIDE[place]]
    return tuple(found)


def _names(kind: type[Any]) -> set[str]:
    return {field.name.upper() for field in fields(kind)}


def _told(kind: type[Any], numbers: Mapping[str, Any]) -> tuple[str, ...]:
    """List the fields to read: all that a shape could tell, and of the others those that the tree has."""
    return tuple(f.name for f in fields(kind) if f.name not in FUNCTION or f.name.upper() in numbers)
