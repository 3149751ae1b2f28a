"""Prison: aliens that pace their cells. PettingZoo's `prison_v4`, which was removed in 2022.

Every alien is alone in a cell and learns alone: what one does never matters to another. So the
right result of an agent is known, and a method that mixes up rewards or agents shows here. Lengths
are pixels; places are distances of an alien's left edge from the left wall of its cell.
"""

from typing import ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box
from numba import njit
from pydantic import Field, ValidationInfo, field_validator

from marl.worlds.base import Arrays, Step, WorldConfig, checked_actions
from marl.worlds.compiled.cache import kernel
from marl.worlds.compiled.frames import FRAMES, picture_space, remember
from marl.worlds.compiled.random import Random, choice
from marl.worlds.compiled.world import CompiledWorld, first_state
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part

CELL = 300.0  # from wall to wall
MIDDLE, NOISE = 150.0, 20  # where aliens begin; moved by a whole number, at most so far
PACE = 24.0  # in one step, at most
WIDTHS = (26, 42, 46, 45, 46, 44, 48, 59)  # of v4's aliens, in its order
LEFT, NONE, RIGHT = -1, 0, 1  # walls
HEIGHT, WHITE, DARK = 100.0, 255.0, 60.0  # of a picture of a cell; its greys

ALIENS = "aliens"
WAYS = ((-1, 0), (0, 0), (1, 0))  # of the discrete moves: left, stay, right
WALL, FLOOR, STOREY = 50.0, 50.0, 150.0  # thickness of walls and floors; a floor and its cells
COLOURS = ((96, 169, 74), (92, 104, 199), (226, 190, 60), (59, 142, 125), (150, 150, 160),
           (214, 120, 160), (205, 98, 60), (120, 96, 80))  # fmt: skip


