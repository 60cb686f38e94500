"""Checkpoints with one fault each: loaded as they were, refused in one line, or what they say is honoured or named.

A tiny Slide-Swin in each container is altered by bits, types of tensors, fields of its configuration, names, members of
its archive, or the opcodes of its pickle. What loads has to be the sound model, or to come from the altered file alone.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import SlideExportError
from slide_export.core.model import Model
from slide_export.core.text import foreign
from slide_export.models.config_tree import BESIDE, TRAINING
from slide_export.models.swin import SwinConfig, SwinTransformer

from .hostile_pickles import archive, pickle_of, watched
from .outcome import Outcome

NAME, CASES = "checkpoints", 60_000
LONGEST = 4000  # letters of a sentence
SMALL = SwinConfig(8, (2, 1), (1, 2), (4, 4), (32, 32), 3, slide_stages=1)
CONFIG: dict[str, Any] = {
    "MODEL": {
        "TYPE": "slide_swin",
        "NAME": "small",
        "NUM_CLASSES": 3,
        "DROP_PATH_RATE": 0.1,
        "SWIN": {
            "EMBED_DIM": 8, "DEPTHS": [2, 1], "NUM_HEADS": [1, 2], "WINDOW_SIZE": 4, "MLP_RATIO": 4.0, "QKV_BIAS": True,
            "QK_SCALE": None, "APE": False, "PATCH_NORM": True, "PATCH_SIZE": 4, "IN_CHANS": 3,
        },
        "SLIDE": {"KA": 3, "NUM_SLIDE_STAGES": 1},
    },
    "DATA": {"IMG_SIZE": 32, "INTERPOLATION": "bicubic", "MEAN": [0.4, 0.5, 0.6], "STD": [0.2, 0.3, 0.4]},
    "TEST": {"CROP": True},
    "AUG": {"MIXUP": 0.8},
}  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 5, 64, 64.0, 2.5, 1e9, 10**9, 10**6, 8000, 2**63, 10**400, float("inf"),
    float("-inf"), float("nan"), "", "x", "32", "\x1b[2J✓ equal", "pvt", "swinv2", "lanczos", "k" * 5000, [], [1],
    [3, 64, 64], [1, 2], [0, 0], [10**9, 1], [float("nan")] * 3, [0, 0, 0], [-1, 1, 1], [123.7, 116.3, 103.5], {},
    {"a": 1}, [[1]], b"x", (32, 32),
)  # fmt: skip


@functools.cache
def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        key: torch.randn_like(value) * 0.1 if value.is_floating_point() and "attn_mask" not in key else value.clone()
        for key, value in SwinTransformer(SMALL).state_dict().items()
    }


def _saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of quantized and nested tensors
        torch.save(content, stream, **options)
    return stream.getvalue()


@functools.cache
def _sound(kind: str) -> bytes:
    content = {"model": _state(), "config": CONFIG, "epoch": 3}
    if kind == "safetensors":
        return save_safetensors(_state())
    return _saved(content, _use_new_zipfile_serialization=kind == "zip")


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Flip bits, cut, fill with zeros, repeat or exchange pieces; of nothing, nothing."""
    if not data:
        return data
    changed, at = bytearray(data), chance.randrange(len(data))
    how = chance.randrange(8)
    size = min(chance.choice((1, 1, 1, 8, 64, 4096)), len(data) - at)
    if how < 4:
        changed[at] ^= 1 << chance.randrange(8)
    elif how == 4:
        changed[at : at + size] = bytes(size)
    elif how == 5:
        return bytes(changed[:at])
    elif how == 6:
        changed[at:at] = changed[at : at + size]
    else:
        changed[at : at + size] = chance.randbytes(size)
    return bytes(changed)


Case = tuple[bytes, str, Callable[[Model], str]]
"""A file, its ending, and what says what is silently wrong of the model in it ("" where nothing is)."""


def bits(chance: random.Random) -> Case:
    """Bytes of a file of any container."""
    kind = chance.choice(("zip", "zip", "legacy", "safetensors"))
    data = _damaged(_sound(kind), chance)
    if kind == "zip":
        return data, ".pth", _as_it_was
    return data, ".safetensors" if kind == "safetensors" else ".pth", functools.partial(_within, data)


def pickled(chance: random.Random) -> Case:
    """Bytes of the pickle inside an archive whose checksums fit again."""
    with zipfile.ZipFile(io.BytesIO(_sound("zip"))) as file:
        members = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    pickle = members["data.pkl"]
    for _ in range(chance.choice((1, 1, 2, 8))):
        pickle = _damaged(pickle, chance)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in (members | {"data.pkl": pickle}).items():
            file.writestr(f"archive/{name}", content)
    return stream.getvalue(), ".pth", functools.partial(_within, stream.getvalue())


