"""What a pickle asks to be made, read from its opcodes before anything is made of them.

    {"head.weight": torch.Tensor(10, 128)}  ->  Call("torch.Tensor", (10, 128)): memory that the file says nothing of

The account is kept by a stack machine that holds plain values and names; nothing is imported, called or allocated.
"""

import math
import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign

LARGEST = 1_000_000  # items of a tuple, those of its tuples included; a tuple of tuples may be a key, hashed whole
FREE = 1 << 26  # elements that any file may ask for: views of one number, expanded
REBUILT = "torch._utils._rebuild_"
SUBCLASS = "torch._tensor._rebuild_from_type_v2"
SIZE_AT = {  # where a function that makes a tensor has its size; the others take what is already a tensor
    "torch._utils._rebuild_tensor": 2,
    "torch._utils._rebuild_tensor_v2": 2,
    "torch._utils._rebuild_tensor_v3": 2,
    "torch._utils._rebuild_qtensor": 2,
}


@dataclass(frozen=True)
class Name:
    """A class or function by its name, module.Class."""

    name: str


@dataclass(frozen=True)
class Stored:
    """A storage: one of the file's blocks of numbers.

    Attributes:
        key: its name in the file.
        elements: how many numbers it says it has.
    """

    key: str
    elements: int


class Items(tuple[Any, ...]):
    """A tuple that knows how many items it has with those of its tuples."""

    total = 0


class Opaque:
    """A value whose content is of no matter here."""


OPAQUE = Opaque()


@dataclass
class Claims:
    """What one pickle asks for.

    Attributes:
        storages: the blocks of numbers that it names.
        calls: name and arguments of everything that is called.
        value: what the pickle is of, where it is a list or a plain value.
        whole: whether it was read to its end, with opcodes that torch's reader knows.
    """

    storages: list[Stored] = field(default_factory=list)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    value: Any = OPAQUE
    whole: bool = False


def claims_of(stream: IO[bytes]) -> Claims:
    """Read one pickle up to its end, as far as torch's restricted unpickler would.

    Raises:
        ValueError: it is damaged.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            machine.claims.value = machine.stack[-1] if machine.stack else OPAQUE
            machine.claims.whole = True
            break
        if opcode.name == "LONG4":
            raise ValueError(foreign(argument))
        if not machine.step(opcode.name, argument):
            break  # torch's reader takes no such opcode and will say so
    return machine.claims


class _Machine:
    """The stack, the marks in it and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.claims = Claims()

    def step(self, opcode: str, argument: Any) -> bool:
        """Take one opcode; False of one that is not known.

        Raises:
            ValueError: it takes what is not on the stack.
        """
        try:
            if opcode in PUSHED:
                self.stack.append(PUSHED[opcode](argument))
            elif opcode in STEPS:
                STEPS[opcode](self, argument)
            else:
                return opcode in ("PROTO", "FRAME")
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{opcode} without what it needs") from error
        return True

    def pop_mark(self) -> list[Any]:
        """Take what stands above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push_tuple(self, items: list[Any]) -> None:
        """Put a tuple on the stack.

        Raises:
            ValueError: it is larger than a file's own could be.
        """
        made = Items(items)
        made.total = 1 + sum(item.total if isinstance(item, Items) else 1 for item in items)
        if made.total > LARGEST:
            raise ValueError(f"a tuple of {made.total} items")
        self.stack.append(made)

    def tuple_of(self, count: int) -> None:
        """Make a tuple of the last items."""
        if len(self.stack) < count:
            raise IndexError(count)
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        self.push_tuple(items)

    def call(self, _argument: Any) -> None:
        """Replace a function and its arguments with what it makes."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if isinstance(function, Name):
            self.claims.calls.append((function.name, arguments if isinstance(arguments, tuple) else ()))
        self.stack.append(OPAQUE)

    def persistent(self, _argument: Any) -> None:
        """Replace a storage's identifier, ("storage", type, key, place, elements, ...), with the storage."""
        identifier = self.stack.pop()
        if identifier[0] != "storage":  # a class with its source, of a whole model: torch's reader names it
            self.stack.append(OPAQUE)
            return
        stored = Stored(_text(identifier[2]), int(identifier[4]))
        self.claims.storages.append(stored)
        self.stack.append(stored)

    def extend(self, _argument: Any) -> None:
        """Add items to the list below them."""
        items = self.pop_mark()
        self._append(items)

    def append(self, _argument: Any) -> None:
        """Add the last item to the list below it."""
        self._append([self.stack.pop()])

    def _append(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1] += items

    def drop(self, count: int) -> None:
        """Take items that go into what stands below them."""
        if len(self.stack) <= count:
            raise IndexError(count)
        del self.stack[len(self.stack) - count :]

    def set_items(self, _argument: Any) -> None:
        """Take the pairs that go into the mapping below them."""
        self.pop_mark()

    def mark(self, _argument: Any) -> None:
        """Remember the place."""
        self.marks.append(len(self.stack))

    def put(self, number: int) -> None:
        """Remember the last item."""
        self.memo[number] = self.stack[-1]

    def get(self, number: int) -> None:
        """Take a remembered item."""
        self.stack.append(self.memo[number])


