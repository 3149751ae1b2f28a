"""Cooperative pong: PettingZoo's game, seen as numbers instead of pictures."""

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from marl.worlds.base import WorldConfig
from marl.worlds.pettingzoo.described import PROCESSES, DescribedEnv, described_world
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.spaces import Group, Part

MODULE = "pettingzoo.butterfly.cooperative_pong.cooperative_pong"
PADDLES = "paddles"
MOVES = 3  # stay, up, down
SEEN = 7


class CooperativePong(WorldConfig):
    """Two paddles keep a ball between them. PettingZoo's cooperative_pong_v6 itself, behind
    observations of our own.

    Each step that the ball is on the screen pays both `max_reward` / `episode_length`; the ball's
    loss costs both `off_screen_penalty` and ends the episode. The right paddle is a cake of four
    tiers, from which the ball bounces up and down, too.

    Observation, float32, seen from the paddle's own side, lengths in half the screen's height:
    how far the own paddle and the other are below the middle, the ball's distance from the own
    edge and how far it is below the middle, its velocity away from the own edge and downwards in
    tens of pixels a step, and 1.0 for the right paddle.

    Actions, one-hot: stay, up, down. The metrics describe the episode: the return of each paddle
    and the steps that the ball was kept.
    """

    metrics: ClassVar[tuple[str, ...]] = ("return", "kept")
    outcomes: ClassVar[frozenset[str]] = frozenset(metrics)
    slow: ClassVar[bool] = True

    ball_speed: float = Field(9.0, gt=0, description="pixels a step")
    paddle_speed: float = Field(12.0, gt=0, description="pixels a step")
    cake_paddle: bool = Field(True, description="the right paddle is a cake; false: it is flat")
    bounce_randomness: bool = Field(False, description="bounces turn the ball by a small angle")
    max_reward: float = Field(100.0, description="of each paddle for a whole episode")
    off_screen_penalty: float = Field(-10.0, description="of each paddle for the ball's loss")
    episode_length: int = Field(900, ge=1, description="steps until time runs out (truncation)")
    processes: int | None = PROCESSES

    @cached_property
    def groups(self) -> dict[str, Group]:
        return {
            PADDLES: Group(
                ("paddle_0", "paddle_1"),
                Box(-np.inf, np.inf, (SEEN,), np.float32),
                Box(0.0, 1.0, (MOVES,), np.float32),
                (Part("game", scalars=SEEN),),
                (Part("move", scalars=MOVES, choice=True),),
            )
        }

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> PettingZooWorld:
        """Raises UserError if PettingZoo or its family butterfly is not installed."""
        return described_world(self, "cooperative_pong", MODULE, PongEnv, num_worlds, seed)


class PongEnv(DescribedEnv):
    """PettingZoo's environment with our observations, and `measures` of the episode."""

    metadata: ClassVar[dict[str, str]] = {"name": "cooperative_pong"}

    def __init__(self, scenario: CooperativePong) -> None:
        self.scenario = scenario
        self.env = self._made()
        self.measures = dict.fromkeys(CooperativePong.metrics, 0.0)

    def _made(self) -> Any:
        from pettingzoo.butterfly.cooperative_pong import cooperative_pong
        from pettingzoo.utils import aec_to_parallel

        class Undrawn(cooperative_pong.CooperativePong):
            """The game drawn only when it is looked at: otherwise pictures take most of its
            time."""

            def render(self) -> None:
                return None

            def picture(self) -> np.ndarray:
                return super().render()

        class Game(cooperative_pong.raw_env):
            def _seed(self, seed: int | None = None) -> None:
                super()._seed(seed)
                self.env = Undrawn(self.randomizer, **self._kwargs)

            def observe(self, agent: str) -> None:
                return None

            def render(self) -> np.ndarray:
                return self.env.picture()

        scenario = self.scenario
        game = Game(
            ball_speed=scenario.ball_speed,
            left_paddle_speed=scenario.paddle_speed,
            right_paddle_speed=scenario.paddle_speed,
            cake_paddle=scenario.cake_paddle,
            max_cycles=scenario.episode_length,
            bounce_randomness=scenario.bounce_randomness,
            max_reward=scenario.max_reward,
            off_screen_penalty=scenario.off_screen_penalty,
            render_mode="rgb_array",
        )
        return aec_to_parallel(game)

    def reset(self, seed: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        _, infos = self.env.reset(seed=seed)
        self.measures = dict.fromkeys(CooperativePong.metrics, 0.0)
        return self._observations(), infos

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        seen, rewards, terminated, *others = self.env.step(actions)
        self.measures["return"] += sum(rewards.values()) / 2
        self.measures["kept"] += not any(terminated.values())
        own = self._observations()
        return {name: own[name] for name in seen}, rewards, terminated, *others

    def _observations(self) -> dict[str, np.ndarray]:
        game = self.env.unwrapped.env
        area, ball, speed = game.area, game.ball._rect, game.ball._speed
        unit = area.height / 2
        heights = [(paddle.rects[0].centery - area.centery) / unit for paddle in (game.p0, game.p1)]
        along, down = (ball.centerx - area.left) / unit, (ball.centery - area.centery) / unit
        vx, vy = speed[0] / 10, speed[1] / 10
        left = [*heights, along, down, vx, vy, 0.0]
        right = [*heights[::-1], area.width / unit - along, down, -vx, vy, 1.0]
        seen = np.array([left, right], np.float32)
        return dict(zip(self.scenario.groups[PADDLES].names, seen, strict=True))
