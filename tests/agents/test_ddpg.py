"""DDPG: updates computed by hand, its options, and probe environments with known answers."""

import functools
import itertools

import numpy as np
import pytest
import torch
from agents import probes
from agents.probes import columns_of, forward, layers_of, trained

from marl.agents.core.learner import clip
from marl.agents.ddpg import DDPG, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.nn.layers import MLP
from marl.worlds.spaces import Group, Part

PLACE, FORCE = (Part("place", vectors=1, scalars=1),), (Part("force", vectors=1),)
GROUPS = {"agents": probes.group_of(2, 3, 2, PLACE, FORCE)}
batch_of = functools.partial(probes.batch_of, GROUPS)


def agent_of(seed=0, **settings):
    return DDPG(GROUPS, DDPGConfig(**{"hidden": (8,), "gamma": 0.9} | settings), seed=seed)


# --------------------------------------------------------------------------------- one update


@pytest.mark.parametrize("twin", [False, True])
def test_the_critic_loss_is_the_one_computed_by_hand(twin):
    """y = r + gamma (1 - terminated) min Q'(o', mu'(o')), everything in numpy."""
    agent = trained(agent_of(twin_critics=twin, tau=0.1, actor_lr=0.05, critic_lr=0.05))
    state, batch = agent.state_dict(), batch_of()
    o, a, r, o2, terminated = (x["agents"][:, 0].numpy() for x in columns_of(batch))
    critics = range(1 + twin)
    next_action = np.tanh(forward(layers_of(state, "agents.target_actor."), o2))
    seen = np.concatenate([o2, next_action], 1)
    values = [forward(layers_of(state, f"agents.target_critics.{k}."), seen)[:, 0] for k in critics]
    y = r + 0.9 * (1 - terminated) * np.min(values, axis=0)
    seen = np.concatenate([o, a], 1)
    estimates = [forward(layers_of(state, f"agents.critics.{k}."), seen)[:, 0] for k in critics]
    loss = sum(np.square(q - y).mean() for q in estimates)
    own = np.tanh(forward(layers_of(state, "agents.actor."), o))

    result = agent.update(batch)
    assert float(result["critic_loss"]) == pytest.approx(loss, rel=1e-4)
    assert float(result["value"]) == pytest.approx(estimates[0].mean(), rel=1e-4)
    # the actor's loss is taken after the critic's step
    critic = layers_of(agent.state_dict(), "agents.critics.0.")
    q_own = forward(critic, np.concatenate([o, own], 1))
    assert float(result["actor_loss"]) == pytest.approx(-q_own.mean(), rel=1e-4)
    if twin:
        assert not np.allclose(values[0], values[1])


def test_the_actor_goes_up_the_critics_slope():
    """A critic that does not move: on the same batch its value of the actor's actions rises."""
    agent = trained(agent_of(critic_lr=1e-12, actor_lr=1e-3))
    losses = [float(agent.update(batch_of())["actor_loss"]) for _ in range(20)]
    assert all(after < before for before, after in itertools.pairwise(losses))


def values_after(terminated, gamma):
    """What a critic comes to think of a state that follows itself, with reward 1."""
    agent = agent_of(gamma=gamma, critic_lr=1e-2, tau=0.2)
    o, a, ones = torch.zeros(16, 1, 3), torch.zeros(16, 1, 2), torch.ones(16, 1)
    rows = Batch(o, a, ones, o, float(terminated) * ones)
    for _ in range(300):
        result = agent.update({"agents": rows})
    return float(result["value"])


def test_terminated_transitions_have_no_future_and_others_do():
    assert values_after(terminated=True, gamma=0.5) == pytest.approx(1.0, abs=0.05)
    assert values_after(terminated=False, gamma=0.5) > 1.5


# ------------------------------------------------------------------------------------ options


def difference(before, after):
    return max(float((after[k] - before[k]).abs().max()) for k in before)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (0.5, 0.6), (1.0, 0.2)])
def test_learning_rates_fall_in_a_straight_line(progress, share):
    """Adam's first step moves a weight by the learning rate."""
    agent = agent_of(actor_lr=0.01, critic_lr=0.02, final_lr=0.2)
    agent.anneal(progress)
    before = agent.state_dict()
    agent.update(batch_of())
    after = agent.state_dict()
    for name, rate in [("agents.actor.", 0.01), ("agents.critics.", 0.02)]:
        own = {k: v for k, v in before.items() if k.startswith(name)}
        assert difference(own, after) == pytest.approx(share * rate, rel=1e-3)


