"""Learned messages: the actor against a naive one, who hears whom, what is learned from whom."""

import copy
import itertools

import numpy as np
import pytest
import torch
from agents import probes
from torch.nn import functional as F

from marl.agents import messages_actor
from marl.agents.core.base import View
from marl.agents.messages import MessagesAgent, MessagesConfig, claim_loss
from marl.agents.messages_actor import percept
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.learning.replay import Replay
from marl.nn.sets import SHARPNESS
from marl.rollout import collect
from marl.testing.check_agent import check_agent
from marl.testing.probes import Probe, group_of
from marl.worlds.base import Neighbours
from marl.worlds.particles.scenarios.spread import Spread
from marl.worlds.particles.world import ParticleWorld
from marl.worlds.spaces import Part


def world_of(n=5, worlds=2):
    return ParticleWorld(Spread(num_agents=n), worlds, seed=1)


def agent_of(groups, sigma=0.2, seed=0, **settings):
    config = MessagesConfig(**{"width": 12, "memory": 4, **settings})
    return MessagesAgent(groups, config, ExplorationConfig(sigma=sigma), seed)


def lively(agent):
    """Weights that matter from the start."""
    for learner in agent.learners.values():
        for network in (learner.actor, learner.greedy):
            generator = torch.Generator().manual_seed(3)
            with torch.no_grad():
                for p in network.parameters():
                    p.copy_(torch.randn(p.shape, generator=generator) / p.shape[-2] ** 0.5)
    return agent


def known(agent):
    """Memory and claim, [E, N, M + 1]."""
    return agent.state_dict()["known.agents"].numpy()


# --------------------------------------------------------------------------------------- the actor


def affine(layer, x):
    y = x @ layer.weight[0].double()
    return y if layer.bias is None else y + layer.bias[0, 0].double()


def acted_naively(actor, observation, near, seen, memory, claim, rounds):
    """All rounds for one world, agent by agent, landmark by landmark. observation [N, O] of Spread
    with three agents and four landmarks in view."""
    rows = torch.as_tensor(observation, dtype=torch.float64)
    n = len(rows)
    for _ in range(rounds):
        before = [(memory[i], claim[i]) for i in range(n)]
        memory, claim, outputs = [], [], []
        for i in range(n):
            own = torch.cat([rows[i, :2], before[i][0]])
            agents, landmarks = rows[i, 2:17].view(3, 5), rows[i, 17:29].view(4, 3)
            tokens, scores, items = [], [], []
            for a in range(4):
                if landmarks[a, 2] == 0:
                    continue
                item = torch.cat([landmarks[a], landmarks[a, :2].norm()[None]])
                pairs = []
                for k in range(3):
                    j = int(near[i, k])
                    if agents[k, 4] == 0:
                        continue
                    said, goal = before[j] if j >= 0 else (torch.zeros(4).double(), None)
                    other = torch.cat([agents[k], agents[k, :2].norm()[None], said])
                    gap = (landmarks[a, :2] - agents[k, :2]).norm()
                    both = torch.stack([gap, torch.tensor(float(goal == seen[i, a])).double()])
                    pairs.append(
                        affine(actor.pair_landmark, item)
                        + affine(actor.pair_agent, other)
                        + affine(actor.pair_both, both)
                    )
                pair = torch.zeros(12).double()
                if pairs:
                    pair = F.relu(torch.stack(pairs).amax(0))
                mine = torch.tensor([float(before[i][1] == seen[i, a])]).double()
                token = F.relu(affine(actor.token, torch.cat([item, own, pair, mine])))
                tokens.append(token)
                items.append(item)
                scores.append(SHARPNESS * affine(actor.score, token)[0])
            weights = torch.stack(scores).softmax(0)
            picked = (weights[:, None] * torch.stack(items)).sum(0)
            z = torch.cat([own, picked, torch.stack(tokens).amax(0)])
            keep, new = affine(actor.write, z).chunk(2)
            keep = keep.sigmoid()
            memory.append(keep * before[i][0] + (1 - keep) * new.tanh())
            claim.append(int(seen[i, int(torch.stack(scores).argmax())]))
            direct = affine(actor.direct, torch.cat([rows[i, :2], picked]))
            hidden = F.relu(affine(actor.trunk, z))
            outputs.append((affine(actor.output, hidden) + direct).tanh())
    return torch.stack(outputs), memory, claim


