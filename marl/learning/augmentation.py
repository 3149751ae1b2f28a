"""Changes of observations that keep the task: turns and reflections, shifts of pictures, and
hidden items."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from marl.worlds.spaces import Group, Part

Change = Callable[[Tensor, torch.Generator | None], Tensor]
"""Of rows [B, N, size]; the generator is for random ones."""

SYMMETRIES = 8  # of the square: four rotations, each with or without a reflection


def _vector_columns(parts: Sequence[Part]) -> list[int]:
    """The columns with the x of a plane vector; its y is in the next column."""
    columns, start = [], 0
    for part in parts:
        for item in range(part.count):
            first = start + item * part.item_size
            columns += [first + 2 * v for v in range(part.vectors)]
        start += part.size
    return columns


Way = tuple[int, int, int]
"""The direction (x, y) of a scalar, and how many scalars before it have that, too."""


def _directed_columns(parts: Sequence[Part]) -> list[dict[Way, int]]:
    """For each item whose scalars have directions: the column of every way."""
    found, start = [], 0
    for part in parts:
        if ways := part.directions:
            for item in range(part.count):
                first = start + item * part.item_size + 2 * part.vectors
                found.append({(*w, ways[:k].count(w)): first + k for k, w in enumerate(ways)})
        start += part.size
    return found


class Symmetry:
    """Turns and reflects plane vectors, choices among directions, and views: row i of a batch by
    the (i mod 8)th symmetry of the square.

    The rows of a batch are independent, so random symmetries would do no more. All agents of a row
    get the same symmetry.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """Raises ValueError if the turned directions of an item are not among its directions."""
        size = sum(part.size for part in parts)
        self._order = torch.arange(size).repeat(SYMMETRIES, 1)
        self._sign = torch.ones(SYMMETRIES, size)
        for element in range(SYMMETRIES):
            swap, flip_x, flip_y = element & 1, element & 2, element & 4
            for x in _vector_columns(parts):
                if swap:
                    self._order[element, x], self._order[element, x + 1] = x + 1, x
                self._sign[element, x] = -1.0 if flip_x else 1.0
                self._sign[element, x + 1] = -1.0 if flip_y else 1.0
            for columns in _directed_columns(parts):
                for (right, up, rank), column in columns.items():
                    right, up = (up, right) if swap else (right, up)
                    way = (-right if flip_x else right, -up if flip_y else up, rank)
                    if way not in columns:
                        raise ValueError(f"there is no choice that leads to {way[:2]}")
                    self._order[element, columns[way]] = column

    def __call__(self, rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B, N, size] -> [B, N, size]."""
        repeat = -(-len(rows) // SYMMETRIES)
        order = self._order.repeat(repeat, 1)[: len(rows), None]
        sign = self._sign.repeat(repeat, 1)[: len(rows), None]
        return rows.gather(2, order.expand(-1, rows.shape[1], -1)) * sign


class RandomShift:
    """Moves each picture by up to 4 pixels along either axis. Its edge is repeated where nothing
    was (Kostrikov et al. 2020, 2004.13649). The channels of a picture move together."""

    PIXELS = 4

    def __init__(self, picture: Part) -> None:
        """`picture`: the part that describes the pictures."""
        _, height, width = picture.picture or (0, 0, 0)
        steps = torch.arange(-self.PIXELS, self.PIXELS + 1)
        rows = (torch.arange(height) + steps[:, None]).clamp(0, height - 1)
        columns = (torch.arange(width) + steps[:, None]).clamp(0, width - 1)
        pixels = rows[:, None, :, None] * width + columns[None, :, None, :]
        self._source = pixels.flatten(2).flatten(0, 1)  # i64[81, H W]: of each pixel, for each move

    def __call__(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """[B, N, size] -> [B, N, size]."""
        drawn = torch.randint(len(self._source), rows.shape[:2], generator=generator)
        pictures = rows.unflatten(-1, (-1, self._source.shape[1]))
        source = self._source[drawn][..., None, :].expand_as(pictures)
        return pictures.gather(-1, source).flatten(-2)


def changes_of(group: Group) -> tuple[Change, Change]:
    """What `augment` does to a group's observations and to its actions."""
    if group.picture:
        return RandomShift(group.picture), lambda rows, _: rows
    return Symmetry(group.observation_parts), Symmetry(group.action_parts)


class RandomViews:
    """Shows only the first items of each masked part, between `least` [part name] and all of them;
    the others become padding. One draw decides for all parts of a row, so all of them are narrow or
    wide together. A set network then learns to act on views of any size."""

    def __init__(self, parts: Sequence[Part], least: Mapping[str, int]) -> None:
        masked = {part.name: part for part in parts if part.masked}
        for name in least:
            if name not in masked:
                raise ValueError(
                    f"agent.random_views names {name!r}; the parts that can be hidden are: "
                    f"{', '.join(masked) or 'none'}"
                )
        self._names = list(least)
        rank, owner = [], []  # of each column: the number of its item, and the part that limits it
        for part in parts:
            for item in range(part.count):
                rank += [item if part.name in least else -1] * part.item_size
                index = self._names.index(part.name) if part.name in least else 0
                owner += [index] * part.item_size
        self._rank, self._owner = torch.tensor(rank), torch.tensor(owner)
        self._low = torch.tensor([min(least[name], masked[name].count) for name in self._names])
        self._span = torch.tensor([masked[name].count for name in self._names]) - self._low + 1
        self.shown: Tensor | None = None  # [N, E, parts] items shown in the current episodes

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """i64[*shape, parts]: random numbers of items to show."""
        share = torch.rand(*shape, 1, generator=generator)
        return self._low + (share * self._span).long()

    def hide(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Observations [N, E, O] in the agents' views, which stay for an episode. So replay holds
        the situations into which a narrow view leads."""
        if self.shown is None:
            self.shown = self.draw(rows.shape[:2], generator)
        return rows * self.mask(self.shown)

    def reset(self, mask: np.ndarray | None, generator: torch.Generator) -> None:
        """New views for the episodes that begin in the worlds of `mask` (bool[E]; None: all; E may
        then change)."""
        if mask is None:
            self.shown = None
        elif self.shown is not None:
            drawn = self.draw(self.shown.shape[:2], generator)
            self.shown = torch.where(torch.from_numpy(mask)[:, None], drawn, self.shown)

    def mask(self, limits: Tensor) -> Tensor:
        """f32[..., O]: a factor for observations, 1.0 for shown items and 0.0 for hidden ones."""
        return (self._rank < limits[..., self._owner]).float()
