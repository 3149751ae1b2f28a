"""Groups and spaces of a PettingZoo environment."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.spaces.utils import flatdim, flatten_space

from marl.worlds.spaces import Group, Part

MASK = "action_mask"  # PettingZoo's key, in observations that are dictionaries
SMALLEST = 8  # pixels: bytes of two or three axes are a picture from this height and width on


class Kind(NamedTuple):
    """A group of agents: names and their spaces."""

    names: tuple[str, ...]
    observation: Space
    action: Space
    frames: int = 1  # pictures that are observed at once, the last ones

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """Channels, height and width of a picture; None if observations are no pictures."""
        space = self.observation
        if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
            return None
        height, width, channels = (*space.shape, 1)[:3]
        if channels > height:  # then they come first
            channels, height, width = space.shape
        return (channels, height, width) if min(height, width) >= SMALLEST else None

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """A picture of the environment as ours, u8[C, H, W]."""
        assert self.picture is not None
        pixels = np.asarray(picture).astype(np.uint8)
        last = pixels.ndim == 2 or pixels.shape != self.picture
        return np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0) if last else pixels

    @property
    def group(self) -> Group:
        seen = Box(-np.inf, np.inf, flatten_space(self.observation).shape, np.float32)
        shown: tuple[Part, ...] = ()
        if self.picture:
            channels, height, width = self.picture
            shape = self.frames * channels, height, width
            seen = Box(0, 255, shape, np.uint8)  # type: ignore[arg-type]
            pixels = channels * height * width
            shown = (Part("picture", self.frames, scalars=pixels, picture=self.picture),)
        numbers, parts = 0.0, []
        if isinstance(self.action, Box):
            size = int(np.prod(self.action.shape))
            numbers, parts = -1.0, [Part("action", scalars=size)]
        else:
            counts = [self.action.n] if isinstance(self.action, Discrete) else self.action.nvec  # type: ignore[attr-defined]
            parts = [Part(f"choice_{i}", scalars=int(n), choice=True) for i, n in enumerate(counts)]
            size = sum(part.size for part in parts)
        return Group(
            self.names,
            seen,
            Box(numbers, 1.0, (size,), np.float32),
            shown,
            tuple(parts),
            self._legal_from,
        )

    @property
    def _legal_from(self) -> int | None:
        """Where the action mask begins in the flat observation."""
        if not isinstance(self.observation, Dict) or MASK not in self.observation.spaces:
            return None
        keys = [*self.observation.spaces]
        before = keys[: keys.index(MASK)]
        return sum(flatdim(self.observation[key]) for key in before)

    def given(self, action: np.ndarray) -> Any:
        """An action of ours, f32[A], as the environment takes it."""
        space = self.action
        if isinstance(space, Box):
            return _within(space, (np.clip(action, -1.0, 1.0).reshape(space.shape) + 1.0) / 2.0)
        if isinstance(space, Discrete):
            return int(space.start) + int(action.argmax())
        assert isinstance(space, MultiDiscrete)
        ends = np.cumsum(space.nvec)[:-1]
        chosen = [int(piece.argmax()) for piece in np.split(action, ends)]
        return (space.start + np.array(chosen)).astype(space.dtype)


def _within(space: Box, share: np.ndarray) -> np.ndarray:
    """The values of a Box at these shares of the way from its low to its high ends; whole numbers
    are rounded."""
    # Not in the dtype of the space, in which high - low may overflow.
    low, high, share = (x.astype(np.float64) for x in (space.low, space.high, share))
    value = np.clip(low * (1.0 - share) + high * share, low, high)
    if space.dtype is not None and space.dtype.kind not in "iu":
        return value.astype(space.dtype)
    with np.errstate(invalid="ignore"):  # the ends of i64, as f64, may lie beyond it
        whole = np.rint(value).astype(space.dtype)
    return np.where(share <= 0.0, space.low, np.where(value >= high, space.high, whole))


def find_kinds(
    env: Any, groups: Mapping[str, Sequence[str]] | None, frames: int = 1
) -> dict[str, Kind]:
    """The groups of an environment; `frames`: how many pictures are observed at once. Raises
    ValueError with one sentence if agents cannot form one."""
    if unnamed := [agent for agent in env.possible_agents if not isinstance(agent, str)]:
        raise ValueError(f"its agents should have names that are text, but one is {unnamed[0]!r}")
    spaces = {a: (env.observation_space(a), env.action_space(a)) for a in env.possible_agents}
    if groups is None:
        found: dict[tuple, list[str]] = {}
        for agent, (seen, done) in spaces.items():
            prefix = re.sub(r"_?\d+$", "", agent) or "agents"
            found.setdefault((prefix, str(seen), str(done)), []).append(agent)
        prefixes = [prefix for prefix, *_ in found]
        names = [
            prefix if prefixes.count(prefix) == 1 else f"{prefix}_{i}"
            for i, prefix in enumerate(prefixes)
        ]
        groups = dict(zip(names, found.values(), strict=True))
    listed = sorted(agent for agents in groups.values() for agent in agents)
    if listed != sorted(spaces):
        raise ValueError(f"groups has the agents {listed}; there are {sorted(spaces)}")
    kinds = {}
    for g, agents in groups.items():
        first, *others = (spaces[agent] for agent in agents)
        if any(own != first for own in others):
            raise ValueError(f"the agents of group {g!r} have different spaces")
        seen, done = first
        if not getattr(flatten_space(seen), "shape", None):
            raise ValueError(f"what group {g!r} observes, {seen}, is no list of numbers")
        bounded = isinstance(done, Box) and done.is_bounded()
        flat = isinstance(done, MultiDiscrete) and done.nvec.ndim == 1
        if not (bounded or flat or isinstance(done, Discrete)):
            raise ValueError(
                f"the action space of group {g!r} is {done}, but should be a bounded Box, Discrete "
                "or MultiDiscrete of one axis"
            )
        kinds[g] = kind = Kind(tuple(agents), seen, done, frames)
        if kind.group.legal_from is not None and (
            bounded or flatdim(seen[MASK]) != kind.group.action_space.shape[0]
        ):
            raise ValueError(f"the {MASK} of group {g!r}, {seen[MASK]}, is none for {done}")
    return kinds
