"""Our pistonball beside PettingZoo's: returns of policies in both.

    python benchmarks/pistonball.py [--agents 5 20] [--episodes 1000] [--policies RUN ...]

The real game is the scenario `real_pistonball`: PettingZoo's environment behind our observations.
"""

import argparse
import itertools
from importlib.metadata import version
from typing import Any

import numpy as np

from marl.runs.loading import find_policy, load_policy
from marl.worlds.base import World
from marl.worlds.pistonball.real import RealPistonball
from marl.worlds.pistonball.world import PISTONS, Pistonball

POLICIES = ("random", "random, discrete", "wave")


def game(policy: str, agents: int) -> dict[str, Any]:
    """The settings of the world in which a policy plays."""
    if policy in POLICIES:
        discrete = policy == "random, discrete"
        return {"num_agents": agents, "actions": "discrete" if discrete else "continuous"}
    return find_policy(policy).world_for(agents).model_dump()


def returns(world: World, policy: str) -> np.ndarray:
    """f64[E]: what a piston earns in an episode of each world."""
    act = load_policy(policy.partition(",")[0], world).act
    total, playing = np.zeros(world.num_worlds), np.ones(world.num_worlds, bool)
    observation = world.reset()
    while playing.any():
        step = world.step(act(observation))
        total += playing * step.reward[PISTONS][:, 0]
        observation, playing = step.observation, playing & ~step.done
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), help="or runs")
    args = parser.parse_args()
    print(*(f"{name} {version(name)}" for name in ("pettingzoo", "pymunk", "numpy", "numba")))
    for agents, policy in itertools.product(args.agents, args.policies):
        for kind in (RealPistonball, Pistonball):
            world = kind(**game(policy, agents)).make_world(args.episodes, 0)
            total = returns(world, policy)
            error = total.std(ddof=1) / len(total) ** 0.5
            who = f"{agents:3d} {policy:17}{kind.__name__:15}"
            print(f"{who} {total.mean():6.2f} +- {error:.2f}", flush=True)


if __name__ == "__main__":
    main()