def members(chance: random.Random) -> Case:
    """Members of the archive: twice, compressed, missing, more, under another checksum."""
    stream, how = io.BytesIO(), chance.randrange(5)
    with zipfile.ZipFile(io.BytesIO(_sound("zip"))) as file:
        found = [(name, file.read(name)) for name in file.namelist()]
    name, content = found[chance.randrange(len(found))]
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", 8 * (how == 0)) as file:
        warnings.simplefilter("ignore")  # zipfile's, of a name twice
        for other, kept in found:
            if how != 1 or other != name:
                file.writestr(other, kept)
        if how == 2:
            file.writestr(name, chance.randbytes(len(content)))
        if how == 3:
            file.writestr(f"archive/{chance.choice(('code/x.py', 'extra', '../x', 'data/999'))}", content)
    data = stream.getvalue()
    if how == 4:
        at = data.rindex(b"PK\x01\x02")
        data = data[: at + 16] + struct.pack("<I", chance.choice((0, 1, 0xFFFFFFFF))) + data[at + 20 :]
    return data, ".pth", _as_it_was


TYPES: tuple[Callable[[torch.Tensor], Any], ...] = (
    lambda t: t.half(), lambda t: t.bfloat16(), lambda t: t.double(), lambda t: t.to(torch.float8_e4m3fn),
    lambda t: t.to(torch.float8_e5m2), lambda t: t.to(torch.float8_e4m3fnuz), lambda t: (t * 99).to(torch.int8),
    lambda t: (t * 99).long(), lambda t: (t * 99).to(torch.uint8), lambda t: t > 0, lambda t: t.to(torch.complex64),
    lambda t: t.to_sparse(), lambda t: t.to("meta"),
    lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    lambda t: t.double() * 1e300, lambda t: t * float("nan"), lambda t: t + float("inf"), lambda t: t[None],
    lambda t: t.reshape(-1), lambda t: t.new_zeros(()), lambda t: t.new_zeros((0, 3)), lambda t: t.expand(3, *t.shape),
    lambda t: t.new_zeros(1).expand(1 << 15, 1 << 15), lambda t: torch.nn.Parameter(t.float()), lambda t: t.tolist(),
    lambda t: None, lambda t: t.numel(), lambda t: {"w": t}, lambda t: t.clone().transpose(0, -1) if t.ndim > 1 else t,
)  # fmt: skip


def types(chance: random.Random) -> Case:
    """Type, layout or shape of one tensor."""
    state = dict(_state())
    key, change = chance.choice(list(state)), chance.choice(TYPES)
    try:
        state[key] = change(state[key])
    except (RuntimeError, NotImplementedError, IndexError):
        state[key] = state[key].double()
    altered = state[key]

    def wrong(model: Model) -> str:
        exact = isinstance(altered, torch.Tensor) and altered.is_floating_point() and not altered.is_meta
        if key not in model.module.state_dict():
            return ""
        kept = model.module.state_dict()[key]
        if not exact or altered.shape != kept.shape:
            return _as_it_was(model) if isinstance(altered, torch.Tensor) else f"{key} came from nowhere"
        return "" if torch.equal(kept.float(), altered.float()) else f"{key} is another one"

    return _saved({"model": state, "config": CONFIG}), ".pth", wrong


def fields(chance: random.Random) -> Case:
    """One field of the configuration: another value, none, or a new one."""
    tree = copy.deepcopy(CONFIG)
    place, path = tree, []
    while True:
        name = chance.choice(list(place))
        path.append(name)
        if not isinstance(place[name], dict) or chance.random() < 0.15:
            break
        place = place[name]
    before, how = place[name], chance.randrange(8)
    if how == 0:
        before = None  # upstream's default is taken, or too little is said
        del place[name]
    elif how == 1:
        name = path[-1] = chance.choice(("FOO", "NORM", "\x1b[2J", "k" * 999, 3))
        place[name] = chance.choice(ODD)
    else:
        place[name] = chance.choice(ODD)
    return (
        _saved({"model": _state(), "config": tree}),
        ".pth",
        functools.partial(_honoured, path, before, place.get(name)),
    )


def _honoured(path: list[Any], before: Any, after: Any, model: Model) -> str:
    """Whether a changed field changed the model, is told aloud, or is known to change nothing."""
    known = TRAINING | frozenset().union(*BESIDE.values()) - {"DATA", "MODEL", "TEST"}
    read = {"TYPE", "NUM_CLASSES", "IMG_SIZE", "INTERPOLATION", "MEAN", "STD", "CROP"}
    name = str(path[-1])
    if path[0] == "AUG" or (name in known and name not in read):
        return ""
    if (model.config, model.data) != (SMALL, _reference().data) or model.provenance.assumed:
        return ""
    same = before == after or (isinstance(after, tuple) and list(after) == before)
    same = same or (name == "IMG_SIZE" and after == SMALL.image_size)
    harmless = same or after == {} or (name == "CROP" and after in (True, None)) or name == "INTERPOLATION"
    return "" if harmless else f"{foreign(path)} {foreign(after)} changed nothing"


NAMES: tuple[Any, ...] = (
    "\x1b[2J\n✓ equal", "k" * 100_000, "", "a\0b", 0, None, ("a", 1), 10**5000, "\udcff", "module.",
    "layers.0.blocks.1000000.norm1.weight", f"layers.{'9' * 5000}.blocks.0.norm1.weight", "head.weight.lora_A",
    "layers.99.blocks.0.attn.dep_conv1.weight", "backbone.x", "norm9.weight", "layers.0.blocks.-1.x",
    "layers.٣.blocks.0.norm1.weight",
)  # fmt: skip


