"""Learned messages: updates against those made by hand, and a probe of what they are good for."""

import copy
import itertools

import numpy as np
import pytest
import torch
from agents import probes
from agents.messages_agents import acted_naively, agent_of, lively, world_of
from torch.nn import functional as F

from marl.agents.core.base import View
from marl.agents.messages import claim_loss
from marl.agents.messages_actor import percept
from marl.learning.record import Batch
from marl.learning.replay import Replay
from marl.rollout import collect
from marl.testing.probes import Probe, group_of
from marl.worlds.base import Neighbours
from marl.worlds.spaces import Part


@pytest.mark.parametrize("n", [5, 2])
def test_it_learns_as_the_naive_one(n):
    """Every gradient through two rounds, also where only the agent that says most is looked at."""
    world = world_of(n, 1)
    agent = lively(agent_of(world.groups, rounds=2))
    observation, near = world.reset(), world.neighbours(3, 4)
    actor = agent.learners["agents"].actor
    weights = torch.randn(n, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    p = percept(
        agent.layouts["agents"],
        torch.as_tensor(agent.perceive(View(observation, None, near))["agents"]),
    )
    found = torch.autograd.grad((actor(p).output[0].tanh() * weights).sum(), [*actor.parameters()])
    actions, _, _ = acted_naively(
        actor, observation["agents"][0], near["agents"].agents[0], near["agents"].landmarks[0],
        [torch.zeros(4).double()] * n, [-1] * n, 2,
    )  # fmt: skip
    expected = torch.autograd.grad((actions * weights).sum(), [*actor.parameters()])
    for ours, naive in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, naive, atol=1e-4, rtol=1e-4)
        assert naive.abs().max() > 1e-3


def test_what_is_privileged_changes_no_action():
    world = world_of()
    agent = lively(agent_of(world.groups))
    observation, near = world.reset(), world.neighbours(3, 4)
    plain = agent.act(agent.perceive(View(observation, None, near)))
    agent.reset()
    told = agent.perceive(View(observation, None, near, world.privileged()))
    assert np.array_equal(told["agents"][..., -1], np.ones((2, 5)))
    assert np.array_equal(agent.act(told)["agents"], plain["agents"])


def test_privileged_is_the_landmark_of_the_best_assignment():
    world = world_of(2, 1)
    world.reset()
    at, landmarks = np.array([[[0.0, 0], [1, 0]]]), np.array([[[0.9, 0], [3, 0]]])
    world.set_state(at, 0 * at, landmarks)
    np.testing.assert_allclose(world.privileged()["agents"], [[[0.9, 0], [2, 0]]], atol=1e-6)


def test_claims_are_learned_where_the_own_landmark_is_in_view():
    """Equal scores cost the logarithm of the number of landmarks; the right one alone, nothing."""
    world = world_of(12)
    agent = agent_of(world.groups)
    observation, near = world.reset(), world.neighbours(3, 4)
    rows = agent.perceive(View(observation, None, near, world.privileged()))["agents"]
    p = percept(agent.layouts["agents"], torch.from_numpy(rows))
    out = agent.learners["agents"].actor(p)
    places = observation["agents"][..., 17:].reshape(1, 24, 4, 3)[..., :2]
    gap = np.abs(places - world.privileged()["agents"].reshape(1, 24, 1, 2)).max(-1)
    label, known = gap.argmin(-1), gap.min(-1) < 1e-5
    assert 5 < known.sum() < 24
    equal = torch.zeros(1, 24, 4)
    assert float(claim_loss(p, out._replace(scores=[equal]))) == pytest.approx(np.log(4))
    right = 50.0 * F.one_hot(torch.from_numpy(label), 4)
    assert float(claim_loss(p, out._replace(scores=[right]))) == pytest.approx(0, abs=1e-6)
    both = float(claim_loss(p, out._replace(scores=[right, equal])))
    assert both == pytest.approx(np.log(4) / 2)


