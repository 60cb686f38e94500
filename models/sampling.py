"""Bilinear sampling at learned points, in two forms of the same function: GridSample, and products with hats.

A point is a place on an axis from -1, the middle of the first pixel, to 1, the middle of the last; it may be outside,
where everything is 0. Of an axis with n pixels, p = (point + 1) (n - 1) / 2 is the same place in pixels, and bilinear
interpolation is a sum over all pixels a, of which all but two weights are 0:

    hat_a(p) = relu(1 - |p - a|)           sample = sum over (a, b) of hat_a(p_y) hat_b(p_x) image[a, b]

Outside, the hats of all pixels vanish or shrink to the border's, so that zeros around the map need no case of their
own. CoreML has no GridSample off the CPU (coremltools#1875); every target has the operators of hats.

    GridSampler, HatSampler   of a map, [B, H, W, C] at [B, g, S, 2] -> [B, S, C]: each group g has points of its own
    GridLookup, HatLookup     of a table of position biases, for every query and point -> [B, nH, H*W, S]

Source: torch.nn.functional.grid_sample, bilinear, zeros, align_corners=True, as LeapLabTHU/DAT 32173fc,
models/dat_blocks.py, DAttentionBaseline calls it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Sides = tuple[int, int]


class GridSampler(nn.Module):
    """Sampling of a map by GridSample.

    Args:
        resolution: rows and columns of the map.
        groups: g; each has C / g channels.
    """

    def __init__(self, resolution: Sides, groups: int) -> None:
        super().__init__()
        self.resolution, self.groups = resolution, groups

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        """Sample x [B, H, W, C] at points [B, g, S, 2], rows before columns, to [B, S, C]."""
        (rows, cols), dim, count = self.resolution, x.shape[3], points.shape[2]
        maps = x.permute(0, 3, 1, 2).reshape(-1, dim // self.groups, rows, cols)  # [B*g, C/g, H, W]
        grid = columns_first(points).reshape(-1, 1, count, 2)  # [B*g, 1, S, 2]
        return grid_sample(maps, grid).reshape(-1, dim, count).transpose(1, 2)


class HatSampler(nn.Module):
    """Sampling of a map by a product with hats; takes what `GridSampler` takes."""

    rows: Tensor
    cols: Tensor

    def __init__(self, resolution: Sides, groups: int) -> None:
        super().__init__()
        self.resolution, self.groups = resolution, groups
        self.register_buffer("rows", torch.arange(resolution[0], dtype=torch.get_default_dtype()), persistent=False)
        self.register_buffer("cols", torch.arange(resolution[1], dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        """Sample x [B, H, W, C] at points [B, g, S, 2], rows before columns, to [B, S, C]."""
        (rows, cols), dim, count = self.resolution, x.shape[3], points.shape[2]
        points = points.reshape(-1, count, 2)  # [B*g, S, 2]
        row = hat((points[..., :1] + 1) * ((rows - 1) / 2) - self.rows)  # [B*g, S, H]
        col = hat((points[..., 1:] + 1) * ((cols - 1) / 2) - self.cols)  # [B*g, S, W]
        weights = (row[..., None] * col[:, :, None]).reshape(-1, self.groups, count, rows * cols)  # [B, g, S, HW]
        maps = x.reshape(-1, rows * cols, self.groups, dim // self.groups).transpose(1, 2)  # [B, g, HW, C/g]
        return (weights @ maps).transpose(1, 2).reshape(-1, count, dim)  # [B, S, C]


class GridLookup(nn.Module):
    """Position biases of every query and point, by GridSample of a table at half their distance.

    Args:
        queries: places of the queries' rows [H] and columns [W], as points have them, in float64.
        table: rows and columns of a head's table.
        heads: number of heads nH.
        groups: g; each has the tables of nH / g heads.
    """

    places: Tensor

    def __init__(self, queries: tuple[Tensor, Tensor], table: Sides, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups = heads, groups
        places = torch.stack(torch.meshgrid(*queries, indexing="ij"), dim=-1).reshape(-1, 1, 2)  # [HW, 1, 2]
        self.register_buffer("places", places.to(torch.get_default_dtype()), persistent=False)

    def forward(self, table: Tensor, points: Tensor) -> Tensor:
        """Look up table [g, nH/g, rows, columns] for points [B, g, S, 2], to [B, nH, H*W, S].

        The table is the same for every image, so images stand beside each other in one grid: nothing is repeated.
        """
        tokens, count, groups = self.places.shape[0], points.shape[2], self.groups
        distance = (self.places - points[:, :, None]) * 0.5  # [B, g, HW, S, 2]
        grid = columns_first(distance).transpose(0, 1).reshape(groups, -1, count, 2)  # [g, B*HW, S, 2]
        return grid_sample(table, grid).reshape(self.heads, -1, tokens, count).transpose(0, 1)


class HatLookup(nn.Module):
    """Position biases of every query and point, by products with hats: of the table's rows, then of its columns.

    Takes what `GridLookup` takes. Of an axis with n entries, a query at q and a point at p are at entry
    ((q - p) / 2 + 1) (n - 1) / 2 = (q / 2 + 1) (n - 1) / 2 - p (n - 1) / 4.
    """

    rows: Tensor
    cols: Tensor

    def __init__(self, queries: tuple[Tensor, Tensor], table: Sides, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.table = heads, groups, table
        rows, cols = (
            (places / 2 + 1)[:, None] * ((n - 1) / 2) - torch.arange(n)
            for places, n in zip(queries, table, strict=True)
        )  # [H, rows], [W, columns]: how far each entry is from each query's own
        self.register_buffer("rows", rows.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("cols", cols.T.to(torch.get_default_dtype()), persistent=False)  # [columns, W]

    def forward(self, table: Tensor, points: Tensor) -> Tensor:
        """Look up table [g, nH/g, rows, columns] for points [B, g, S, 2], to [B, nH, H*W, S]."""
        (n, m), (rows, cols), count = self.table, (self.rows.shape[0], self.cols.shape[1]), points.shape[2]
        groups, own = self.groups, self.heads // self.groups
        steps = points.reshape(-1, 1, 2)  # [B*g*S, 1, 2]
        row = hat(self.rows - steps[..., :1] * ((n - 1) / 4)).reshape(-1, groups, count * rows, n)  # [B, g, S*H, rows]
        col = hat(self.cols - steps[..., 1:] * ((m - 1) / 4))  # [B*g*S, columns, W]
        tables = table.transpose(1, 2).reshape(groups, n, own * m)
        by_row = (row @ tables).reshape(-1, rows * own, m)  # [B*g*S, H*nH/g, columns]
        biases = (by_row @ col).reshape(-1, count, rows, own, cols)  # [B*g, S, H, nH/g, W]
        return biases.permute(0, 3, 2, 4, 1).reshape(-1, self.heads, rows * cols, count)


SAMPLERS: dict[str, Callable[[Sides, int], nn.Module]] = {"grid_sample": GridSampler, "hats": HatSampler}
LOOKUPS: dict[str, Callable[[tuple[Tensor, Tensor], Sides, int, int], nn.Module]] = {
    "grid_sample": GridLookup,
    "hats": HatLookup,
}
FORMS = tuple(SAMPLERS)


def hat(distance: Tensor) -> Tensor:
    """The weight of a pixel at a distance in pixels: 1 at 0, none from 1 on."""
    return (1 - distance.abs()).relu()


def columns_first(points: Tensor) -> Tensor:
    """Put columns before rows, as GridSample wants them, of points [..., 2] with rows first."""
    return torch.cat((points[..., 1:], points[..., :1]), dim=-1)


def grid_sample(images: Tensor, grid: Tensor) -> Tensor:
    """Sample images [N, C, H, W] at grid [N, h, w, 2], to [N, C, h, w]."""
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
