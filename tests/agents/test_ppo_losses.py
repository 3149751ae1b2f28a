"""PPO: losses, stacks, and agents that left, against what is made by hand."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from agents.ppo_agents import (
    LEGAL,
    MIXED,
    NETWORKS,
    ROWS,
    TEAM,
    UNLIKE,
    agent_of,
    lively,
    rollout_of,
)
from agents.probes import forward, layers_of

from marl.learning.memory import Memory
from marl.rollout import collect
from marl.testing import probes
from marl.testing.probes import group_of

GROUPS = pytest.mark.parametrize("groups", [TEAM, UNLIKE], ids=["one group", "two groups"])


# -------------------------------------------------------------------------------- losses by hand


def inputs_by_hand(observations, g, name, networks, i):
    """What agent i's critic sees of {g: [T, E, N, O]}."""
    own = observations[g]
    n = own.shape[2]
    if name == "ippo":
        return own[:, :, i]
    first = i if networks == "one" else 0
    seen = [own[:, :, (first + j) % n] for j in range(n)]
    seen += [x[:, :, j] for h, x in observations.items() if h != g for j in range(x.shape[2])]
    return np.concatenate(seen, -1)


def by_hand(state, now, batch, g, c):
    """Losses of a group's actor and critic with the weights of `now`, on advantages and returns of
    `state`."""
    x = {
        h: {k: v.numpy() for k, v in vars(b).items() if torch.is_tensor(v)}
        for h, b in batch.items()
    }
    own, added = x[g], {k: v.numpy().astype(float) for k, v in batch[g].added.items()}
    n = own["reward"].shape[2]
    networks = range(n) if c.networks == "each" else [0] * n
    values, outputs = [], {}
    for i, k in enumerate(networks):
        seen = [
            inputs_by_hand({h: b[column] for h, b in x.items()}, g, c.name, c.networks, i)
            for column in ("observation", "next_observation")
        ]
        values.append([forward(layers_of(state, f"{g}.critic.", k), s)[..., 0] for s in seen])
        outputs[i] = (
            forward(layers_of(now, f"{g}.critic.", k), seen[0])[..., 0],
            forward(layers_of(now, f"{g}.actor.", k), own["observation"][:, :, i]),
            now[f"{g}.actor.log_deviation"][k, 0].numpy().astype(float),
        )
    value, following = (np.stack(v, -1) for v in zip(*values, strict=True))
    advantage, after = np.zeros_like(value), 0.0
    for t in reversed(range(len(value))):
        alive = c.gamma * (1 - own["terminated"][t])
        delta = own["reward"][t] + alive * following[t] - value[t]
        after = delta + alive * c.gae_lambda * own["continues"][t][:, None] * after
        advantage[t] = after
    returns = advantage + value
    each = (0, 1) if c.networks == "each" else (0, 1, 2)
    mean, deviation = returns.mean(each, keepdims=True), returns.std(each, keepdims=True)
    target = (returns - mean) / deviation
    advantage = advantage - advantage.mean(each, keepdims=True)
    advantage /= advantage.std(each, keepdims=True)
    actor, critic = [], []
    for i in range(n):
        predicted, output, log_deviation = outputs[i]
        far = (added["drawn"][:, :, i] - output) / np.exp(log_deviation)
        logs = (-0.5 * far**2 - log_deviation - 0.5 * np.log(2 * np.pi)).sum(-1)
        ratio = np.exp(logs - added["log_probability"][:, :, i])
        clipped = np.clip(ratio, 1 - c.ratio_clip, 1 + c.ratio_clip)
        gain = np.minimum(ratio * advantage[..., i], clipped * advantage[..., i])
        entropy = (log_deviation + 0.5 * np.log(2 * np.pi * np.e)).sum()
        actor.append(-(gain + c.entropy * entropy).mean())
        near = value[..., i] + np.clip(predicted - value[..., i], -c.value_clip, c.value_clip)
        worse = np.maximum((predicted - target[..., i]) ** 2, (near - target[..., i]) ** 2)
        critic.append(worse.mean())
    together = np.sum if c.networks == "each" else np.mean
    return together(actor), together(critic)


