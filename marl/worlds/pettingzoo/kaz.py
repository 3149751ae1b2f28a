"""Knights, archers and zombies: PettingZoo's game, seen as sets of what is nearest.

PettingZoo's own observation has a row for everything that could be there, so it grows with the
number of players. Here each player sees the same numbers among any number of players.
"""

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field, field_validator

from marl.worlds.base import WorldConfig
from marl.worlds.compiled.cache import kernel
from marl.worlds.pettingzoo.described import PROCESSES, DescribedEnv, described_world
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.spaces import Group, Part

MODULE = "pettingzoo.butterfly.knights_archers_zombies.knights_archers_zombies"
PLAYERS = "players"
MOVES = 6  # forward, backward, turn left, turn right, use the weapon, nothing
SCREEN = np.array([1280.0, 720.0])  # px, width and height
LENGTH = 360.0  # px: the unit of lengths, half the screen's height


def _seen(default: int, description: str) -> Any:
    return Field(default, ge=0, le=1000, description=f"{description}, the nearest ones")


class Kaz(WorldConfig):
    """Knights and archers, as many of each, keep zombies from the lower edge of the screen.
    PettingZoo's knights_archers_zombies_v11 itself, behind observations of our own.

    A player that kills a zombie earns 1; one that a zombie touches leaves. The episode ends when
    nobody is left or a zombie is through. PettingZoo pays most kills one step late, and does not
    pay the late ones of the last step.

    Observation, float32, in plane vectors, y up, lengths in half the screen's height, of upper left
    corners of pictures:

    - own: position from the middle of the screen, heading; 1.0 for an archer, 0.0 for a knight.
    - zombies: for each its place from the player, and 1.0; zeros if there are fewer.
    - fellows: likewise place, heading, whether it is an archer, and 1.0.
    - weapons: arrows and swords of all players: place, heading, whether it is a sword, and 1.0.

    Actions, one-hot: forward, backward, turn left, turn right, use the weapon, nothing. The metrics
    describe the episode: the mean of the players' returns, their sum, and the steps that a player
    lived, on average.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "kills", "survived")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)
    slow: ClassVar[bool] = True

    num_agents: int = Field(4, ge=2, le=1000, description="an even number: archers and knights")
    num_perceived_zombies: int = _seen(5, "zombies that a player sees")
    num_perceived_agents: int = _seen(3, "other players that a player sees")
    num_perceived_weapons: int = _seen(3, "arrows and swords that a player sees")
    spawn_delay: int = Field(20, ge=1, description="steps from one zombie to the next")
    max_zombies: int = Field(10, ge=1, le=1000, description="zombies at once")
    max_arrows: int = Field(10, ge=1, le=1000, description="arrows at once, of all archers")
    line_death: bool = Field(False, description="players leave at the upper and lower edge")
    episode_length: int = Field(900, ge=1, description="steps until time runs out (truncation)")
    processes: int | None = PROCESSES

    @field_validator("num_agents")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("should be even: as many archers as knights")
        return value

    @cached_property
    def groups(self) -> dict[str, Group]:
        half = range(self.num_agents // 2)
        names = [f"{kind}_{i}" for kind in ("archer", "knight") for i in half]
        parts = (
            Part("own", vectors=2, scalars=1),
            Part("zombies", self.num_perceived_zombies, vectors=1, scalars=1, masked=True),
            Part("fellows", self.num_perceived_agents, vectors=2, scalars=2, masked=True),
            Part("weapons", self.num_perceived_weapons, vectors=2, scalars=2, masked=True),
        )
        size = sum(part.size for part in parts)
        return {
            PLAYERS: Group(
                tuple(names),
                Box(-np.inf, np.inf, (size,), np.float32),
                Box(0.0, 1.0, (MOVES,), np.float32),
                parts,
                (Part("move", scalars=MOVES, choice=True),),
            )
        }

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> PettingZooWorld:
        """Raises UserError if PettingZoo or its family butterfly is not installed."""
        return described_world(self, "kaz", MODULE, KazEnv, num_worlds, seed)


class KazEnv(DescribedEnv):
    """PettingZoo's environment with our observations, and `measures` of the episode."""

    metadata: ClassVar[dict[str, str]] = {"name": "kaz"}

    def __init__(self, scenario: Kaz) -> None:
        self.scenario = scenario
        self.env = self._made()
        self.measures = dict.fromkeys(Kaz.metrics, 0.0)

    def _made(self) -> Any:
        from pettingzoo.butterfly.knights_archers_zombies.knights_archers_zombies import raw_env
        from pettingzoo.utils import aec_to_parallel

        class Unseen(raw_env):
            """The game without its observations, which take most of its time."""

            def observe(self, agent: str) -> None:
                return None

        scenario, half = self.scenario, self.scenario.num_agents // 2
        game = Unseen(
            num_archers=half,
            num_knights=half,
            spawn_delay=scenario.spawn_delay,
            max_zombies=scenario.max_zombies,
            max_arrows=scenario.max_arrows,
            line_death=scenario.line_death,
            max_cycles=scenario.episode_length,
            render_mode="rgb_array",
        )
        return aec_to_parallel(game)

    def reset(self, seed: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        # One that is reset goes on counting towards the next zombie, so episodes differ.
        self.env = self._made()
        _, infos = self.env.reset(seed=seed)
        self.measures = dict.fromkeys(Kaz.metrics, 0.0)
        return self._observations(), infos

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        players, alive = self.scenario.num_agents, len(self.env.agents)
        seen, rewards, *others = self.env.step(actions)
        self.measures["kills"] += sum(rewards.values())
        self.measures["return"] = self.measures["kills"] / players
        self.measures["survived"] += alive / players
        own = self._observations()
        return {name: own[name] for name in seen}, rewards, *others

    def _observations(self) -> dict[str, np.ndarray]:
        names = self.scenario.groups[PLAYERS].names
        return dict(zip(names, look(self.scenario, self.env.state()), strict=True))


def look(scenario: Kaz, state: np.ndarray) -> np.ndarray:
    """The observations of all players, f32[N, O], from PettingZoo's vector state, f64[M, 4]: place
    and heading of the archers, knights, swords, arrows and zombies, zeros for what is not there."""
    n, half = scenario.num_agents, scenario.num_agents // 2
    there = np.asarray(state[:, 2:].any(1))
    place = (state[:, :2] - 0.5) * SCREEN * (1.0, -1.0) / LENGTH  # from the middle of the screen
    heading = state[:, 2:] * (1.0, -1.0)
    kind = np.zeros((len(state), 1))  # archers among players, swords among weapons
    kind[:half] = kind[n : n + half] = 1.0
    along = np.concatenate([heading, kind], axis=1)
    players, zombies = slice(0, n), slice(n + half + scenario.max_arrows, None)
    weapons = slice(n, n + half + scenario.max_arrows)
    seen_by_all = there & np.ones((n, 1), bool)  # [N, M]
    fellows = there[players] & ~np.eye(n, dtype=bool)  # [N, N]: nobody is its own fellow

    def near(what: slice, visible: np.ndarray, more: np.ndarray, count: int) -> np.ndarray:
        return nearest(place[what] - place[players, None], visible, more[what], count)

    seen = (
        np.concatenate([place, along], axis=1)[players],
        near(zombies, seen_by_all[:, zombies], along[:, :0], scenario.num_perceived_zombies),
        near(players, fellows, along, scenario.num_perceived_agents),
        near(weapons, seen_by_all[:, weapons], along, scenario.num_perceived_weapons),
    )
    return np.concatenate(seen, axis=1, dtype=np.float32)


@kernel
def nearest(offset: np.ndarray, visible: np.ndarray, more: np.ndarray, count: int) -> np.ndarray:
    """The `count` nearest of M things for each of N players, f64[N, count (3 + X)]: offset f64[N,
    M, 2], their numbers `more` f64[M, X], and 1.0; zeros for those not `visible`, bool[N, M]. Equal
    distances, but for rounding, are ordered by number."""
    players, things, _ = offset.shape
    size = 3 + more.shape[1]
    seen = np.zeros((players, count * size))
    far = np.empty(things)
    for i in range(players):
        for j in range(things):
            length = np.hypot(offset[i, j, 0], offset[i, j, 1])
            far[j] = np.rint(1e6 * length) if visible[i, j] else np.inf
        for k in range(min(count, things)):
            j = int(np.argmin(far))
            if far[j] == np.inf:
                break
            item = seen[i, k * size : (k + 1) * size]
            item[:2], item[2:-1], item[-1] = offset[i, j], more[j], 1.0
            far[j] = np.inf
    return seen
