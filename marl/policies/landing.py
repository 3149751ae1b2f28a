"""A player of tennis that needs no training: it waits behind where the ball will land."""

import numpy as np

from marl.agents.core.base import Policy
from marl.worlds.base import Arrays, World
from marl.worlds.tennis import physics
from marl.worlds.tennis.world import FRAMES, PLAYERS, SEEN, TennisWorld

LOW = -0.8  # m: how high the ball is when the racket shall meet it
BEHIND = 2.0  # m: how far behind that place to wait for it
SWING = 0.4  # of full speed: how fast to run into the ball, once it is below 0


class Landing(Policy):
    """Foresees where the ball comes down on its own side, waits behind that, and runs into the ball
    when it is low. It goes by positions only, so that it plays the `legacy` game, too."""

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
        # The mean of the last five ticks is what it was two ticks ago.
        up = np.maximum(velocity[..., 1] - 2 * physics.GRAVITY * physics.TICK, -physics.BALL_SPEED)
        height = np.maximum(ball[..., 1] - LOW, 0.0)
        falls = (up + np.sqrt(np.square(up) + 2 * physics.GRAVITY * height)) / physics.GRAVITY
        lands = ball[..., 0] + velocity[..., 0] * falls
        wait = np.clip((lands - BEHIND - racket) / (physics.RUN * step), -1.0, 1.0)
        run = np.where((ball[..., 1] < 0.0) & (ball[..., 0] < 0.0), SWING, wait)
        run = np.where(lands < 0.0, run, 0.0)  # who will not get the ball stays
        return {PLAYERS: np.stack([run, np.zeros_like(run)], -1).astype(np.float32)}