PUSHED: Mapping[str, Callable[[Any], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: OPAQUE,
    "EMPTY_SET": lambda _: OPAQUE,
    "GLOBAL": lambda named: Name(_renamed(*named.split(" ", 1))),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"),
        lambda argument: argument,
    ),
}
"""Opcode -> what it puts on the stack."""

STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push_tuple(machine.pop_mark()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": lambda machine, _: machine.drop(1),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": lambda machine, _: machine.drop(2),
    "SETITEMS": _Machine.set_items,
    "BINPERSID": _Machine.persistent,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
}
"""Opcode -> what it does to the stack: those that torch's restricted unpickler knows."""


def _renamed(module: str, name: str) -> str:
    """Name a class as Python 3 does; pickles of protocol 2 have Python 2's names."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def refuse_claims(claims: Claims, size: int, where: str) -> None:
    """Refuse what is not of the file: tensors without values, and memory far beyond its size.

    Args:
        size: of the file, in bytes.
        where: the file, for people.

    Raises:
        CheckpointError: the pickle asks for it.
    """
    for name, arguments in claims.calls:
        if told := _refused(name, arguments, size):
            raise CheckpointError(f"expected a checkpoint whose values stand in the file, {where} {told}")


def _refused(name: str, arguments: tuple[Any, ...], size: int) -> str:
    """Say what is wrong with a call; "" where it may be made."""
    if name == SUBCLASS:
        inner = arguments[0] if arguments else None
        if not isinstance(inner, Name) or not inner.name.startswith(REBUILT):
            return f"makes a tensor by {foreign(getattr(inner, 'name', 'something else'))}"
        found = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], tuple) else ()
        return _refused(inner.name, found, size)
    if name.startswith("torch.") and name.endswith(("Tensor", "Storage")) and arguments:
        return f"asks for a {foreign(name)} without values: save the state dict with torch.save"
    if name == "builtins.bytearray" and any(isinstance(argument, int) for argument in arguments):
        return f"asks for {foreign(arguments[0])} bytes without values"
    if name == "_codecs.encode" and arguments[1:] != ("latin1",):  # as pickle writes bytes
        return "asks for a text in another encoding than that of bytes"
    shape = arguments[SIZE_AT[name]] if name in SIZE_AT and len(arguments) > SIZE_AT[name] else ()
    if isinstance(shape, tuple) and all(isinstance(side, int) for side in shape):
        elements = math.prod(shape)
        if elements > 4 * size + FREE:
            return f"asks for a tensor of {foreign(elements)} numbers in {size} bytes"
    return ""
