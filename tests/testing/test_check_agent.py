"""check_agent passes DDPG in all its forms and names what is wrong with broken agents."""

import numpy as np
import pytest
import torch
from agents import probes

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Column, columns_of
from marl.testing.check_agent import check_agent
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.spaces import Part

GROUPS = Spread(num_agents=3).groups
SMALL = {"hidden": (8,), "width": 8}
PLAIN = {
    "runners": probes.group_of(2, 4, 2),
    "chasers": probes.group_of(1, 3, 1, (Part("place", scalars=3),)),
}
EVERYTHING = {
    "twin_critics": True,
    "actor_delay": 2,
    "target_smoothing": 0.2,
    "gradient_clip": 1.0,
    "average": 0.9,
    "augment": True,
    "random_views": {"agents": 0, "landmarks": 1},
}


@pytest.mark.parametrize("network", ["mlp", "set"])
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "every option"])
@pytest.mark.parametrize("kind", ["gaussian", "ou", "psne"])
def test_ddpg_passes(network, options, kind):
    config = DDPGConfig(network=network, **SMALL, **options)
    check_agent(lambda: DDPG(GROUPS, config, ExplorationConfig(kind=kind)), GROUPS)


def test_two_unlike_groups_pass():
    check_agent(lambda: DDPG(PLAIN, DDPGConfig(**SMALL)), PLAIN)


class Fake(DDPG):
    def __init__(self, groups=GROUPS, exploration=None):
        super().__init__(groups, DDPGConfig(**SMALL), exploration)


class ActsInFloat64(Fake):
    def act(self, observation, explore=False):
        return {g: a.astype(np.float64) for g, a in super().act(observation, explore).items()}


class ActsOutOfBounds(Fake):
    def act(self, observation, explore=False):
        return {g: 3 + a for g, a in super().act(observation, explore).items()}


class ActsForOneWorld(Fake):
    def act(self, observation, explore=False):
        return {g: a[:1] for g, a in super().act(observation, explore).items()}


class AlwaysExplores(Fake):
    def act(self, observation, explore=False):
        return super().act(observation, True)


class NeverExplores(Fake):
    def act(self, observation, explore=False):
        return super().act(observation)


class ExploresOnce(Fake):
    """The same noise in every episode."""

    def act(self, observation, explore=False):
        actions = super().act(observation)
        return {g: 0.9 * a for g, a in actions.items()} if explore else actions


class DriftsWhileExploring(Fake):
    def act(self, observation, explore=False):
        if explore:
            for parameter in self.learners["agents"].actor.parameters():
                parameter.data += 0.01
        return super().act(observation, explore)


class ForgetsAtReset(Fake):
    def reset(self, mask=None):
        super().reset(mask)
        if mask is not None:
            for parameter in self.learners["agents"].actor.parameters():
                parameter.data += 0.01


class NeverLearns(Fake):
    def update(self, batch):
        return {"loss": torch.zeros(())}


class KeepsTheGraph(Fake):
    def update(self, batch):
        return {**super().update(batch), "loss": torch.zeros((), requires_grad=True) * 2}


class LogsFloats(Fake):
    def update(self, batch):
        return {name: float(value) for name, value in super().update(batch).items()}


class LogsNan(Fake):
    def update(self, batch):
        return {**super().update(batch), "loss": torch.tensor(float("nan"))}


class ForgetsItsMoments(Fake):
    def state_dict(self):
        return {k: v for k, v in super().state_dict().items() if "optimiser" not in k}


class ForgetsItsNoise(Fake):
    def load_state_dict(self, state):
        own = super().state_dict()
        noise = {k: own[k] for k in own if k.startswith("exploration.")}
        super().load_state_dict({**state, **noise})


class HandsOutItsWeights(Fake):
    def weights(self):
        actor = self.learners["agents"].greedy
        return {f"agents.actor.{k}": v.detach() for k, v in actor.state_dict().items()}


class IgnoresWeights(Fake):
    def load_weights(self, weights):
        pass


class RecordsNothing(Fake):
    def columns(self, groups):
        return columns_of(groups, talk=Column((2,), "int32"))


class RecordsFractions(RecordsNothing):
    def recorded(self):
        return {"talk": {"agents": np.ones((3, 3, 2))}}


class ChangesItsBatch(Fake):
    def update(self, batch):
        batch["agents"].reward.mul_(2.0)
        return super().update(batch)


class TakesAnyWeights(Fake):
    def load_weights(self, weights):
        own = self.weights()
        fitting = {k: weights[k] for k in own if k in weights and weights[k].shape == own[k].shape}
        super().load_weights({**own, **fitting})


@pytest.mark.parametrize(
    ("agent", "sentence"),
    [
        (ActsInFloat64, "is float64; float32 is needed"),
        (ActsOutOfBounds, "between -1 and 1"),
        (ActsForOneWorld, "has shape"),
        (AlwaysExplores, "greedy actions must be the same"),
        (NeverExplores, "must give other actions"),
        (ExploresOnce, "must give other actions the next episode"),
        (DriftsWhileExploring, "exploring must not change greedy actions"),
        (ForgetsAtReset, "must not change greedy actions"),
        (NeverLearns, "have not changed the weights"),
        (KeepsTheGraph, "must be detached"),
        (LogsFloats, "must return scalar tensors"),
        (LogsNan, "is not finite"),
        (ForgetsItsMoments, "after load_state_dict"),
        (ForgetsItsNoise, "after load_state_dict"),
        (HandsOutItsWeights, "was changed by later updates"),
        (IgnoresWeights, "must give the same actions"),
        (RecordsNothing, r"must have the columns that columns\(\) adds"),
        (RecordsFractions, "must be int32 of shape"),
        (ChangesItsBatch, "must not change the batch"),
        (TakesAnyWeights, "must raise ValueError"),
    ],
)
def test_a_broken_agent_is_found_out(agent, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_agent(agent, GROUPS)