def test_one_update_is_the_one_computed_by_hand():
    """Critics: told the best assignment. Actor: of a step and the next, which is judged by what the
    actor now makes of its memory."""
    n, rounds = 5, 2
    world = world_of(n)
    agent = lively(agent_of(world.groups, rounds=rounds, twin_critics=True, gamma=0.5))
    learner = agent.learners["agents"]
    observation, views, nears = world.reset(), [], []
    for _ in range(3):  # the first fills the memory
        nears.append(world.neighbours(3, 4)["agents"])
        views.append(
            agent.perceive(View(observation, None, {"agents": nears[-1]}, world.privileged()))
        )
        observation = world.step(agent.act(views[-1], explore=True)).observation
    o, o2 = (torch.from_numpy(view["agents"]) for view in views[1:])
    draw = torch.Generator().manual_seed(5)
    a, reward = torch.rand(2, n, 2, generator=draw) * 2 - 1, torch.randn(2, n, generator=draw)
    terminated = (torch.rand(2, n, generator=draw) < 0.5).float()
    with torch.no_grad():
        for parameter in (*learner.critics.parameters(), *learner.target_critics.parameters()):
            parameter *= 3.0  # steep enough to be told from rounding
    before = copy.deepcopy(learner)

    agent.update({"agents": Batch(o, a, reward, o2, terminated)})

    def acted(actor, x, near, known):
        """Actions [2, N, 2] and what is known then, from what was known before."""
        worlds = [
            acted_naively(actor, x[e], near.agents[e], near.landmarks[e], *known[e], rounds)
            for e in range(2)
        ]
        return torch.stack([w[0] for w in worlds]), [w[1:] for w in worlds]

    def stored(x):
        return [([*x[e, :, 39:43].double()], x[e, :, 43].tolist()) for e in range(2)]

    def judged(x):
        """Own velocity, the three nearest agents, one's landmark in the best assignment."""
        return torch.cat([x[..., :17], x[..., 44:47]], -1).view(1, 2 * n, 20)

    a2, _ = acted(before.target_actor, o2, nears[2], stored(o2))
    a2 = a2.float().view(1, 2 * n, 2)
    value = torch.minimum(*[q(judged(o2), a2) for q in before.target_critics])[0, :, 0]
    y = (reward.view(-1) + 0.5 * (1 - terminated.view(-1)) * value).detach()
    errors = [(q(judged(o), a.view(1, -1, 2))[0, :, 0] - y).square().mean() for q in before.critics]
    check_gradients(
        learner.critics, torch.autograd.grad(sum(errors), [*before.critics.parameters()])
    )

    first, known = acted(before.actor, o, nears[1], stored(o))
    second, _ = acted(before.actor, o2, nears[2], known)
    values = [
        learner.critics[0](judged(x), action.float().view(1, 2 * n, 2))
        for x, action in ((o, first), (o2, second))
    ]
    loss = -torch.cat(values).mean()
    check_gradients(learner.actor, torch.autograd.grad(loss, [*before.actor.parameters()]))


def check_gradients(network, expected):
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, atol=2e-5, rtol=1e-3)
    assert max(gradient.abs().max() for gradient in expected) > 1e-2


class Whisper(Probe):
    """Agent 0 sees x; agent 1 sees nothing, and is to do x. Critics are told x."""

    def __init__(self):
        parts = (
            Part("self", scalars=1),
            Part("agents", 1, vectors=1, scalars=1, masked=True),
            Part("landmarks", 1, vectors=1, scalars=1, masked=True),
        )
        self.x = np.zeros(probes.WORLDS)

        def observe(rng, t):
            self.x = rng.uniform(-0.8, 0.8, probes.WORLDS)
            looks = np.zeros((probes.WORLDS, 2, 7))
            looks[:, 0, 0] = self.x
            looks[..., [3, 6]] = 1.0
            return {"g": looks}

        def reward(t, o, a):
            error = a["g"][:, 1, 0] - o["g"][:, 0, 0]
            return {"g": np.stack([0 * error, -np.square(error)], 1)}

        super().__init__({"g": (2, 7, 1)}, reward, observe)
        self.groups = {"g": group_of(2, 7, 1, parts)}

    def neighbours(self, agents, landmarks):
        near = np.full((probes.WORLDS, 2, agents), -1)
        near[:, :, 0] = [1, 0]
        return {"g": Neighbours(near, np.zeros((probes.WORLDS, 2, landmarks), int))}

    def privileged(self):
        return {"g": np.stack([self.x, 0 * self.x], 1)[:, None].repeat(2, 1).astype(np.float32)}


def error_after(updates=300, **settings):
    """Mean squared error of agent 1 once it has learnt; 0.213 for one who hears nothing."""
    world = Whisper()
    quick = {"gamma": 0.0, "actor_lr": 3e-3, "critic_lr": 5e-3, "tau": 0.05}
    agent = agent_of(world.groups, sigma=0.3, **quick, **settings)
    memory = Replay(
        world.groups, 4000, torch.Generator().manual_seed(0), agent.columns(world.groups)
    )
    for transition, _ in itertools.islice(collect(world, agent, True), updates):
        memory.add(transition)
        agent.update(memory.sample(32, draw="steps"))
    turns = [turn.transition for turn in itertools.islice(collect(world, agent), 30)]
    return -np.mean([x.reward["g"][:, 1] for x in turns])


@pytest.mark.long
def test_probe_what_one_agent_sees_another_learns_to_do():
    """Within a step, through the rounds; and not when nobody is heard."""
    assert error_after(rounds=2) < 0.03
    assert error_after(100, rounds=2, message_loss=1.0) == pytest.approx(0.213, abs=0.04)
