"""Pursuit as a world: E grids with N pursuers and M evaders each; see rules.py."""

from typing import Any, ClassVar, Self

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field, ValidationInfo, field_validator

from marl.worlds.base import Arrays, Neighbours, Step, World, WorldConfig, checked_actions
from marl.worlds.compiled.world import CompiledWorld, first_state
from marl.worlds.pursuit import rules
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part

TEAM = "pursuers"
EVADERS_PER_PURSUER = 30 / 8  # of pursuit_v5
SMALLEST = 3  # cells: the shortest side of a map

WALL_COLOUR, PURSUER_COLOUR, EVADER_COLOUR = (
    (120, 120, 120, 255), (205, 45, 50, 200), (64, 120, 220, 200)
)  # fmt: skip


def _reward(default: float, description: str) -> Any:
    return Field(default, allow_inf_nan=False, description=description)


class Pursuit(WorldConfig):
    """PettingZoo's pursuit_v5. Pursuers and evaders move on a grid with an obstacle in the middle,
    the evaders at random. An evader that is surrounded is caught and leaves. The task ends when all
    are caught.

    Observation, float32[obs_range x obs_range x 3]: the cells around the pursuer, which is in the
    middle, row after row, y up. A cell has three numbers: 1.0 for a wall, else 0.0; the number of
    pursuers, itself included; the number of evaders. Actions, one-hot: left, right, up, down, stay.
    """

    metrics: ClassVar[tuple[str, ...]] = ("caught", "return")
    outcomes: ClassVar[frozenset[str]] = frozenset({"caught", "return"})

    num_agents: int = Field(8, ge=1, le=100_000, description="N, the number of pursuers")
    num_evaders: int | None = Field(
        None, ge=1, le=1_000_000, description="M; null: 3.75 for each pursuer, 30 for 8"
    )
    agent_density: float = Field(
        1 / 32, ge=1e-4, le=1, description="pursuers per cell, where x_size or y_size is null"
    )
    x_size: int | None = Field(
        None, ge=SMALLEST, le=10_000, description="cells from left to right; null: by the density"
    )
    y_size: int | None = Field(
        None, ge=SMALLEST, le=10_000, description="cells from bottom to top; null: by the density"
    )
    obs_range: int = Field(7, ge=1, le=99, description="R, an odd number: agents see R x R cells")
    surround: bool = Field(
        True,
        description="an evader is caught when pursuers are on all cells beside it that are no "
        "walls; false: when n_catch pursuers are on its own cell",
    )
    n_catch: int = Field(2, ge=1, le=100_000, description="see surround")
    tag_reward: float = _reward(0.01, "for each evader on a cell beside one's own, in each step")
    catch_reward: float = _reward(5.0, "for each pursuer that takes part in a catch")
    urgency_reward: float = _reward(-0.1, "for each pursuer in each step")
    shared_reward: bool = Field(True, description="every pursuer gets the mean of all")
    freeze_evaders: bool = Field(False, description="evaders stay where they are")
    constraint_window: float = Field(
        1.0, gt=0, le=1, description="share of the sides of the map in which everything starts"
    )
    episode_length: int = Field(500, ge=1, description="steps until time runs out (truncation)")

    @field_validator("obs_range")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("should be odd")
        return value

    @field_validator("constraint_window")
    @classmethod
    def _outside_the_obstacle(cls, value: float, info: ValidationInfo) -> float:
        """A window that can lie within the obstacle would leave no room to start."""
        if {"num_agents", "agent_density", "x_size", "y_size"} <= info.data.keys():
            x_size, y_size = _sides(**info.data)
            wall = rules.obstacle(x_size, y_size)
            columns, rows = wall.any(0).sum(), wall.any(1).sum()
            least = min((columns + 1) / x_size, (rows + 1) / y_size)
            if not (value * x_size >= columns + 1 or value * y_size >= rows + 1):
                raise ValueError(
                    f"should be at least {least:g}: a smaller window can lie within the obstacle"
                )
            if value * min(x_size, y_size) < 1:
                raise ValueError("should be at least one cell wide and high")
        return value

    @property
    def evader_count(self) -> int:
        """M."""
        return self.num_evaders or max(1, round(EVADERS_PER_PURSUER * self.num_agents))

    @property
    def map_size(self) -> tuple[int, int]:
        """The cells of the map from left to right, and from bottom to top."""
        return _sides(**dict(self))

    @property
    def groups(self) -> dict[str, Group]:
        reach = self.obs_range // 2
        across = range(-reach, reach + 1)
        around = tuple((x, y) for y in across for x in across for _ in range(rules.CHANNELS))
        size = len(around)
        return {
            TEAM: Group(
                tuple(f"pursuer_{k}" for k in range(self.num_agents)),
                Box(0.0, np.inf, (size,), np.float32),
                Box(0.0, 1.0, (len(rules.MOVES),), np.float32),
                (Part("window", scalars=size, directions=around),),
                (Part("move", scalars=len(rules.MOVES), choice=True, directions=rules.MOVES),),
            )
        }

    def with_agents(self, count: int) -> Self:
        """The same parameters with so many pursuers. Given numbers of evaders grow in proportion,
        and given sides by its root, so that the density of everything stays. Raises ValueError if
        the number is not allowed."""
        share = count / self.num_agents
        grown: dict[str, Any] = {"num_agents": count}
        if self.num_evaders is not None:
            grown["num_evaders"] = max(1, round(share * self.num_evaders))
        for side in ("x_size", "y_size"):
            if (length := getattr(self, side)) is not None:
                grown[side] = max(SMALLEST, round(max(share, 0.0) ** 0.5 * length))
        return self.replaced(**grown)

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> World:
        return PursuitWorld(self, num_worlds, seed, staggered)