def test_anneal_reaches_exploration():
    exploration = ExplorationConfig(scale=1.0, final_scale=0.0)
    agent = DDPG(GROUPS, DDPGConfig(hidden=(8,)), exploration)
    agent.anneal(1.0)
    observation = {"agents": np.zeros((2, 2, 3), np.float32)}
    explored, greedy = agent.act(observation, explore=True), agent.act(observation)
    assert np.array_equal(explored["agents"], greedy["agents"])


def gradient_norms(networks):
    return [
        float(torch.cat([p.grad.flatten() for p in network.parameters()]).norm())
        for network in networks
    ]


def test_gradients_are_clipped_network_by_network():
    norms = {}
    for limit in (0.0, 1e-3):
        agent = agent_of(twin_critics=True, gradient_clip=limit)
        agent.update(batch_of())
        learner = agent.learners["agents"]
        norms[limit] = gradient_norms([*learner.critics, learner.actor])
    assert min(norms[0.0]) > 1.1e-3
    assert norms[1e-3] == pytest.approx([1e-3] * 3, rel=0.01)


def test_clipping_does_not_couple_the_networks_of_a_stack():
    """One of three has a large gradient; the others stay as they are."""
    network = MLP(3, (), 4, 0, 2, (5,), 0)
    for parameter in network.parameters():
        parameter.grad = 1e-3 * torch.ones_like(parameter)
        parameter.grad[1] = 100.0
    clip(network, 0.5)
    for parameter in network.parameters():
        assert (parameter.grad[[0, 2]] == 1e-3).all()
    total = sum(float(p.grad[1].square().sum()) for p in network.parameters())
    assert total**0.5 == pytest.approx(0.5, rel=1e-3)


def test_targets_follow_by_tau():
    agent = trained(agent_of(tau=0.1, twin_critics=True))
    before = agent.state_dict()
    agent.update(batch_of())
    after = agent.state_dict()
    names = [k for k in before if k.startswith("agents.target_")]
    assert len(names) == 3 * 4
    for name in names:
        source = after[name.replace("target_", "")]
        assert not torch.equal(source, before[name])
        torch.testing.assert_close(after[name], 0.9 * before[name] + 0.1 * source)


def test_the_actor_and_its_target_move_once_in_actor_delay_updates():
    agent = agent_of(actor_delay=3, twin_critics=True)
    learned = []
    for seed in range(7):
        actor, before = agent.weights(), agent.state_dict()
        result = agent.update(batch_of(seed=seed))
        learned.append(difference(actor, agent.weights()) > 0)
        assert learned[-1] == ("actor_loss" in result)
        after = agent.state_dict()
        moved = {k: not torch.equal(x, before[k]) for k, x in after.items() if "target_" in k}
        for kind, moves in (("target_actor", learned[-1]), ("target_critics", True)):
            assert {x for k, x in moved.items() if kind in k} == {moves}
    assert learned == [False, False, True, False, False, True, False]


def test_the_average_favours_what_was_later_at_first_and_moves_on_evenly_later():
    plain, averaging = agent_of(), agent_of(average=0.75)
    seen, mean = [], None
    for seed in range(16):
        for agent in (plain, averaging):
            agent.update(batch_of(seed=seed))
        now = plain.weights()
        seen.append(now)
        rate = max(0.25, 4 / (seed + 4))
        mean = now if mean is None else {k: (1 - rate) * mean[k] + rate * now[k] for k in now}
        for name, tensor in averaging.weights().items():
            torch.testing.assert_close(tensor, mean[name])
            if seed == 9:  # still by the formula in closed form
                shares = torch.tensor([n * (n + 1.0) * (n + 2) for n in range(1, 11)])
                stacked = torch.stack([w[name] for w in seen], -1)
                torch.testing.assert_close(tensor, stacked @ (shares / shares.sum()))
    # exploration follows the actor itself
    observation = {"agents": np.ones((1, 2, 3), np.float32)}
    quiet = ExplorationConfig(kind="none")
    for agent in (plain, averaging):
        agent.exploration.config = quiet
    acts = [agent.act(observation, explore=True)["agents"] for agent in (plain, averaging)]
    assert np.array_equal(*acts)
    assert not np.array_equal(acts[1], averaging.act(observation)["agents"])


