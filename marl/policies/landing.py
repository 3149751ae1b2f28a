"""A tennis player without training: it waits behind the point where the ball will land."""

import numpy as np

from marl.agents.core.base import Policy
from marl.worlds.base import Arrays, World
from marl.worlds.tennis import physics
from marl.worlds.tennis.world import FRAMES, PLAYERS, SEEN, TennisWorld

LOW = -0.8  # m: height of the ball when the racket should meet it
BEHIND = 2.0  # m: distance behind that point to wait at
SWING = 0.4  # share of full speed, to run into the ball once it is below 0


class Landing(Policy):
    """Computes where the ball lands on its own side, waits behind that point, and runs into the
    ball when it is low. It uses positions only, so it also plays the `legacy` game."""

    def __init__(self, world: World, seed: int = 0) -> None:
        if not isinstance(world, TennisWorld):
            raise ValueError("the policy 'landing' needs the world 'tennis'")

    def act(self, observation: Arrays, explore: bool = False) -> Arrays:
        rows = observation[PLAYERS]
        frames = rows.reshape(*rows.shape[:2], FRAMES, SEEN).astype(np.float64)
        racket, ball, before = frames[..., -1, 0], frames[..., -1, 4:6], frames[..., -2, 4:6]
        step = physics.TICKS * physics.TICK
        served = (before == 0.0).all(-1, keepdims=True)  # there was no frame before this one
        velocity = np.where(served, 0.0, (ball - before) / step)
        # The mean velocity of the last five ticks is the velocity two ticks ago.
        up = np.maximum(velocity[..., 1] - 2 * physics.GRAVITY * physics.TICK, -physics.BALL_SPEED)
        height = np.maximum(ball[..., 1] - LOW, 0.0)
        falls = (up + np.sqrt(np.square(up) + 2 * physics.GRAVITY * height)) / physics.GRAVITY
        lands = ball[..., 0] + velocity[..., 0] * falls
        wait = np.clip((lands - BEHIND - racket) / (physics.RUN * step), -1.0, 1.0)
        run = np.where((ball[..., 1] < 0.0) & (ball[..., 0] < 0.0), SWING, wait)
        run = np.where(lands < 0.0, run, 0.0)  # a player that does not get the ball stays
        return {PLAYERS: np.stack([run, np.zeros_like(run)], -1).astype(np.float32)}