class Prison(WorldConfig):
    """Aliens live two to a floor, each alone in a cell, and earn 1 for every way from wall to wall
    that ends at the wall opposite to the first one touched.

    Observation: the alien's distance from the left wall, in widths of the cell; with `remembers`,
    also the wall that it touched last: -1 left, 1 right, 0 none. An alien touches a wall when it
    would go beyond it. Whoever does not remember cannot know where to turn.

    Or, with `observe` "image", the last 4 grey pictures of the alien's cell, uint8[4, S, S] with
    S = `picture_size`: the alien, as a dark square. They show where it is going.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "share")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)

    num_agents: int = Field(8, ge=2, description="aliens, an even number: two live on each floor")
    actions: Literal["discrete", "continuous"] = Field(
        "discrete",
        description="left, stay or right, or one number from -1 (left) to 1; 24 pixels a step",
    )
    remembers: bool = Field(
        False, description="whether aliens see which wall they touched last; v4's do not"
    )
    observe: Literal["vectors", "image"] = Field(
        "vectors", description="numbers, or grey pictures of the own cell, the last 4 at once"
    )
    picture_size: int = Field(
        84, ge=36, le=100, description="height and width of a picture in pixels"
    )
    synchronized_start: bool = Field(
        False, description="all begin at the same place, not up to 20 pixels beside it"
    )
    episode_length: int = Field(150, ge=1, description="steps until time runs out (truncation)")

    @field_validator("num_agents")
    @classmethod
    def _two_to_a_floor(cls, count: int) -> int:
        if count % 2:
            raise ValueError("should be even: two aliens live on each floor")
        return count

    @field_validator("observe")
    @classmethod
    def _no_picture_of_memory(cls, observe: str, info: ValidationInfo) -> str:
        if observe == "image" and info.data.get("remembers"):
            raise ValueError('should be "vectors" with world.remembers: it is in no picture')
        return observe

    @property
    def groups(self) -> dict[str, Group]:
        seen = [Part("place", scalars=1, sizes=(1.0,))]
        if self.remembers:
            seen.append(Part("last_wall", scalars=1, sizes=(1.0,)))
        low = np.array([0.0, -1.0][: len(seen)], np.float32)
        space: Box = Box(low, np.ones_like(low), dtype=np.float32)
        parts = tuple(seen)
        if self.observe == "image":
            space, parts = picture_space(self.picture_size)
        discrete = self.actions == "discrete"
        move = Part("move", scalars=1)
        if discrete:
            move = Part("move", scalars=3, choice=True, directions=WAYS)
        return {
            ALIENS: Group(
                tuple(f"prisoner_{i}" for i in range(self.num_agents)),
                space,
                Box(0.0 if discrete else -1.0, 1.0, (move.size,), np.float32),
                parts,
                (move,),
            )
        }

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "PrisonWorld":
        return PrisonWorld(self, num_worlds, seed, staggered)


# ---------------------------------------------------------------------------------------- compiled


@njit
def paces(distance):
    """How many steps it takes to touch a wall: to go farther than this distance."""
    return np.floor(distance / PACE) + 1


@njit
def most(place, span, length):
    """The most that an alien which begins at `place` can earn in `length` steps, when it can go
    from 0 to `span`: it touches the nearer wall, then walks to and fro."""
    first, cross = min(paces(place), paces(span - place)), paces(span)
    if length < first + cross:
        return 0.0
    return 1.0 + np.floor((length - first - cross) / (2 * cross))


@kernel
def reset_cells(place, first, last, best, keys, draws, begin, spans, synchronized, length):
    """Put the aliens of all worlds where `begin`, bool[E], back to their places; `best` f64[E] is
    what they can earn together; other arrays as in `step_cells`."""
    for world in range(len(begin)):
        if begin[world]:
            random = Random(keys, draws, world)
            best[world] = 0.0
            for i in range(len(spans)):
                moved = choice(random, 2 * NOISE + 1) - NOISE
                place[world, i] = MIDDLE if synchronized else MIDDLE + moved
                first[world, i] = last[world, i] = NONE
                best[world] += most(place[world, i], spans[i], length)


@kernel
def step_cells(place, first, last, moves, spans, reward):
    """One step of all worlds, in place: place f64[E, N]; the first and the last wall touched,
    i8[E, N]; moves f32[E, N], from -1 to 1; spans f64[N], how far aliens can go; reward
    f32[E, N]."""
    for world in range(place.shape[0]):
        for i in range(place.shape[1]):
            to = place[world, i] + PACE * min(max(moves[world, i], -1.0), 1.0)
            wall = LEFT if to < 0.0 else RIGHT if to > spans[i] else NONE
            place[world, i] = min(max(to, 0.0), spans[i])
            reward[world, i] = 0.0
            if wall != NONE:
                if first[world, i] == NONE:
                    first[world, i] = wall
                if first[world, i] != wall and last[world, i] == -wall:
                    reward[world, i] = 1.0
                last[world, i] = wall


@njit
def covered(number, size, low, high):
    """The share of a pixel that is between low and high, lengths of a whole of `size` pixels."""
    return max(0.0, min(number + 1.0, high * size) - max(number, low * size))


@njit
def draw_cell(place, width, picture):
    """An alien, as a square of this width, on the floor of its cell; picture u8[S, S]."""
    size = len(picture)
    picture[:] = WHITE
    for r in range(size):
        across = covered(r, size, 1.0 - width / HEIGHT, 1.0)
        if across > 0.0:
            for c in range(size):
                share = across * covered(c, size, place / CELL, (place + width) / CELL)
                picture[r, c] = np.uint8(WHITE - share * (WHITE - DARK) + 0.5)


@kernel
def draw_cells(place, past, count, widths, out):
    """The last pictures of all cells, out u8[E, N, 4, S, S], zeros before an episode began: of
    place f64[E, N], and before it of the `count`, i64[E], newest ones of past f64[E, 3, N]."""
    out[:] = 0
    for world in range(place.shape[0]):
        for i in range(place.shape[1]):
            pictures = out[world, i]
            for k in range(FRAMES - 1 - count[world], FRAMES - 1):
                draw_cell(past[world, k, i], widths[i], pictures[k])
            draw_cell(place[world, i], widths[i], pictures[FRAMES - 1])


# ------------------------------------------------------------------------------------------- world


class PrisonWorld(CompiledWorld):
    """E prisons."""

    outcomes = Prison.outcomes

    def __init__(
        self, scenario: Prison, num_worlds: int = 1, seed: int = 0, staggered: bool = False
    ) -> None:
        self.scenario, self.groups, self.num_worlds = scenario, scenario.groups, num_worlds
        self._staggered = staggered
        shape = num_worlds, scenario.num_agents
        self._widths = np.resize(np.array(WIDTHS, float), scenario.num_agents)
        self._state: Arrays = {
            **first_state(seed, num_worlds),
            "place": np.zeros(shape),
            "first": np.zeros(shape, np.int8),
            "last": np.zeros(shape, np.int8),
            "best": np.zeros(num_worlds),
            "earned": np.zeros(num_worlds),
        }
        if scenario.observe == "image":
            past = num_worlds, FRAMES - 1, scenario.num_agents
            self._state |= {"past": np.zeros(past), "count": np.zeros(num_worlds, np.int64)}

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        s, scenario = self._state, self.scenario
        begin = self.starting(mask, scenario.episode_length)
        reset_cells(
            *(s[name] for name in ("place", "first", "last", "best", "keys", "draws")),
            begin, CELL - self._widths, scenario.synchronized_start, scenario.episode_length,
        )  # fmt: skip
        s["earned"][begin] = 0
        if scenario.observe == "image":
            s["count"][begin] = 0
        return self._observation()

    def step(self, actions: Arrays) -> Step:
        s, group = self._state, self.groups[ALIENS]
        shape = self.num_worlds, len(group), *group.action_space.shape
        given = checked_actions(actions, ALIENS, self.groups, shape)
        discrete = self.scenario.actions == "discrete"
        moves = given.argmax(-1).astype(np.float32) - 1.0 if discrete else given[..., 0]
        reward = np.empty(shape[:2], np.float32)
        if self.scenario.observe == "image":
            remember([s["past"]], [s["place"]], s["count"], np.ones(self.num_worlds, bool))
        step_cells(s["place"], s["first"], s["last"], moves, CELL - self._widths, reward)
        s["earned"] += reward.sum(1)
        s["steps"] += 1
        truncated = s["steps"] >= self.scenario.episode_length
        return Step(
            observation=self._observation(),
            reward={ALIENS: reward},
            terminated={ALIENS: np.zeros(shape[:2], bool)},
            truncated=truncated,
            active={ALIENS: np.ones(shape[:2], bool)},
            done=truncated,
            metrics={
                "return": s["earned"].astype(np.float32),
                "share": (s["earned"] / np.maximum(s["best"], 1.0)).astype(np.float32),
            },
        )

    def _observation(self) -> Arrays:
        if self.scenario.observe == "image":
            s, space = self._state, self.groups[ALIENS].observation_space
            shown = np.empty((*s["place"].shape, *space.shape), np.uint8)
            draw_cells(s["place"], s["past"], s["count"], self._widths, shown)
            return {ALIENS: shown}
        seen = [self._state["place"] / CELL]
        if self.scenario.remembers:
            seen.append(self._state["last"])
        return {ALIENS: np.stack(seen, -1).astype(np.float32)}

    def state(self) -> np.ndarray:
        s = self._state
        return np.concatenate([s["place"] / CELL, s["first"], s["last"]], 1).astype(np.float32)

    def scene(self, world: int = 0) -> Scene:
        floors = self.scenario.num_agents // 2
        height = FLOOR + floors * STOREY
        side, storey = np.arange(2 * floors) % 2, np.arange(2 * floors) // 2
        x = WALL + (CELL + WALL) * side + self._state["place"][world] + self._widths / 2
        y = height - STOREY * (storey + 1) + self._widths / 2
        across, up = np.arange(10.0, 2 * CELL + 3 * WALL, 10), np.arange(10.0, height, 10)
        slabs = [
            (across, row) for f in range(floors + 1) for row in f * STOREY + np.arange(10.0, 50, 10)
        ]
        walls = [(x, up) for k in range(3) for x in k * (CELL + WALL) + np.arange(10.0, 50, 10)]
        bricks = np.concatenate(
            [np.stack(np.broadcast_arrays(*line), -1) for line in (*slabs, *walls)]
        )
        grey = np.tile(np.array([120, 118, 124, 255], np.uint8), (len(bricks), 1))
        skins = np.array([(*COLOURS[i % len(COLOURS)], 255) for i in range(2 * floors)], np.uint8)
        half = (CELL + 1.5 * WALL, height / 2)
        return Scene(
            half,
            (np.concatenate([bricks, np.stack([x, y], -1)]) - half).astype(np.float32),
            np.concatenate([np.full(len(bricks), 10.0), self._widths / 2]).astype(np.float32),
            np.concatenate([grey, skins]),
            f"step {self._state['steps'][world]}",
        )
