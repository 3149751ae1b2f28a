"""Our pistonball beside PettingZoo's: returns in both, and speed.

    python benchmarks/pistonball.py returns [--agents 5 20] [--episodes 1000] [--policies RUN ...]
    python benchmarks/pistonball.py speed

The real game is the scenario `real_pistonball`: PettingZoo's environment behind our observations.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from pettingzoo.butterfly.pistonball.pistonball import parallel_env
from supersuit import color_reduction_v0, resize_v1

from marl.runs.loading import find_policy, load_policy
from marl.worlds.base import World
from marl.worlds.pistonball.real import RealPistonball
from marl.worlds.pistonball.world import PISTONS, Pistonball

POLICIES = ("random", "random, discrete", "heuristic")


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


def ours(agents: int, worlds: int, observe: Any = "vectors") -> Callable[[], int]:
    """A step of our world with random actions."""
    scenario, rng = Pistonball(num_agents=agents, observe=observe), np.random.default_rng(0)
    world = scenario.make_world(worlds, 0)
    draws = [world.groups[PISTONS].random_actions(rng, worlds, agents) for _ in range(16)]
    given = itertools.cycle(draws)
    world.reset()

    def advance() -> int:
        world.reset(world.step({PISTONS: next(given)}).done)
        return worlds

    return advance


def theirs(agents: int, small: bool = False) -> Callable[[], int]:
    """A step of PettingZoo's environment with random actions, as it is played: with pictures;
    `small`: grey ones of 84 x 84 pixels, by SuperSuit."""
    env, rng = parallel_env(n_pistons=agents, render_mode="rgb_array"), np.random.default_rng(0)
    if small:
        env = resize_v1(color_reduction_v0(env, "full"), 84, 84)
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
    print(
        *(
            f"{name} {version(name)}"
            for name in ("pettingzoo", "supersuit", "pymunk", "numpy", "numba")
        )
    )
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
        shows = {"PettingZoo, 84 x 84": theirs(agents, small=True)}
        shows["16 worlds, 84 x 84, the last 4"] = ours(agents, 16, "image")
        for who, advance in shows.items():
            speed = agents * cycles_per_second(advance, args.seconds)
            print(f"{agents:3d} {who:30} {speed:10.0f} views/s", flush=True)


if __name__ == "__main__":
    main()
