"""Steps a game that PettingZoo has removed, for benchmarks/zoo_speed.py.

    python removed.py waterworld|prison AGENTS SECONDS

It runs in an interpreter that has the game, without marl (`make bench-removed` builds both):
waterworld_v4 of PettingZoo 1.25.0, with the settings of its page, or prison_v3 of 1.11.2, with
vectors. That version was not made for current Pythons; what it needs of older packages is put back.
It prints the steps in a CPU second with random actions.
"""

import sys
import time
from typing import Any

import numpy as np

DOCUMENTED = {
    "n_coop": 2, "obstacle_radius": 0.2, "pursuer_max_accel": 0.01, "evader_speed": 0.01,
    "poison_speed": 0.01,
}  # fmt: skip


def waterworld(agents: int) -> Any:
    from pettingzoo.sisl import waterworld_v4

    food = {"n_evaders": agents, "n_poisons": 2 * agents}
    return waterworld_v4.parallel_env(n_pursuers=agents, **food, **DOCUMENTED)


def prison(agents: int) -> Any:
    import gym.utils.seeding

    class Generator(np.random.RandomState):
        """As gym had it, with numpy's newer name for integers, which its spaces call."""

        integers = np.random.RandomState.randint

    gym.utils.seeding.np_random = lambda seed=None: (Generator(seed), seed)
    from pettingzoo.butterfly import prison_v3

    return prison_v3.parallel_env(vector_observation=True, num_floors=agents // 2)


def main() -> None:
    name, agents, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    env = {"waterworld": waterworld, "prison": prison}[name](agents)
    env.reset()
    # PettingZoo 1.11 has dictionaries where there are functions now.
    space = getattr(env, "action_space", None) or env.action_spaces.__getitem__
    spaces = {agent: space(agent) for agent in env.possible_agents}
    steps, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        env.step({agent: spaces[agent].sample() for agent in env.agents})
        steps += 1
        if not env.agents:
            env.reset()
    print(steps / (time.process_time() - begun))


if __name__ == "__main__":
    main()