def names(chance: random.Random) -> Case:
    """Names of tensors and of what stands around them."""
    state: dict[Any, Any] = dict(_state())
    key = chance.choice(list(state))
    how = chance.randrange(6)
    if how == 0:
        state[chance.choice(NAMES)] = state.pop(key)
    elif how == 1:
        state[chance.choice(NAMES)] = torch.zeros(chance.choice((1, 8)))
    elif how == 2:
        del state[key]
    elif how == 3:
        state = {
            f"{chance.choice([n for n in NAMES if isinstance(n, str)])}{name}": value for name, value in state.items()
        }
    content: Any = {"model": state, "config": CONFIG}
    if how == 4:
        content = {chance.choice(NAMES): state, chance.choice(NAMES): chance.choice(ODD), "config": CONFIG}
    if how == 5:
        content = {
            "model": state,
            "config": chance.choice((*ODD, "a: 1\nb: &x [*x]", "a: 2001-99-99", "MODEL: " + "9" * 5000, "[" * 3000)),
        }
    return _saved(content), ".pth", _as_it_was if how != 5 else lambda model: ""


def headers(chance: random.Random) -> Case:
    """The header of safetensors: other types, shapes, places, names."""
    data = _sound("safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    key = chance.choice([name for name in header if name != "__metadata__"])
    part = chance.choice(("dtype", "shape", "data_offsets", "name"))
    if part == "name":
        written = [name for name in NAMES if isinstance(name, str) and name.isascii()]
        header[chance.choice(written)] = header.pop(key)
    else:
        header[key][part] = chance.choice(
            ("F64", "I8", "F8_E5M2", "BOOL", "F4", [], [1], [0, 0], [0, 1 << 62], [1 << 40], 3, None)
        )
    made = json.dumps(header).encode()
    altered = struct.pack("<Q", len(made)) + made + data[8 + length :]
    return altered, ".safetensors", functools.partial(_within, altered)


def hostile(chance: random.Random, room: Path) -> Case:
    """A pickle that would run something."""
    archive(room / "made.zip", pickle_of(chance, room / "ran"))
    return (room / "made.zip").read_bytes(), ".pth", lambda model: "a model of a pickle without weights"


KINDS: tuple[Callable[[random.Random], Case], ...] = (
    bits,
    bits,
    pickled,
    pickled,
    members,
    types,
    fields,
    fields,
    names,
    headers,
)


@functools.cache
def _reference() -> Model:
    import tempfile

    with tempfile.TemporaryDirectory() as room:
        (Path(room) / "sound.pth").write_bytes(_sound("zip"))
        return load_checkpoint(Path(room) / "sound.pth")


def _as_it_was(model: Model) -> str:
    """Say in what a model is another one than the sound one."""
    sound = _reference()
    if (model.config, model.data) != (sound.config, sound.data):
        return "another configuration"
    theirs, ours = model.module.state_dict(), sound.module.state_dict()
    return next((f"{key} is another one" for key in ours if not torch.equal(ours[key], theirs[key])), "")


def _within(data: bytes, model: Model) -> str:
    """Say which weights stand nowhere in the file: they would be of memory."""
    sound = _reference().module.state_dict()
    for key, value in model.module.named_parameters():
        numbers = value.detach().contiguous().numpy()
        if torch.equal(value, sound[key]) or numbers.tobytes() in data:
            continue
        if not all(number.tobytes() in data for number in numbers.reshape(-1)):  # another order, each from the file
            return f"{key} is not in the file"
    return ""


def run(seed: int, index: int, room: Path) -> Outcome:
    """One case."""
    chance = random.Random(f"{seed} {index}")
    _reference()  # so that what torch imports late is imported
    number = chance.randrange(len(KINDS) + 1)
    made = hostile(chance, room) if number == len(KINDS) else KINDS[number](chance)
    what = "hostile" if number == len(KINDS) else KINDS[number].__name__
    data, ending, wrong = made
    path = room / f"model{ending}"
    path.write_bytes(data)
    with watched() as found:
        outcome = _outcome(path, wrong)
    if found or (room / "ran").exists():
        return Outcome("silent", f"{what}: ran {found[:3]}")
    return Outcome(outcome.verdict, outcome.detail and f"{what}: {outcome.detail}")


def _outcome(path: Path, wrong: Callable[[Model], str]) -> Outcome:
    try:
        model = load_checkpoint(path)
    except SlideExportError as error:
        said = str(error).replace(str(path), "")
        return Outcome("refused") if said.isprintable() and len(said) < LONGEST else Outcome("message", said[:300])
    if not all(note.isprintable() and len(note) < LONGEST for note in model.provenance.notes):
        return Outcome("message", str(model.provenance.notes)[:300])
    told = wrong(model)
    return Outcome("silent", told) if told else Outcome("fine")
