"""PettingZoo's own pistonball_v6 behind our observations: policies of ours play the real game."""

import os
from typing import Any, ClassVar

import numpy as np
from pydantic import ValidationInfo, field_validator

from marl.worlds.compiled.random import Random, choice
from marl.worlds.pettingzoo.extras import require
from marl.worlds.pistonball.world import PISTONS, Pistonball, PistonballWorld

MODULE = "pettingzoo.butterfly.pistonball.pistonball"


class RealPistonball(Pistonball):
    """PettingZoo's pistonball_v6 behind our observations: its own physics and rewards, and for
    `observe` "image" its own pictures, in grey and resized by SuperSuit.

    Needs `pip install 'marl[butterfly]'`.
    """

    slow: ClassVar[bool] = True

    @field_validator("substeps")
    @classmethod
    def _one_for_each_piston(cls, count: int | None, info: ValidationInfo) -> int | None:
        if count not in (None, info.data.get("num_agents")):
            raise ValueError("should be null: PettingZoo has one for each piston")
        return count

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "RealWorld":
        return RealWorld(self, num_worlds, seed, staggered=staggered)


def _environment(scenario: RealPistonball) -> Any:
    """PettingZoo's environment; it draws only if the pistons observe pictures. Raises UserError if
    it is not installed."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    require(MODULE, "the scenario 'real_pistonball'")
    from pettingzoo.butterfly.pistonball.pistonball import raw_env

    pictures = scenario.observe == "image"
    env = raw_env(
        n_pistons=scenario.num_agents,
        continuous=scenario.actions == "continuous",
        random_drop=scenario.random_drop,
        random_rotate=scenario.random_rotate,
        ball_friction=scenario.ball_friction,
        max_cycles=10**9,  # our world counts the steps
        render_mode="rgb_array" if pictures else None,
    )
    if not pictures:
        return env
    require("supersuit", "the scenario 'real_pistonball' with pictures")
    from supersuit import color_reduction_v0, resize_v1

    return resize_v1(color_reduction_v0(env, "full"), *(scenario.picture_size,) * 2)


class RealWorld(PistonballWorld):
    """E environments of PettingZoo. Their state cannot be stored, so `state_dict` has the seeds and
    the moves of the present episodes, which are played again."""

    def __init__(
        self,
        scenario: RealPistonball,
        num_worlds: int = 1,
        seed: int = 0,
        *,
        staggered: bool = False,
    ) -> None:
        super().__init__(scenario, num_worlds, seed, staggered=staggered)
        self._small = [_environment(scenario) for _ in range(num_worlds)]
        self.envs: list[Any] = [env.unwrapped for env in self._small]
        self._moves: list[list[np.ndarray]] = [[] for _ in range(num_worlds)]
        self._state["seeds"] = np.zeros(num_worlds, np.int64)
        shape = num_worlds, scenario.num_agents, *self.groups[PISTONS].observation_space.shape
        self._seen = np.zeros(shape, np.uint8)  # if they observe pictures

    def begin(self, mask: np.ndarray) -> None:
        keys, draws = self._state["keys"], self._state["draws"]
        for e in np.flatnonzero(mask).tolist():
            self._state["seeds"][e] = choice(Random(keys, draws, e), 2**31)
            self._restart(e)

    def _restart(self, e: int) -> None:
        """Begin the episode of world e that has its seed."""
        self._small[e].reset(seed=int(self._state["seeds"][e]))
        self._moves[e] = []
        self._seen[e] = 0
        self.read(e)
        self.court.start[e] = self.envs[e].distance_to_wall_at_game_start

    def play(self, moves: np.ndarray) -> np.ndarray:
        earned = np.zeros(self.num_worlds)
        for e in np.flatnonzero(~self.ended).tolist():
            self._advance(e, moves[e])
            earned[e], self.ended[e] = self.envs[e].rewards["piston_0"], self.envs[e].terminate
        return earned

    def _advance(self, e: int, moves: np.ndarray) -> None:
        env = self.envs[e]
        for move in moves.tolist():  # Python's numbers, lest heights become single precision
            env.step([move] if env.continuous else round(move) + 1)
        self._moves[e].append(moves.copy())
        self.read(e)

    def read(self, e: int) -> None:
        """Take over the state of the environment of world e, and its pictures."""
        env, ball = self.envs[e], self.envs[e].ball
        self.court.pistons[e] = [piston.position.y for piston in env.pistonList]
        numbers = (*ball.position, *ball.velocity, ball.angular_velocity, ball.angle)
        self.court.ball[e, : len(numbers)] = numbers
        if self.scenario.observe == "image":
            self._seen[e, :, :-1] = self._seen[e, :, 1:]
            pictures = [self._small[e].observe(name) for name in env.possible_agents]
            self._seen[e, :, -1] = np.stack(pictures).reshape(self._seen[e, :, -1].shape)

    def observed(self) -> np.ndarray:
        return self._seen.copy() if self.scenario.observe == "image" else super().observed()

    def state_dict(self) -> dict[str, Any]:
        played = np.array([len(moves) for moves in self._moves])
        shape = self.num_worlds, played.max(), self.scenario.num_agents
        moves = np.zeros(shape, np.float32)
        for e, own in enumerate(self._moves):
            moves[e, : len(own)] = np.reshape(own, (-1, shape[-1]))
        return {**super().state_dict(), "played": played, "moves": moves}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for e in np.flatnonzero(self._state["draws"]).tolist():
            self._restart(e)
            for t in range(int(state["played"][e])):
                self._advance(e, np.asarray(state["moves"][e, t]))