@GROUPS
@NETWORKS
@ROWS
def test_losses_are_those_computed_by_hand(name, networks, groups):
    """Of the first step and, with ratios and values that are clipped, of the second."""
    settings = {"name": name, "networks": networks, "entropy": 0.1}
    settings |= {"actor_lr": 0.02, "critic_lr": 0.05, "ratio_clip": 0.05, "value_clip": 0.02}
    one, two = (lively(agent_of(groups, epochs=epochs, **settings)) for epochs in (1, 2))
    batch = rollout_of(one, groups)
    state = one.state_dict()
    two.load_state_dict(state)
    first, both, middle = one.update(batch), two.update(batch), one.state_dict()
    for g in groups:
        key = f"{g}." if len(groups) > 1 else ""
        expected = by_hand(state, state, batch, g, one.config)
        then = by_hand(state, middle, batch, g, one.config)
        assert float(both[f"{key}clipped"]) > 0.1
        for loss, now, later in zip(("actor_loss", "critic_loss"), expected, then, strict=True):
            assert float(first[key + loss]) == pytest.approx(now, rel=1e-3, abs=1e-4)
            mean = (now + later) / 2
            assert float(both[key + loss]) == pytest.approx(mean, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("memory", [0, 6])
@NETWORKS
@ROWS
@pytest.mark.parametrize("groups", [UNLIKE, MIXED, {"team": LEGAL}], ids=["two", "mixed", "legal"])
def test_in_the_first_epoch_the_ratio_is_one(groups, name, networks, memory, normalise):
    """What was stored while acting is what is computed anew, across ends of episodes and rollouts,
    with masks and with the statistics of that time."""
    settings = {"memory": memory, "normalise": normalise, "actor_lr": 0.02}
    agent = lively(agent_of(groups, name=name, networks=networks, **settings))
    for seed in range(3):
        for key, value in agent.update(rollout_of(agent, groups, seed=seed)).items():
            if "clipped" in key:
                assert value == 0.0
            if "divergence" in key:
                assert abs(value) < 1e-9 + 2e-7


def test_a_rollout_begins_with_the_memory_of_the_last_one():
    """Actors' and critics', without the worlds whose episodes ended."""
    agent = lively(agent_of(memory=6))
    world = probes.Probe({"team": (3, 4, 2)}, lambda t, o, a: {"team": 0.0}, length=3)
    rng = np.random.default_rng(0)
    world.observe = lambda _, t: {"team": rng.normal(size=(16, 3, 4))}
    sizes = SimpleNamespace(replay_size=1, update_every=16 * 4, num_worlds=16)
    memory = Memory(world.groups, agent, sizes, torch.Generator())
    firsts = []
    for turn, (transition, _) in enumerate(itertools.islice(collect(world, agent, True), 12), 1):
        memory.add(transition)
        if turn % 4 == 0:
            batch = memory.sample(0)
            firsts.append(float(batch["team"].added["hidden"][0].abs().sum()))
            agent.update(batch)
            state = agent.state_dict()
            assert state["team.hidden"].shape == state["team.critic_hidden"].shape == (3, 1, 16, 6)
    assert firsts[0] == 0.0 < min(firsts[1:])
    agent.reset(np.arange(16) < 4)
    left = agent.state_dict()["team.hidden"]
    assert not left[:, :, :4].any()
    assert left[:, :, 4:].all()


@NETWORKS
def test_two_rollouts_are_judged_as_one_of_both(networks):
    """Critics that hardly learn: their memory goes on from one rollout to the next, except where an
    episode begins, and episodes begin within rollouts and between them."""

    def judged(steps):
        tiny = {"actor_lr": 1e-12, "critic_lr": 1e-12, "normalise_values": False}
        agent = lively(agent_of(memory=6, networks=networks, minibatches=1, **tiny))
        world = probes.Probe({"team": (3, 4, 2)}, lambda t, o, a: {"team": 0.0}, length=5)
        rng = np.random.default_rng(0)
        world.observe = lambda _, t: {"team": rng.normal(size=(16, 3, 4))}
        sizes = SimpleNamespace(replay_size=1, update_every=16 * steps, num_worlds=16)
        memory = Memory(world.groups, agent, sizes, torch.Generator())
        values = []
        for transition, _ in itertools.islice(collect(world, agent, True), 40):
            memory.add(transition)
            if batch := memory.sample(0):
                values.append(float(agent.update(batch)["value"]))
        return values

    short, long = judged(4), judged(8)
    np.testing.assert_allclose(np.mean(np.reshape(short, (-1, 2)), 1), long, rtol=1e-4)


# ---------------------------------------------------------------------------- stacks, and who left


@pytest.mark.parametrize("memory", [0, 5])
def test_the_stack_learns_what_separate_learners_do(memory):
    settings = {"networks": "each", "memory": memory, "epochs": 3, "minibatches": 2}
    settings |= {"gradient_clip": 0.05, "layer_norm": ("actor", "critic"), "average": 0.5}
    together = lively(agent_of(**settings))
    alone = [agent_of({"team": group_of(1, 4, 2)}, **settings) for _ in range(3)]
    names = [k for k in together.state_dict() if k.startswith(("team.actor.", "team.critic."))]
    for k, agent in enumerate(alone):
        of_networks = {
            name: x[k : k + 1]
            for name, x in together.state_dict().items()
            if name.startswith(("team.actor.", "team.critic.", "team.greedy."))
        }
        agent.load_state_dict(agent.state_dict() | of_networks)
    for seed in range(3):
        batch = rollout_of(together, TEAM, seed=seed)["team"]
        for k, agent in enumerate(alone):
            agent.reset()  # as the rollout began
            own = {
                name: x[:, :, k : k + 1]
                for name, x in vars(batch).items()
                if torch.is_tensor(x) and x.dim() > 2
            }
            added = {name: x[:, :, k : k + 1] for name, x in batch.added.items()}
            agent.update({"team": replace(batch, **own, added=added)})
        together.update({"team": batch})
    state = together.state_dict()
    for k, agent in enumerate(alone):
        for name in names:
            torch.testing.assert_close(
                state[name][k], agent.state_dict()[name][0], rtol=0, atol=1e-6
            )


@pytest.mark.parametrize("settings", [{}, {"memory": 5}, {"normalise": True}])
@NETWORKS
@ROWS
def test_rows_of_agents_that_have_left_change_nothing(name, networks, settings):
    agents = [lively(agent_of(UNLIKE, name=name, networks=networks, **settings)) for _ in "ab"]
    batch = rollout_of(agents[0], UNLIKE, left=True)
    rollout_of(agents[1], UNLIKE)
    changed = {}
    for g, x in batch.items():
        gone = x.present == 0.0
        columns = {k: getattr(x, k).clone() for k in ("observation", "action", "reward")}
        for column in columns.values():
            column[gone] = 0.7
        added = {k: v.clone() for k, v in x.added.items()}
        for column in added.values():
            column[gone] = 0.3
        following = x.next_observation.clone()
        following[:-1][gone[1:]] = 0.7
        following[gone] = 0.7
        changed[g] = replace(x, **columns, next_observation=following, added=added)
    for _ in range(2):
        results = [agents[0].update(batch), agents[1].update(changed)]
        assert {k: float(v) for k, v in results[0].items()} == {
            k: float(v) for k, v in results[1].items()
        }
    states = [agent.state_dict() for agent in agents]
    for key, tensor in states[0].items():
        if "hidden" not in key:
            assert torch.equal(tensor, states[1][key]), key
    everybody = {g: replace(x, present=None) for g, x in changed.items()}
    assert agents[0].update(everybody) != agents[1].update(changed)
