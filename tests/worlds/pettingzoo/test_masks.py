"""Action masks: no agent of ours takes what they forbid, and learning knows them."""

import itertools

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from small_env import Small

from marl.agents.ddpg import DDPG, DDPGConfig
from marl.errors import WorldFailed
from marl.learning.replay import Replay
from marl.nn.heads import ActionHead
from marl.policies.builtin import Random, Still
from marl.rollout import collect
from marl.worlds.pettingzoo.world import PettingZooWorld

SEEN = Dict({"observation": Box(-9, 9, (2,)), "action_mask": Box(0, 1, (4,), np.int8)})


class Masked(Small):
    """One choice of four is allowed at first, another in each step, and two in the last."""

    def __init__(self, see=SEEN, act=None):
        super().__init__(length=5, act=act or Discrete(4), see=see)
        self.taken = []

    def look(self):
        mask = np.zeros(4, np.int8)
        mask[(self.time * 3 + 1) % 4] = 1
        if self.time == 4:
            mask[0] = 1
        return {
            agent: {"observation": np.full(2, self.time, np.float32), "action_mask": mask}
            for agent in self.agents
        }

    def step(self, actions):
        masks = self.look()
        self.taken += [masks[agent]["action_mask"][actions[agent]] for agent in actions]
        return super().step(actions)


def world_and_env(num_worlds=1):
    made = []
    world = PettingZooWorld(lambda: made.append(Masked()) or made[-1], num_worlds, processes=0)
    return world, made[-1]


def ddpg(name, explore):
    def make(world):
        return DDPG(world.groups, DDPGConfig(name=name, hidden=(8,))), explore

    return make


@pytest.mark.parametrize(
    "make",
    [
        lambda world: (Random(world), False),
        lambda world: (Still(world), False),
        *(ddpg(name, explore) for name in ("maddpg", "atoc", "global") for explore in (0, 1)),
    ],
)
def test_no_policy_of_ours_takes_what_is_forbidden(make):
    world, env = world_and_env()
    policy, explore = make(world)
    for _ in itertools.islice(collect(world, policy, bool(explore)), 40):
        pass
    assert len(env.taken) >= 80
    assert all(env.taken)


def test_where_the_mask_lies():
    (group,) = PettingZooWorld(Masked, processes=0).groups.values()
    observation = PettingZooWorld(Masked, processes=0).reset()["a"]
    assert group.legal(observation)[0].tolist() == [[False, True, False, False]] * 2
    assert group.legal(torch.from_numpy(observation)).dtype == torch.bool


def test_what_is_forbidden_is_refused_by_the_agents_name():
    world, _ = world_and_env()
    world.reset()
    act = {"a": np.eye(4, dtype=np.float32)[[[1, 2]]]}
    with pytest.raises(WorldFailed, match=r"^small_v0: the action of 'a_1' at step 0 is choice 2"):
        world.step(act)


@pytest.mark.parametrize(
    ("mask", "act"), [(3, Discrete(4)), (4, Box(-1, 1, (4,))), (4, MultiDiscrete([2, 3]))]
)
def test_a_mask_that_does_not_fit_is_refused(mask, act):
    see = Dict({"observation": Box(-9, 9, (2,)), "action_mask": Box(0, 1, (mask,), np.int8)})
    with pytest.raises(ValueError, match=r"small_v0: the action_mask of group 'a', .* is none for"):
        PettingZooWorld(lambda: Masked(see, act), processes=0)


def test_the_head_gives_no_gradient_to_what_is_forbidden():
    world, _ = world_and_env()
    head = ActionHead(world.groups["a"])
    output = torch.tensor([[9.0, 1.0, 0.0, 2.0]], requires_grad=True)
    legal = torch.tensor([[False, True, True, False]])
    action = head(output, legal=legal)
    assert action.tolist() == [[0, 1, 0, 0]]
    (action * torch.arange(4)).sum().backward()
    assert output.grad[0, [0, 3]].tolist() == [0, 0]
    assert output.grad[0, 1] != 0
    nothing = head(output, torch.Generator().manual_seed(0), torch.zeros_like(legal))
    assert nothing.isfinite().all()


@pytest.mark.parametrize("name", ["maddpg", "atoc", "global"])
def test_target_actions_are_allowed_ones(name):
    world, _ = world_and_env(2)
    agent = DDPG(world.groups, DDPGConfig(name=name, hidden=(8,)))
    replay = Replay(world.groups, 60, torch.Generator().manual_seed(0))
    for turn in itertools.islice(collect(world, agent, True), 20):
        replay.add(turn.transition)
    batch = replay.sample(50, agent.draw)
    steps = agent.prepare("a", batch["a"])
    action = agent.learners["a"].next_action(steps, torch.Generator())
    taken, legal = (x.reshape(-1, 4) for x in (action > 0.5, steps.next_legal))
    assert legal.any(-1).float().mean() > 0.5
    assert (taken & legal).any(-1)[legal.any(-1)].all()
    assert all(x.isfinite().all() for x in agent.update(batch).values())
