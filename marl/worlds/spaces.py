"""Observations and actions: groups of agents with the same spaces, and the parts of their
vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Part:
    """A stretch of an observation or action: `count` items. An item has `vectors` plane vectors (x,
    y), then `scalars` plain numbers.

    With `masked`, the last scalar of an item is 1.0 if the item is there. If it is padding, all its
    numbers are 0.0. With `choice`, the scalars of an item are one-hot: 1.0 at the chosen number.
    `sizes` are the typical sizes of an item's numbers, if the world knows them. `directions` say
    where in the plane each scalar of an item leads (of a choice) or lies (of a view), (0, 0) for
    nowhere or here; None if that is unknown. Scalars with the same direction keep their order when
    the plane is turned. With `picture` (channels, height, width), the scalars of an item are the
    bytes of a picture, and the items are the last pictures, oldest first, all zeros before an
    episode's first one. Networks learn from the parts which numbers belong together, symmetry
    augmentation which numbers rotate with the plane, and normalisation how large the numbers are.
    """

    name: str
    count: int = 1
    vectors: int = 0
    scalars: int = 0
    masked: bool = False
    choice: bool = False
    sizes: tuple[float, ...] = ()
    directions: tuple[tuple[int, int], ...] | None = None
    picture: tuple[int, int, int] | None = None

    @property
    def item_size(self) -> int:
        return 2 * self.vectors + self.scalars

    @property
    def size(self) -> int:
        return self.count * self.item_size


@dataclass(frozen=True)
class Group:
    """Agents with the same spaces and role.

    `observation_parts` and `action_parts` describe the layout of the vectors. They are empty if the
    layout is unknown; then set networks and symmetry augmentation are not possible. Pictures are
    u8[C, H, W], with one part.
    """

    names: tuple[str, ...]
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.spaces.Box
    observation_parts: tuple[Part, ...] = ()
    action_parts: tuple[Part, ...] = ()
    legal_from: int | None = None  # where in an observation the numbers begin, one for each of an
    # action, that say which choices are allowed, 1.0, and which are not, 0.0; None: all always are
    team: str | None = None  # groups with the same one play together; None: the world does not say

    def __len__(self) -> int:
        return len(self.names)

    @property
    def observation_size(self) -> int:
        """How many numbers an agent observes."""
        return prod(self.observation_space.shape)

    @property
    def picture(self) -> Part | None:
        """What describes the pictures that agents observe; None if they observe vectors."""
        return next((part for part in self.observation_parts if part.picture), None)

    @property
    def choices(self) -> list[slice]:
        """The slices of an action that are choices: one number is 1.0, the others 0.0."""
        found, start = [], 0
        for part in self.action_parts:
            for item in range(start, start + part.size, max(part.item_size, 1)):
                if part.choice:
                    found.append(slice(item, item + part.item_size))
            start += part.size
        return found

    def legal(self, observation: Any) -> Any:
        """Which choices are allowed by observations [..., O], arrays or tensors: bool[..., A], or
        None if all always are. Where none is allowed, such as after an agent has left, it does not
        matter which is taken."""
        if self.legal_from is None:
            return None
        size = self.action_space.shape[0]
        return observation[..., self.legal_from : self.legal_from + size] > 0.5

    def random_actions(
        self, rng: np.random.Generator, *shape: int, legal: np.ndarray | None = None
    ) -> np.ndarray:
        """f32[*shape, A]: numbers drawn uniformly from -1 to 1, and uniformly drawn choices, of
        those that are `legal` (bool[*shape, A]; None: all)."""
        size = (*shape, *self.action_space.shape)
        actions = rng.uniform(-1, 1, size).astype(np.float32)
        if legal is not None:
            actions[~legal] = -2.0  # less than every other
        for piece in self.choices:
            actions[..., piece] = one_hot(actions[..., piece].argmax(-1), piece.stop - piece.start)
        return actions


def one_hot(chosen: np.ndarray, count: int) -> np.ndarray:
    """f32[..., count]: 1.0 at the chosen number (i64[...]), 0.0 elsewhere."""
    return (chosen[..., None] == np.arange(count)).astype(np.float32)


def pieces(parts: Sequence[Part], rows: Any) -> dict[str, Any]:
    """The parts of observations [..., O] by name, [..., count, item] each; arrays or tensors."""
    found, start = {}, 0
    for part in parts:
        piece = rows[..., start : start + part.size]
        found[part.name] = piece.reshape(*rows.shape[:-1], part.count, part.item_size)
        start += part.size
    return found