def test_smoothing_disturbs_target_actions():
    calm, disturbed = (
        agent_of(target_smoothing=smoothing).update(batch_of()) for smoothing in (0.0, 0.5)
    )
    assert calm["value"] == disturbed["value"]
    assert calm["critic_loss"] != disturbed["critic_loss"]


def test_seeds():
    weights = [trained(agent_of(seed=seed, target_smoothing=0.1)).weights() for seed in (1, 1, 2)]
    assert difference(weights[0], weights[1]) == 0
    assert difference(weights[0], weights[2]) > 0


def test_making_an_agent_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    agent_of(seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_augmentation_needs_to_know_the_vectors():
    group = GROUPS["agents"]
    spaces = (group.names, group.observation_space, group.action_space)
    for parts in ({}, {"action_parts": group.action_parts}):
        with pytest.raises(ValueError, match=r"agent\.augment is on"):
            DDPG({"agents": Group(*spaces, **parts)}, DDPGConfig(augment=True))


# ----------------------------------------------------------------------------- probe environments


class Probe(probes.Probe):
    """One agent that sees one number and does one: observe(rng, t) and reward(t, o, a) are [E]."""

    def __init__(self, reward, observe=None, **settings):
        def rewards(t, o, a):
            judged = reward(t, o["g"][:, 0, 0], a["g"][:, 0, 0])
            return {"g": np.reshape(judged, (-1, 1))}

        def observations(rng, t):
            return {"g": observe(rng, t).reshape(-1, 1, 1)}

        super().__init__({"g": (1, 1, 1)}, rewards, observe and observations, **settings)


def learn(world, **settings):
    return probes.learn(world, name="atoc", **settings)[0]


def value(agent, observation, action=None):
    """Q of one observation, and of the greedy action unless told otherwise."""
    if action is None:
        action = act(agent, observation)
    o, a = torch.tensor([[[observation]]]), torch.tensor([[[action]]])
    state = agent.state_dict()
    result = agent.update({"g": Batch(o, a, torch.zeros(1, 1), o, torch.ones(1, 1))})
    agent.load_state_dict(state)
    return float(result["value"])


def act(agent, observation):
    return float(agent.act({"g": np.full((1, 1, 1), observation, np.float32)})["g"][0, 0, 0])


def signs(rng, t):
    return rng.choice([-1.0, 1.0], 16)


def test_probe_constant_reward():
    agent = learn(Probe(lambda t, o, a: 1.0))
    assert value(agent, 0.0) == pytest.approx(1.0, abs=0.1)


def test_probe_reward_read_from_the_observation():
    agent = learn(Probe(lambda t, o, a: o, signs))
    for observation in (-1.0, 1.0):
        assert value(agent, observation) == pytest.approx(observation, abs=0.1)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_probe_reward_a_step_later_is_discounted(gamma):
    """The first observation is 0, the second 1; only the second step is rewarded."""
    world = Probe(lambda t, o, a: (t == 1).astype(float), lambda rng, t: 1.0 * (t == 1), length=2)
    agent = learn(world, gamma=gamma)
    assert value(agent, 1.0) == pytest.approx(1.0, abs=0.1)
    assert value(agent, 0.0) == pytest.approx(gamma, abs=0.1)


def test_probe_the_action_matters():
    agent = learn(Probe(lambda t, o, a: -np.square(a - 0.5)))
    assert act(agent, 0.0) == pytest.approx(0.5, abs=0.1)
    assert value(agent, 0.0) == pytest.approx(0.0, abs=0.1)
    assert value(agent, 0.0, -0.5) == pytest.approx(-1.0, abs=0.25)


def test_probe_the_action_follows_the_observation():
    agent = learn(
        Probe(lambda t, o, a: -np.square(a - o), lambda rng, t: rng.uniform(-0.8, 0.8, 16))
    )
    for observation in (-0.6, 0.0, 0.6):
        assert act(agent, observation) == pytest.approx(observation, abs=0.12)


@pytest.mark.parametrize(("truncates", "answer"), [(True, 2.0), (False, 1.0)])
def test_probe_a_time_limit_bootstraps_and_a_termination_does_not(truncates, answer):
    """One step of reward 1: if only time ran out, it would have gone on, to 1 / (1 - gamma)."""
    agent = learn(Probe(lambda t, o, a: 1.0, truncates=truncates))
    assert value(agent, 0.0) == pytest.approx(answer, abs=0.1)
