"""Our pistonball beside PettingZoo's: returns in both, and speed.

    python benchmarks/pistonball.py returns [--agents 5 20] [--episodes 1000] [--policies RUN ...]
    python benchmarks/pistonball.py speed

`RealPistonball` is PettingZoo's environment behind our observations, so that policies of ours,
trained ones included, play the real game.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ClassVar

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
from pettingzoo.butterfly.pistonball.pistonball import parallel_env, raw_env

from marl.runs.loading import find_policy, load_policy
from marl.worlds.base import World
from marl.worlds.compiled.random import Random, choice
from marl.worlds.pistonball.world import PISTONS, Pistonball, PistonballWorld

POLICIES = ("random", "random, discrete", "heuristic")


class RealPistonball(Pistonball):
    """PettingZoo's pistonball_v6; its own physics and rewards, our observations."""

    slow: ClassVar[bool] = True

    def make_world(self, num_worlds: int, seed: int, staggered: bool = False) -> "RealWorld":
        if self.substeps not in (None, self.num_agents):
            raise ValueError("world.substeps must be null: PettingZoo has one for each piston")
        return RealWorld(self, num_worlds, seed)


class RealWorld(PistonballWorld):
    """E environments of PettingZoo, `envs`. They neither draw nor observe."""

    def __init__(self, scenario: RealPistonball, num_worlds: int = 1, seed: int = 0) -> None:
        super().__init__(scenario, num_worlds, seed)
        self.envs: list[Any] = [
            raw_env(
                n_pistons=scenario.num_agents,
                continuous=scenario.actions == "continuous",
                random_drop=scenario.random_drop,
                random_rotate=scenario.random_rotate,
                ball_friction=scenario.ball_friction,
                max_cycles=10**9,  # our world counts the steps
            )
            for _ in range(num_worlds)
        ]

    def begin(self, mask: np.ndarray) -> None:
        keys, draws = self._state["keys"], self._state["draws"]
        for e in np.flatnonzero(mask).tolist():
            self.envs[e].reset(seed=int(choice(Random(keys, draws, e), 2**31)))
            self.read(e)
            self.court.start[e] = self.envs[e].distance_to_wall_at_game_start

    def play(self, moves: np.ndarray) -> np.ndarray:
        earned = np.zeros(self.num_worlds)
        for e in np.flatnonzero(~self.ended).tolist():
            env = self.envs[e]
            for move in moves[e].tolist():  # Python's numbers, lest heights become single precision
                env.step([move] if env.continuous else round(move) + 1)
            earned[e], self.ended[e] = env.rewards["piston_0"], env.terminate
            self.read(e)
        return earned

    def read(self, e: int) -> None:
        """Take over the state of the environment of world e."""
        env, ball = self.envs[e], self.envs[e].ball
        self.court.pistons[e] = [piston.position.y for piston in env.pistonList]
        numbers = (*ball.position, *ball.velocity, ball.angular_velocity, ball.angle)
        self.court.ball[e, : len(numbers)] = numbers


def game(policy: str, agents: int) -> dict[str, Any]:
    """The settings of the world in which a policy plays."""
    if policy in POLICIES:
        discrete = policy == "random, discrete"
        return {"num_agents": agents, "actions": "discrete" if discrete else "continuous"}
    return find_policy(policy).world_for(agents).model_dump()


def returns(world: World, policy: str) -> np.ndarray:
    """f64[E]: what a piston earns in an episode of each world. The heuristic raises the pistons on
    the right of the ball and lowers the others."""
    act = None
    if policy != "heuristic":
        act = load_policy("random" if policy in POLICIES else policy, world).act
    total, playing = np.zeros(world.num_worlds), np.ones(world.num_worlds, bool)
    observation = world.reset()
    while playing.any():
        ahead = observation[PISTONS][..., 3:4] < 0
        step = world.step(act(observation) if act else {PISTONS: np.where(ahead, 1.0, -1.0)})
        total += playing * step.reward[PISTONS][:, 0]
        observation, playing = step.observation, playing & ~step.done
    return total


def cycles_per_second(advance: Callable[[], int], seconds: float) -> float:
    """Steps of single worlds in a CPU second; `advance` makes some and says how many."""
    advance()
    steps, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        steps += advance()
    return steps / (time.process_time() - begun)


def ours(agents: int, worlds: int) -> Callable[[], int]:
    """A step of our world with random actions."""
    world, rng = Pistonball(num_agents=agents).make_world(worlds, 0), np.random.default_rng(0)
    draws = [world.groups[PISTONS].random_actions(rng, worlds, agents) for _ in range(16)]
    given = itertools.cycle(draws)
    world.reset()

    def advance() -> int:
        world.reset(world.step({PISTONS: next(given)}).done)
        return worlds

    return advance


def theirs(agents: int) -> Callable[[], int]:
    """A step of PettingZoo's environment with random actions, as it is played: with pictures."""
    env, rng = parallel_env(n_pistons=agents, render_mode="rgb_array"), np.random.default_rng(0)
    env.reset(seed=0)

    def advance() -> int:
        env.step({name: rng.uniform(-1, 1, 1).astype(np.float32) for name in env.agents})
        if not env.agents:
            env.reset()
        return 1

    return advance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("returns", "speed"))
    parser.add_argument("--agents", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), help="or runs")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of speed")
    args = parser.parse_args()
    print(*(f"{name} {version(name)}" for name in ("pettingzoo", "pymunk", "numpy", "numba")))
    for agents in args.agents:
        if args.what == "returns":
            for policy in args.policies:
                for kind in (RealPistonball, Pistonball):
                    world = kind(**game(policy, agents)).make_world(args.episodes, 0)
                    total = returns(world, policy)
                    error = total.std(ddof=1) / len(total) ** 0.5
                    who = f"{agents:3d} {policy:17}{kind.__name__:15}"
                    print(f"{who} {total.mean():6.2f} +- {error:.2f}", flush=True)
            continue
        players = {"PettingZoo": theirs(agents)}
        players |= {f"{worlds} worlds": ours(agents, worlds) for worlds in (1, 64, 256, 1024)}
        for who, advance in players.items():
            speed = cycles_per_second(advance, args.seconds)
            print(f"{agents:3d} {who:12} {speed:10.0f} steps/s", flush=True)


if __name__ == "__main__":
    main()
