"""Tennis as a world: E courts with two players each. A rally is an episode; see physics.py."""

from types import MappingProxyType
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from marl.worlds.base import Arrays, Step, WorldConfig, checked_actions
from marl.worlds.compiled.world import CompiledWorld, first_state
from marl.worlds.scene import Scene
from marl.worlds.spaces import Group, Part
from marl.worlds.tennis import physics

FRAMES, SEEN = 3, 8
PLACE, RUN, FLIGHT = (10.0, 4.0), (30.0, 7.0), (9.0, 9.0)  # typical sizes: m, m/s, m/s
PLAYERS = "players"
PLACES = ("rackets", "ball", "last", "over", "frames")  # what a kernel moves


class Tennis(WorldConfig):
    """Two rackets play a ball over a net. A player earns 0.1 for a ball that it plays over the net.
    It loses 0.01 if the rally ends by its fault: the ball fell on its side, or it played the ball
    into the net or against a wall.

    Observation, float32[24]: the last 3 steps, oldest first, zeros before the first step. Each has
    racket x, y, vx, vy and ball x, y, vx, vy, in the player's own frame with the net ahead.
    Actions, float32[2]: the first runs to the net (1) or back (-1), at up to 30 m/s; the second
    jumps if it is above 0.5. The score of an episode is the larger of the two players' sums.
    """

    metrics: ClassVar[tuple[str, ...]] = ("score",)
    outcomes: ClassVar[frozenset[str]] = frozenset({"score"})
    # Player 1 faces left. A player at full speed would overrun the ball.
    reaches = MappingProxyType({"player_0": (0.3, 1.0), "player_1": (-0.3, 1.0)})
    solved_at: ClassVar[float | None] = 0.5

    episode_length: int = Field(1000, ge=1, description="after which a rally is stopped")
    legacy: bool = Field(
        False,
        description="as in the original: players see their racket's velocity twice and never the "
        "ball's, and every ball that has crossed the net counts as player 0's",
    )
    # The original has a plane that a ball of radius 0.5 no longer touches. The thickness of the
    # plane is unknown. A good player scores the same with any value from 0.1 to 1.0.
    zone: float = Field(
        0.55, gt=0, le=1, description="m: distance from the net at which a ball has crossed it"
    )

    @property
    def groups(self) -> dict[str, Group]:
        sizes = (*PLACE, *RUN, *PLACE, *(RUN if self.legacy else FLIGHT))
        return {
            PLAYERS: Group(
                ("player_0", "player_1"),
                Box(-np.inf, np.inf, (FRAMES * SEEN,), np.float32),
                Box(-1.0, 1.0, (2,), np.float32),
                (Part("frames", count=FRAMES, scalars=SEEN, sizes=sizes),),
                (Part("move", scalars=2),),
            )
        }

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "TennisWorld":
        """Rallies end at different times anyway, so `staggered` changes nothing."""
        return TennisWorld(self, num_worlds, seed)


class TennisWorld(CompiledWorld):
    """E courts."""

    outcomes = Tennis.outcomes

    def __init__(self, scenario: Tennis, num_worlds: int = 1, seed: int = 0) -> None:
        self.scenario, self.groups, self.num_worlds = scenario, scenario.groups, num_worlds
        self._state: Arrays = {
            **first_state(seed, num_worlds),
            "rackets": np.zeros((num_worlds, 2, 4)),
            "ball": np.zeros((num_worlds, 4)),
            "last": np.full(num_worlds, -1, np.int8),
            "over": np.zeros(num_worlds, bool),
            "ended": np.ones(num_worlds, bool),
            "earned": np.zeros((num_worlds, 2)),
            "frames": np.zeros((num_worlds, 2, FRAMES, SEEN), np.float32),
        }

    def reset(self, mask: np.ndarray | None = None) -> Arrays:
        s = self._state
        begin = self.starting(mask, self.scenario.episode_length)
        places = (s[name] for name in (*PLACES, "keys", "draws"))
        physics.reset_courts(*places, begin, self.scenario.legacy)
        for name in ("ended", "earned"):
            s[name][begin] = 0
        return self._observation()

    def step(self, actions: Arrays) -> Step:
        s, scenario = self._state, self.scenario
        given = checked_actions(actions, PLAYERS, self.groups, (self.num_worlds, 2, 2))
        reward = np.empty((self.num_worlds, 2), np.float32)
        places = (s[name] for name in (*PLACES, "ended"))
        physics.step_courts(*places, given, reward, scenario.legacy, scenario.zone)
        s["earned"] += reward
        s["steps"] += 1
        terminated = np.repeat(s["ended"][:, None], 2, axis=1)
        truncated = ~s["ended"] & (s["steps"] >= scenario.episode_length)
        return Step(
            observation=self._observation(),
            reward={PLAYERS: reward},
            terminated={PLAYERS: terminated},
            truncated=truncated,
            active={PLAYERS: ~terminated},
            done=s["ended"] | truncated,
            metrics={"score": s["earned"].max(1).astype(np.float32)},
        )

    def _observation(self) -> Arrays:
        return {PLAYERS: self._state["frames"].reshape(self.num_worlds, 2, -1).copy()}

    def state(self) -> np.ndarray:
        s = self._state
        places = s["rackets"].reshape(self.num_worlds, -1), s["ball"], s["last"][:, None]
        return np.concatenate(places, axis=1).astype(np.float32)

    def scene(self, world: int = 0) -> Scene:
        s, (nx, ny) = self._state, physics.NORMAL
        sides = np.array([1.0, -1.0])
        along = np.linspace(-1, 1, 9)[:, None] * (physics.HALF_LONG - 0.12)
        faces = [
            s["rackets"][world, player, :2] + along * (side * ny, -nx)
            for player, side in enumerate(sides)
        ]
        net = np.stack([np.zeros(12), np.linspace(physics.FLOOR, physics.NET_TOP, 12)], 1)
        floor = np.stack([np.linspace(-12.5, 12.5, 126), np.full(126, physics.FLOOR - 0.1)], 1)
        discs = [
            (floor, 0.1, (150, 150, 150, 255)),
            (net, 0.1, (90, 90, 90, 255)),
            (faces[0], 0.12, (200, 60, 60, 255)),
            (faces[1], 0.12, (50, 100, 220, 255)),
            (s["ball"][world : world + 1, :2], physics.RADIUS, (210, 190, 40, 255)),
        ]
        middle = (0.0, 2.0)
        return Scene(
            (13.0, 6.0),
            np.concatenate([at - middle for at, _, _ in discs]).astype(np.float32),
            np.concatenate([np.full(len(at), r) for at, r, _ in discs]).astype(np.float32),
            np.concatenate([np.tile(colour, (len(at), 1)) for at, _, colour in discs]).astype(
                np.uint8
            ),
            f"step {s['steps'][world]}",
        )