@pytest.mark.parametrize(("n", "rounds"), [(5, 1), (5, 3), (2, 2)])
def test_the_actor_is_the_naive_one(n, rounds):
    """Step after step, with what is remembered; also with fewer agents than places for them."""
    world = world_of(n)
    agent = lively(agent_of(world.groups, rounds=rounds))
    observation = world.reset()
    agent.reset()
    memory = [[torch.zeros(4).double()] * n for _ in range(2)]
    claim = [[-1] * n for _ in range(2)]
    for _ in range(4):
        near = world.neighbours(3, 4)
        actions = agent.act(agent.perceive(View(observation, None, near)))["agents"]
        for e in range(2):
            expected, memory[e], claim[e] = acted_naively(
                agent.learners["agents"].actor, observation["agents"][e],
                near["agents"].agents[e], near["agents"].landmarks[e], memory[e], claim[e], rounds,
            )  # fmt: skip
            np.testing.assert_allclose(actions[e], expected.detach(), atol=2e-5)
            now = known(agent)[e]
            np.testing.assert_allclose(now[:, :4], torch.stack(memory[e]).detach(), atol=2e-5)
            assert now[:, 4].tolist() == claim[e]
        observation = world.step({"agents": actions}).observation


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


def test_many_agents_act_piece_by_piece(monkeypatch):
    world = world_of(60)
    wholes, pieces = (lively(agent_of(world.groups, rounds=2)) for _ in range(2))
    observation, near = world.reset(), world.neighbours(3, 4)
    expected = wholes.act(wholes.perceive(View(observation, None, near)))["agents"]
    monkeypatch.setattr(messages_actor, "PIECE", 7)
    found = pieces.act(pieces.perceive(View(observation, None, near)))["agents"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 80])
def test_weights_from_a_few_agents_act_for_any_number(n):
    agent, world = lively(agent_of(world_of(4).groups)), world_of(n, 1)
    other = agent_of(world.groups)
    other.load_weights(agent.weights())
    actions = next(collect(world, other)).transition.action["agents"]
    assert actions.shape == (1, n, 2)
    assert np.isfinite(actions).all()


# ----------------------------------------------------------------------------------------- hearing


def line(n):
    """Agents in a line, each of whom hears the one before it only."""
    near = np.full((1, n, 3), -1)
    near[0, 1:, 0] = np.arange(n - 1)
    return {"agents": Neighbours(near, np.zeros((1, n, 4), int))}


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_news_travels_one_agent_a_round(rounds):
    """What the first one sees changes what the others do as far as the rounds carry it: what is
    said is what was known before the round."""
    world = world_of(5, 1)
    world.reset()

    def acts(change, steps, **settings):
        agent = lively(agent_of(world.groups, rounds=rounds, **settings))
        agent.reset()
        for t in range(steps):
            rows = world.reset(np.zeros(1, bool))["agents"].copy()
            if t == 0:
                rows[0, 0, 0] += change
            result = agent.act(agent.perceive(View({"agents": rows}, None, line(5))))["agents"]
        return result[0]

    for steps in (1, 2):
        changed = (acts(0.0, steps) != acts(0.5, steps)).any(1)
        reach = rounds - 1 if steps == 1 else 2 * rounds - 1
        assert changed.tolist() == [i <= reach for i in range(5)]
    late = (acts(0.0, 2, message_delay=1) != acts(0.5, 2, message_delay=1)).any(1)
    assert late.tolist() == [i <= min(rounds - 1, 1) for i in range(5)]
    for mute in ({"message_loss": 1.0}, {"hearing_radius": 0.0}):
        assert (acts(0.0, 2, **mute) != acts(0.5, 2, **mute)).any(1).tolist() == [True] + 4 * [
            False
        ]


def test_worlds_do_not_hear_each_other():
    one, two = world_of(worlds=1), world_of(worlds=3)
    for agent, world in ((lively(agent_of(one.groups, rounds=3)), one),
                         (lively(agent_of(two.groups, rounds=3)), two)):  # fmt: skip
        turns = list(itertools.islice(collect(world, agent), 5))
        last = turns[-1].transition.action["agents"][0]
        if world is one:
            alone = last
    np.testing.assert_allclose(last, alone, atol=1e-6)


def test_new_episodes_begin_with_an_empty_memory():
    world = world_of(worlds=3)
    agent = lively(agent_of(world.groups))
    list(itertools.islice(collect(world, agent), 4))
    assert (known(agent)[..., :4] != 0).all()
    agent.reset(np.array([False, True, False]))
    assert (known(agent)[1] == [0, 0, 0, 0, -1]).all()
    assert (known(agent)[[0, 2], :, :4] != 0).all()


# ---------------------------------------------------------------------------------------- learning


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


@pytest.mark.parametrize(
    "settings",
    [
        {"claim_loss": 0.1, "augment": True},
        {"rounds": 2, "twin_critics": True, "average": 0.9},
        {"precision": "bfloat16"},
    ],
)
def test_check_agent(settings):
    groups = Spread(num_agents=5).groups
    check_agent(lambda: agent_of(groups, **settings), groups)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normalise": True}, "agent.normalise is on"),
        ({"kind": "psne"}, "has the kinds gaussian, ou, none"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    noise = ExplorationConfig(kind=settings.pop("kind", "gaussian"))
    with pytest.raises(ValueError, match=said):
        MessagesAgent(world_of().groups, MessagesConfig(**settings), noise)


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
