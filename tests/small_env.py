"""A small parallel environment in the manner of PettingZoo's, with faults to order."""

import functools

import numpy as np
from gymnasium.spaces import Box, Discrete


class Small:
    """Two agents see a number and choose one of two; an episode has three steps. `change` gets the
    environment, the name of the method and its answer, and returns another answer."""

    metadata = {"name": "small_v0"}  # noqa: RUF012

    def __init__(self, change=lambda env, name, answer: answer, length=3, act=None, see=None):
        self.possible_agents = ["a_0", "a_1"]
        self.change, self.length = change, length
        self.act, self.see = act or Discrete(2), see or Box(-9, 9, (1,))

    @functools.cache  # noqa: B019
    def observation_space(self, agent):
        return self.see

    @functools.cache  # noqa: B019
    def action_space(self, agent):
        return self.act

    def everybody(self, value):
        return dict.fromkeys(self.agents, value)

    def look(self):
        return self.everybody(np.full(1, self.time + 1, np.float32))

    def reset(self, seed=None, options=None):
        self.agents, self.time = [*self.possible_agents], 0
        return self.change(self, "reset", (self.look(), self.everybody({})))

    def step(self, actions):
        self.actions, self.time = actions, self.time + 1
        late = self.time == self.length
        flags = (self.everybody(False), self.everybody(late))
        answer = (self.look(), self.everybody(1.0), *flags, self.everybody({}))
        if late:
            self.agents = []
        return self.change(self, "step", answer)

    def close(self):
        pass


def at(step, change):
    """A change of one step's answer: `change` gets the environment and the five dictionaries, which
    it may change."""

    def changed(env, name, answer):
        if name == "step" and env.time == step:
            change(env, *answer)
        return answer

    return changed
