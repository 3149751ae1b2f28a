"""Pistonball as a world: E courts with N pistons and a ball each; see physics.py for the game."""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from marl.worlds.base import Arrays, Neighbours, Step, WorldConfig, checked_actions
from marl.worlds.compiled.frames import FRAMES, picture_space, remember
from marl.worlds.compiled.world import CompiledWorld, first_state
from marl.worlds.pistonball import drawing, physics, pictures
from marl.worlds.pistonball.observing import BALL, LENGTH, OTHER, OWN, SPEED, TURN, look
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part

PISTONS = "pistons"
WAYS = ((0, -1), (0, 0), (0, 1))  # of the discrete moves: down, stay, up


class Pistonball(WorldConfig):
    """Pistons in a row carry a ball to the left wall, by raising themselves behind the ball and
    lowering themselves before it. PettingZoo's pistonball_v6, with vectors or pictures.

    All pistons earn the same: 100 for the whole way, in proportion, less 0.1 in each step but the
    last. An episode is terminated when the ball reaches the left wall.

    Observation, float32[8 + 6 window], lengths in diameters of the ball, y up:

    - own: height; distances to the left and to the right wall, at most 2.
    - ball: vector from the piston's head to the ball, at most 2 along either axis; velocity in
      50 px/s; spin in 5 rad/s, positive as when it rolls to the right.
    - near, for each of `window` pistons on the left, then on the right: vector from head to head,
      and 1.0; zeros beyond the ends of the row.

    Or, with `observe` "image", the last 4 grey pictures of its own column and those beside it,
    uint8[4, S, S] with S = `picture_size`; see pictures.py.

    Actions: float32[1], down (-1) to up (1), or one of down, stay, up. The metrics describe the
    episode: an agent's return, whether the ball was delivered, and how much of the way it made.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "delivered", "progress")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)

    num_agents: int = Field(20, ge=2, le=10_000, description="pistons")
    actions: Literal["continuous", "discrete"] = Field(
        "continuous", description="a number from -1, down, to 1, up; or one of down, stay, up"
    )
    observe: Literal["vectors", "image"] = Field(
        "vectors", description="numbers, or PettingZoo's pictures: grey, small, the last 4 at once"
    )
    picture_size: int = Field(
        84, ge=36, le=pictures.WIDTH, description="height and width of a picture in pixels"
    )
    episode_length: int = Field(125, ge=1, description="steps until time runs out (truncation)")
    window: int = Field(1, ge=1, le=100, description="pistons on either side, in vectors")
    substeps: int | None = Field(
        None,
        ge=1,
        description="of physics in a step, 0.05 s each; null: as many as there are pistons, as in "
        "PettingZoo, where a step with twice as many pistons takes twice as long",
    )
    ball_friction: float = Field(0.3, ge=0, description="of the ball's surface")
    random_drop: bool = Field(
        True, description="the ball starts up to 30 px aside and 15 px above or below its place"
    )
    random_rotate: bool = Field(True, description="the ball spins at the start")

    @cached_property
    def groups(self) -> dict[str, Group]:
        discrete = self.actions == "discrete"
        image = self.observe == "image"
        space, parts = picture_space(self.picture_size) if image else self._told
        return {
            PISTONS: Group(
                tuple(f"piston_{i}" for i in range(self.num_agents)),
                space,
                Box(0.0 if discrete else -1.0, 1.0, (3 if discrete else 1,), np.float32),
                parts,
                (Part("move", scalars=3, choice=True, directions=WAYS),)
                if discrete
                else (Part("move", scalars=1),),
            )
        }

    @property
    def _told(self) -> tuple[Box, tuple[Part, ...]]:
        pistons = 2 * self.window
        numbers = OWN + BALL + pistons * OTHER
        return Box(-np.inf, np.inf, (numbers,), np.float32), (
            Part("own", scalars=3),
            Part("ball", vectors=2, scalars=1),
            Part("near", pistons, vectors=1, scalars=1, masked=True),
        )

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "PistonballWorld":
        return PistonballWorld(self, num_worlds, seed, staggered=staggered)


class PistonballWorld(CompiledWorld):
    """E courts, and in which of them the ball has reached the wall, `ended`, bool[E]. `staggered`:
    first episodes are cut short by different amounts."""

    outcomes = Pistonball.outcomes

    def __init__(
        self, scenario: Pistonball, num_worlds: int = 1, seed: int = 0, *, staggered: bool = False
    ) -> None:
        self.scenario, self.groups, self.num_worlds = scenario, scenario.groups, num_worlds
        self._staggered = staggered
        n = scenario.num_agents
        self.court = physics.Court(
            pistons=np.full((num_worlds, n), physics.LOWEST),
            ball=np.zeros((num_worlds, 8)),
            impulses=np.zeros((num_worlds, n + physics.SIDES, 2)),
            touched=np.zeros((num_worlds, n + physics.SIDES), np.int64),
            clock=np.zeros(num_worlds, np.int64),
            start=np.ones(num_worlds),
        )
        self.ended = np.ones(num_worlds, bool)
        self._state: Arrays = {
            **first_state(seed, num_worlds),
            "earned": np.zeros(num_worlds),
            "ended": self.ended,
            **self.court._asdict(),
        }
        if scenario.observe == "image":
            before = FRAMES - 1
            self.past = pictures.Past(
                pistons=np.zeros((num_worlds, before, n)),
                balls=np.zeros((num_worlds, before, 8)),
                count=np.zeros(num_worlds, np.int64),
            )
            self._state |= {f"past.{name}": x for name, x in self.past._asdict().items()}

    def begin(self, mask: np.ndarray) -> None:
        """Put pistons and ball at the start of an episode, in the worlds of mask, bool[E]."""
        s, scenario = self._state, self.scenario
        physics.reset_courts(
            self.court, s["keys"], s["draws"], mask, scenario.random_drop, scenario.random_rotate
        )
        if scenario.observe == "image":
            self.past.count[mask] = 0

    def play(self, moves: np.ndarray) -> np.ndarray:
        """Move the pistons by moves, f32[E, N] from -1 to 1, and the ball, where the episode has
        not ended, and renew `ended`. Returns what each piston earns, f64[E]."""
        scenario, earned = self.scenario, np.empty(self.num_worlds)
        ticks = scenario.substeps or scenario.num_agents
        friction = scenario.ball_friction * physics.GRIP
        if scenario.observe == "image":
            remember(
                self.past[:2], (self.court.pistons, self.court.ball), self.past.count, ~self.ended
            )
        physics.step_courts(self.court, moves, self.ended, earned, ticks, friction)
        return earned

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        starting = self.starting(mask, self.scenario.episode_length)
        for name in ("earned", "ended"):
            self._state[name][starting] = 0
        self.begin(starting)
        return {PISTONS: self.observed()}

    def step(self, actions: Arrays) -> Step:
        s, scenario = self._state, self.scenario
        shape = self.num_worlds, scenario.num_agents
        space = self.groups[PISTONS].action_space.shape
        given = checked_actions(actions, PISTONS, self.groups, (*shape, *space))
        discrete = scenario.actions == "discrete"
        moves = given[..., 2] - given[..., 0] if discrete else given[..., 0]
        earned = self.play(moves)
        s["earned"] += earned
        s["steps"] += 1
        truncated = ~self.ended & (s["steps"] >= scenario.episode_length)
        terminated = np.repeat(self.ended[:, None], scenario.num_agents, axis=1)
        reward = np.repeat(earned.astype(np.float32)[:, None], scenario.num_agents, axis=1)
        return Step(
            observation={PISTONS: self.observed()},
            reward={PISTONS: reward},
            terminated={PISTONS: terminated},
            truncated=truncated,
            active={PISTONS: ~terminated},
            done=self.ended | truncated,
            metrics=self._metrics(),
        )

    def _metrics(self) -> Arrays:
        s = self._state
        left = np.maximum(np.trunc(s["ball"][:, 0] - physics.RADIUS) - physics.WALL, 0.0)
        values = (s["earned"], self.ended, 1.0 - left / s["start"])
        return {k: v.astype(np.float32) for k, v in zip(Pistonball.metrics, values, strict=True)}

    def observed(self) -> np.ndarray:
        """What each piston observes, [E, N, ...]."""
        space, court = self.groups[PISTONS].observation_space, self.court
        seen = np.empty((self.num_worlds, self.scenario.num_agents, *space.shape), space.dtype)
        if self.scenario.observe == "image":
            pictures.show_all(court.pistons, court.ball, self.past, seen)
        else:
            look(court.pistons, court.ball, self.scenario.window, seen)
        return seen

    def state(self) -> np.ndarray:
        """The ball's share of the way, height above the floor, velocity and spin, and all heights,
        in the units of the observation."""
        ball, n = self.court.ball, self.scenario.num_agents
        numbers = (
            (ball[:, :1] - physics.WALL) / (physics.PISTON * n),
            (physics.FLOOR - ball[:, 1:2]) / LENGTH,
            ball[:, 2:4] / (SPEED, -SPEED),
            ball[:, 4:5] / TURN,
            (physics.LOWEST - self.court.pistons) / LENGTH,
        )
        return np.concatenate(numbers, axis=1).astype(np.float32)

    def neighbours(self, agents: int, landmarks: int = 0) -> dict[str, Neighbours]:
        """The next pistons in the row, the left one first; there are no landmarks."""
        n = self.scenario.num_agents
        steps = np.arange(1, agents + 1)
        places = np.arange(n)[:, None] + np.stack([-steps, steps], 1).reshape(-1)
        outside = (places < 0) | (places >= n)
        order = np.argsort(outside, axis=1, kind="stable")[:, :agents]
        near = np.take_along_axis(np.where(outside, -1, places), order, axis=1)
        none = np.full((self.num_worlds, n, landmarks), -1)
        return {PISTONS: Neighbours(np.repeat(near[None], self.num_worlds, axis=0), none)}

    def scene(self, world: int = 0) -> Scene:
        court, steps = self.court, self._state["steps"]
        return drawing.scene(court.pistons[world], court.ball[world], int(steps[world]))
