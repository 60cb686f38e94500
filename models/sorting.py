"""Layers that sort: what a model says of them, so that a proof can tell a permissible order from a wrong one.

Keys that are equal up to rounding sort either way, each legitimately, and what comes after them follows. So a layer
that sorts is a `Sorting`: it says by what it sorted, its orders are the outputs of modules that an artifact's values
can be found by, and it can be told another one's orders, under which results compare.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Orders = tuple[Tensor, ...]
Sorted = tuple[Orders, Orders]
"""The order after each round, [B, nH, N] position -> token; and the keys that the round sorted by, [B, nH, N], of the
tokens as they lay before it."""


class Round(nn.Module):
    """Sorts the parts of one round; a module of its own so that an artifact's order has a name.

    Args:
        tokens: N, of a head.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, keys: Tensor, before: Tensor | None, heads: int) -> tuple[Tensor, Tensor]:
        """Places within each part, [G, n], and the order of all tokens, [B, nH, N].

        Args:
            keys: of the parts [G, n], in the order before.
            before: position -> token [B, nH, N]; None where tokens lie as they are.
        """
        size = keys.shape[-1]
        places = ascending(keys, size)
        order = places if before is None else before.reshape(-1, size).gather(1, places)
        return places, order.reshape(-1, heads, self.tokens)


class Sorting(nn.Module):
    """A layer that sorts the tokens of each head in rounds; its forward pass gives `Sorted`.

    Attributes:
        tokens: N, of a head.
        rounds: one `Round` each; none where there is nothing to sort.
        parts: how many parts of equal size each round sorts, every one by itself.
        told: orders to take instead of sorting; None to sort.
    """

    told: Orders | None = None

    def __init__(self, tokens: int, parts: Sequence[int]) -> None:
        super().__init__()
        self.tokens, self.parts = tokens, tuple(parts)
        self.rounds = nn.ModuleList(Round(tokens) for _ in parts)


def ascending(keys: Tensor, size: int) -> Tensor:
    """The positions of `size` keys [..., n] in ascending order; of equal ones either may come first."""
    return torch.topk(keys, size, dim=-1, largest=False, sorted=True)[1]


def sortings(module: nn.Module) -> dict[str, Sorting]:
    """The layers of a model that sort anything, by name, in the order of the blocks."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, Sorting) and layer.parts}


def round_names(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of the modules that give the orders, one a round, by the layer's name."""
    return {
        name: tuple(".".join((*filter(None, (name,)), "rounds", str(n))) for n in range(len(layer.parts)))
        for name, layer in sortings(module).items()
    }


@contextmanager
def recorded(module: nn.Module) -> Iterator[dict[str, Sorted]]:
    """Collect what every layer that sorts gives meanwhile, by its name."""
    found: dict[str, Sorted] = {}

    def recorder(name: str) -> "object":
        """A hook that keeps the result under `name`."""
        return lambda _module, _inputs, result: found.__setitem__(name, result)

    hooks = [layer.register_forward_hook(recorder(name)) for name, layer in sortings(module).items()]  # type: ignore[arg-type]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def following(module: nn.Module, orders: Mapping[str, Sequence[Tensor]]) -> Iterator[None]:
    """Have a model take these orders instead of sorting, meanwhile.

    Args:
        orders: what `recorded` found, or an artifact gave, for the same batch of images: of each round, [B, nH, N].
    """
    layers = sortings(module)
    before = {name: layer.told for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.told = tuple(orders[name])
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.told = before[name]