def _sides(
    num_agents: int, agent_density: float, x_size: int | None, y_size: int | None, **_: Any
) -> tuple[int, int]:
    cells = num_agents / agent_density
    square = cells**0.5
    x = x_size or max(SMALLEST, round(cells / y_size if y_size else square))
    y = y_size or max(SMALLEST, round(cells / x_size if x_size else square))
    return x, y


class PursuitWorld(CompiledWorld):
    """E grids."""

    outcomes = Pursuit.outcomes

    def __init__(
        self, scenario: Pursuit, num_worlds: int = 1, seed: int = 0, staggered: bool = False
    ) -> None:
        self.scenario, self.groups, self.num_worlds = scenario, scenario.groups, num_worlds
        self._staggered = staggered
        reach = scenario.obs_range // 2
        self._rules = rules.Rules(
            max(reach, 1), reach, scenario.surround, scenario.n_catch, scenario.freeze_evaders,
            scenario.tag_reward, scenario.catch_reward, scenario.urgency_reward,
            scenario.shared_reward, scenario.constraint_window,
        )  # fmt: skip
        self._wall = rules.obstacle(*scenario.map_size)
        padded = np.pad(self._wall, self._rules.pad, constant_values=True)
        self._grids = np.zeros((num_worlds, *padded.shape, rules.CHANNELS), np.float32)
        self._grids[..., rules.WALL] = padded
        agents, evaders = scenario.num_agents, scenario.evader_count
        self._state: Arrays = {
            **first_state(seed, num_worlds),
            "pursuers": np.zeros((num_worlds, agents, 2), np.int32),
            "evaders": np.zeros((num_worlds, evaders, 2), np.int32),
            "free": np.zeros((num_worlds, evaders), bool),
            "earned": np.zeros(num_worlds),
        }

    def _places(self) -> tuple[np.ndarray, ...]:
        """What kernels change."""
        s = self._state
        return self._grids, s["pursuers"], s["evaders"], s["free"], s["keys"], s["draws"]

    def _unseen(self) -> np.ndarray:
        """An array for observations, uninitialised."""
        space = self.groups[TEAM].observation_space
        return np.empty((self.num_worlds, self.scenario.num_agents, *space.shape), np.float32)

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        s = self._state
        starting = self.starting(mask, self.scenario.episode_length)
        seen = self._unseen()
        rules.reset_grids(*self._places(), starting, seen, self._rules)
        s["earned"][starting] = 0.0
        return {TEAM: seen}

    def step(self, actions: Arrays) -> Step:
        s, shape = self._state, (self.num_worlds, self.scenario.num_agents)
        if not s["draws"].all():
            raise RuntimeError("call reset() before the first step()")
        given = checked_actions(actions, TEAM, self.groups, (*shape, len(rules.MOVES)))
        reward, seen = np.empty(shape, np.float32), self._unseen()
        total, left = np.empty(self.num_worlds), np.empty(self.num_worlds, np.int64)
        rules.step_grids(*self._places(), given, reward, total, left, seen, self._rules)
        s["earned"] += total
        s["steps"] += 1
        ended = left == 0
        truncated = ~ended & (s["steps"] >= self.scenario.episode_length)
        terminated = np.repeat(ended[:, None], self.scenario.num_agents, axis=1)
        return Step(
            observation={TEAM: seen},
            reward={TEAM: reward},
            terminated={TEAM: terminated},
            truncated=truncated,
            active={TEAM: ~terminated},
            done=ended | truncated,
            metrics={
                "caught": (1.0 - left / self.scenario.evader_count).astype(np.float32),
                "return": s["earned"].astype(np.float32),
            },
        )

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        """As `World.neighbours`; equal distances are ordered by number. There are no landmarks."""
        shape = (self.num_worlds, self.scenario.num_agents)
        numbers = np.empty((*shape, agents), np.int64)
        rules.nearest_pursuers(self._state["pursuers"], numbers)
        return {TEAM: Neighbours(numbers, np.full((*shape, landmarks), -1))}

    def state(self) -> np.ndarray:
        """The whole map, in the form of an observation, as pursuit_v5's `state`."""
        pad = self._rules.pad
        return self._grids[:, pad:-pad, pad:-pad].reshape(self.num_worlds, -1).copy()

    def scene(self, world: int = 0) -> Scene:
        s = self._state
        evaders = np.where(s["free"][world][:, None], s["evaders"][world], np.nan)
        walls = np.argwhere(self._wall)[:, ::-1]
        discs = [
            (walls, 0.5, WALL_COLOUR),
            (evaders, 0.3, EVADER_COLOUR),
            (s["pursuers"][world], 0.38, PURSUER_COLOUR),
        ]
        height, width = self._wall.shape
        middle = ((width - 1) / 2, (height - 1) / 2)
        return Scene(
            (width / 2, height / 2),
            np.concatenate([at - middle for at, _, _ in discs]).astype(np.float32),
            np.concatenate([np.full(len(at), r) for at, r, _ in discs]).astype(np.float32),
            np.concatenate([np.tile(colour, (len(at), 1)) for at, _, colour in discs]).astype(
                np.uint8
            ),
            f"{self.scenario.num_agents} pursuers   step {s['steps'][world]}",
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        s = self._state
        rules.fill_grids(self._grids, s["pursuers"], s["evaders"], s["free"], self._rules.pad)
