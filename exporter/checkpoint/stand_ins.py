"""Inert classes for what lies beside the weights in a pickle: counters, paths, dates, configurations, histories.

torch's own restricted unpickler reads the file (`weights_only=True`): it imports nothing, and builds only what it is
told to. For the names below it is told to build an object that holds whatever it is given and does nothing. Nothing of
the named library is imported or run, whatever the file asks for.
"""

import re
from collections import OrderedDict
from typing import Any


class StandIn:
    """An object in the place of one of a class that is not loaded: it takes any arguments and any state."""

    name = ""  # of the class that it stands for

    def __new__(cls, *_args: Any, **_options: Any) -> "StandIn":
        """Make an empty object, whatever is passed."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **_options: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        """Keep what the file says of the object."""
        self.state = state


class PlainDict:
    """A plain dictionary in the place of a class of dictionaries; the file fills it."""

    def __new__(cls, *args: Any, **_options: Any) -> "OrderedDict[Any, Any]":  # type: ignore[misc]
        """Make the dictionary, of the first one among the arguments."""
        return OrderedDict(next((arg for arg in args if isinstance(arg, dict)), {}))


class PlainList:
    """A plain list in the place of a class of lists; the file fills it."""

    def __new__(cls, *_args: Any, **_options: Any) -> list[Any]:  # type: ignore[misc]
        """Make an empty list, whatever is passed."""
        return []


DICTIONARIES = frozenset(
    """
    yacs.config.CfgNode fvcore.common.config.CfgNode detectron2.config.config.CfgNode addict.addict.Dict
    easydict.EasyDict mmcv.utils.config.ConfigDict mmengine.config.config.ConfigDict attrdict.dictionary.AttrDict
    munch.Munch box.box.Box ml_collections.config_dict.config_dict.ConfigDict
    pytorch_lightning.utilities.parsing.AttributeDict lightning.pytorch.utilities.parsing.AttributeDict
    lightning_fabric.utilities.data.AttributeDict lightning.fabric.utilities.data.AttributeDict
    transformers.utils.generic.ModelOutput types.MappingProxyType torch.nn.modules.container.ParameterDict
    collections.defaultdict collections.Counter collections.UserDict
    """.split()  # noqa: SIM905
)
LISTS = frozenset(["collections.deque", "collections.UserList"])
INERT = frozenset(
    """
    argparse.Namespace types.SimpleNamespace functools.partial copyreg._reconstructor builtins.object builtins.getattr
    builtins.frozenset builtins.slice builtins.range builtins.bytearray builtins.complex builtins.int builtins.float
    builtins.str builtins.bool builtins.list builtins.dict builtins.tuple builtins.set builtins.bytes builtins.print
    builtins.len builtins.type numpy.dtype numpy.ndarray numpy.core.multiarray.scalar numpy.core.multiarray._reconstruct
    numpy._core.multiarray.scalar numpy._core.multiarray._reconstruct numpy.core.numeric._frombuffer
    numpy._core.numeric._frombuffer numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__generator_ctor
    numpy.random._pickle.__bit_generator_ctor numpy.random._mt19937.MT19937 numpy.random.mtrand.RandomState
    pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePath pathlib.PurePosixPath pathlib.PureWindowsPath
    pathlib._local.Path pathlib._local.PosixPath pathlib._local.WindowsPath pathlib._local.PurePosixPath
    datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone uuid.UUID decimal.Decimal
    fractions.Fraction collections.ChainMap random.Random _codecs.encode torch.device torch.dtype torch.Size
    torch.torch_version.TorchVersion torch.Generator torch._C.Generator
    """.split()  # noqa: SIM905
)
LIBRARIES = (  # all of their names are inert
    "omegaconf",
    "hydra",
    "mmengine",
    "mmcv",
    "mmcls",
    "mmpretrain",
    "mmseg",
    "mmdet",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "torchmetrics",
    "transformers",
    "accelerate",
    "deepspeed",
    "timm",
    "yacs",
    "fvcore",
    "detectron2",
    "wandb",
    "numpy.dtypes",
    "torch.optim",
    "torch.cuda.amp",
    "torch.amp",
    "torch.distributed.optim",
    "torchvision.transforms",
    "typing",
    "enum",
    "__main__",
)
RUNS_CODE = (
    "sys",
    "os",
    "posix",
    "nt",
    "subprocess",
    "importlib",
    "runpy",
    "pty",
    "socket",
    "shutil",
    "ctypes",
    "code",
)


def is_allowed(name: str) -> bool:
    """Whether an object of this name, `module.Class`, may stand inert beside the weights."""
    if name.partition(".")[0] in RUNS_CODE:
        return False
    known = name in DICTIONARIES or name in LISTS or name in INERT
    return known or any(name.startswith(f"{library}.") for library in LIBRARIES)


def stand_in(name: str, kind: type[Any] = StandIn) -> type[Any]:
    """Make the class that stands for a name."""
    if name in LISTS:
        kind = PlainList
    elif name in DICTIONARIES:
        kind = PlainDict
    return type(identifier(name), (kind,), {"name": name})


def identifier(name: str) -> str:
    """Name the stand-in of a class, as errors of the unpickler show it."""
    return "in_the_place_of_" + re.sub(r"\W", "_", name)
