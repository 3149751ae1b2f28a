"""Q-learners: masks, memory, options and refusals. (Losses: test_q_losses.py.)"""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from agents.probes import group_of
from agents.q_learners import (
    EVERYTHING,
    MEMORY,
    ROLLOUT,
    TEAM,
    TWO,
    agent_of,
    batch_of,
    choosers,
    rows,
    trained,
)

from marl.agents.q_learning import FAMILY, QConfig, QLearning
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.testing.check_agent import check_agent
from marl.worlds.spaces import Group, Part

KINDS = {
    "plain": {},
    "each": {"networks": "each"},
    "everything": EVERYTHING | {"target_every": 2, "networks": "each"},
    "windows": {"window": 3, "td_lambda": 0.7},
    "memory": MEMORY | EVERYTHING,
    "rollout": ROLLOUT | EVERYTHING,
    "rollout with memory": ROLLOUT | {"memory": 5, "networks": "each"},
}
kinds = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


@rows
@kinds
def test_every_row_passes_the_check(name, settings):
    check_agent(lambda: agent_of(name, TWO, **settings), TWO)


def masked_group():
    """Agents that see which of their choices are allowed."""
    return replace(choosers(2, 5, 3), legal_from=2)


# -------------------------------------------------------------------------- masks and who has left


@rows
@pytest.mark.parametrize("explore", [False, True])
def test_choices_that_are_not_legal_are_never_taken(name, explore):
    groups = {"team": masked_group()}
    agent = agent_of(name, groups)
    random = np.random.default_rng(0)
    observation = random.normal(size=(200, 2, 5)).astype(np.float32)
    legal = random.random((200, 2, 3)) < 0.5
    legal[..., 1] |= ~legal.any(-1)
    observation[..., 2:] = legal
    action = agent.act({"team": observation}, explore)["team"]
    assert (legal[action > 0.5]).all()
    assert (action.sum((0, 1)) > 0).all()


@rows
def test_targets_are_of_legal_choices(name):
    groups = {"team": masked_group()}
    agent = trained(agent_of(name, groups, networks="each", lr=0.05))
    learner = agent.learners["team"]
    batch = batch_of(agent, rows=50)
    batch["team"].next_observation[..., 2:] = torch.tensor([0.0, 1.0, 0.0])
    steps = agent.prepare("team", batch["team"])
    values = learner.next_values(learner.target, steps)
    assert torch.equal(learner.next_value(steps), values[..., 1])
    assert not torch.equal(values[..., 1], values.amax(-1))


@rows
@pytest.mark.parametrize("settings", [{}, MEMORY, ROLLOUT], ids=["steps", "windows", "rollout"])
def test_rows_of_agents_that_had_left_change_nothing(name, settings):
    """Whatever is stored of them."""
    states = []
    for garbage in (0.0, 7.0):
        agent = agent_of(name, TWO, networks="each", **settings)
        batch = batch_of(agent, rows=8, left=True)
        for b in batch.values():
            gone = b.present == 0.0
            b.observation[gone] += garbage
            b.next_observation[gone] += garbage
            b.reward[gone] += garbage
        agent.update(batch)
        states.append(agent.state_dict())
    for key, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][key], rtol=1e-5, atol=1e-6, msg=key)


@rows
def test_padding_after_the_end_of_an_episode_changes_nothing(name):
    states = []
    for garbage in (0.0, 7.0):
        agent = agent_of(name, TWO, **MEMORY)
        batch = batch_of(agent, rows=8)
        padding = next(iter(batch.values())).inside == 0.0
        assert padding.any()
        for b in batch.values():
            b.observation[padding] += garbage
            b.next_observation[padding] -= garbage
            b.reward[padding] += garbage
        agent.update(batch)
        states.append(agent.state_dict())
    for key, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][key], rtol=1e-5, atol=1e-6, msg=key)


# ----------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("networks", ["one", "each"])
def test_a_window_unrolls_to_the_values_that_acting_had(networks):
    """From the stored state; `next_values` go one step further."""
    agent = trained(agent_of("iql", networks=networks, **MEMORY))
    learner = agent.learners["team"]
    random = torch.Generator().manual_seed(0)
    seen = torch.randn(5, 4, 3, 4, generator=random)  # steps, worlds, agents
    values, recorded = [], []
    hidden = torch.zeros(3, 4, 5)
    for t in range(5):
        agent.act({"team": seen[t].numpy()}, explore=True)
        recorded.append(torch.tensor(agent.recorded()["hidden"]["team"]))
        q, hidden = learner.act(seen[t].transpose(0, 1), hidden, True)
        values.append(q.detach())
    window = slice(1, 4)
    columns = seen[window].transpose(0, 1), seen[2:5].transpose(0, 1)
    batch = replace(
        batch_of(agent, rows=4)["team"],
        observation=columns[0],
        next_observation=columns[1],
        inside=torch.ones(4, 3),
        added={"hidden": torch.stack(recorded[window], 1)},
    )
    steps = agent.prepare("team", batch)
    torch.testing.assert_close(learner.values(learner.network, steps), torch.stack(values[1:4], 1))
    following = learner.next_values(learner.network, steps)
    torch.testing.assert_close(following, torch.stack(values[2:5], 1))


def test_a_rollout_forgets_at_the_end_of_an_episode():
    agent = trained(agent_of("iql", memory=5, **ROLLOUT))
    learner = agent.learners["team"]
    batch = batch_of(agent, rows=4, steps=3)["team"]
    batch.continues[0] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    steps = agent.prepare("team", batch)
    values = learner.values(learner.network, steps)
    first = batch.observation[1].transpose(0, 1)
    fresh = learner.act(first, torch.zeros(3, 4, 5), True)[0]
    same = torch.isclose(values[:, 1], fresh).all(-1).all(0)
    assert same.tolist() == [False, True, False, True]


def test_a_group_may_be_called_hidden():
    """Its networks are no hidden states."""
    agent = agent_of("iql", {"hidden": choosers(2, 4, 3)}, **MEMORY)
    observation = {"hidden": np.ones((4, 2, 4), np.float32)}
    agent.act(observation)
    other = agent_of("iql", {"hidden": choosers(2, 4, 3)}, seed=1, **MEMORY)
    other.load_state_dict(agent.state_dict())
    agent.reset(np.arange(4) == 1)
    other.reset(np.arange(4) == 1)
    np.testing.assert_array_equal(
        agent.act(observation)["hidden"], other.act(observation)["hidden"]
    )


def test_what_agents_remember_ends_with_their_episode():
    agent = trained(agent_of("vdn", **MEMORY))
    observation = {"team": np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)}
    fresh = agent.act(observation) and agent.recorded()["hidden"]["team"]
    assert not fresh.any()
    agent.act(observation)
    assert agent.recorded()["hidden"]["team"].all()
    agent.reset(np.arange(4) == 2)
    agent.act(observation)
    assert agent.recorded()["hidden"]["team"].any((1, 2)).tolist() == [True, True, False, True]
    agent.reset()
    agent.act({"team": observation["team"][:2]})  # another number of worlds
    assert not agent.recorded()["hidden"]["team"].any()


# ------------------------------------------------------------------------------ runs and refusals


def config_of(name="qmix", world=None, training=None, **agent):
    sections = {
        "world": {"actions": "discrete", **tiny.TINY["world"]} | (world or {}),
        "agent": {"name": name, "hidden": [8]} | agent,
        "training": tiny.TINY["training"] | (training or {}),
    }
    return parse_config(sections)


@pytest.mark.parametrize(
    ("agent", "training"),
    [
        (MEMORY | {"average": 0.9, "networks": "each"}, {}),
        (ROLLOUT | {"memory": 5}, {"update_every": 48}),
    ],
    ids=["windows", "half a rollout"],
)
def test_a_run_resumes_bit_for_bit(agent, training, monkeypatch, data):
    """At step 200 an episode is half over, and so is a rollout of 48 steps."""
    tiny.check_resumes(config_of(training=training, **agent), monkeypatch, 200)


@rows
def test_agents_that_do_numbers_are_refused(name):
    groups = {"team": replace(group_of(2, 3, 2), team="all")}
    with pytest.raises(
        ValueError, match=rf"'{name}' cannot play the group 'team': it acts with ch"
    ):
        agent_of(name, groups)


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_a_mixer_needs_to_know_the_teams(name):
    groups = {**TEAM, "others": choosers(2, 3, 2, team=None)}
    with pytest.raises(ValueError, match=rf"'{name}' learns the value of a team, .* others are"):
        agent_of(name, groups)
    agent_of("iql", groups)
    agent_of(name, {"others": groups["others"]})  # a single group is a team


def test_every_team_has_its_own_mixer():
    groups = {**TWO, "foes": choosers(2, 3, 2, team="foes")}
    agent = agent_of("qmix", groups)
    assert list(agent.teams) == ["all", "foes"]
    assert agent.teams["all"].mixer.agents == 3
    result = agent.update(batch_of(agent))
    assert set(result) == {f"{t}.{k}" for t in ("all", "foes") for k in ("q_loss", "value")}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"memory": 8}, "memory is 8, but window is 1"),
        ({"window": 4, "replay": False}, "window is of batches from replay"),
        ({"name": "vdn", "mixing": 16}, "mixing is 16, but only qmix's mixer has it, not vdn"),
        ({"minibatches": 8}, "minibatches is 8, but it is for learning without replay"),
        ({"replay": False, "tau": 0.1}, "tau is 0.1, but without replay there is no target"),
        ({"window": 11}, "agent.window is 11, but episodes have world.episode_length, 10 steps"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        config_of(**settings)


@pytest.mark.parametrize(
    ("name", "noise", "sentence"),
    [
        ("qmix", {"kind": "gaussian"}, "exploration.kind is 'gaussian'; 'qmix' has the kinds eps"),
        ("iql", {"sigma": 2.0}, "exploration.sigma times exploration.scale is 2"),
    ],
)
def test_noise_that_does_not_fit_is_refused(name, noise, sentence):
    config = parse_config(
        {"world": {"actions": "discrete"}, "agent": {"name": name}, "exploration": noise}
    )
    with pytest.raises(UserError, match=sentence):
        config.make_agent(config.world.groups, 0)


@pytest.mark.parametrize("how", [{}, {"replay": False}, {"window": 4}])
def test_observations_and_choices_are_turned_alike(how):
    """A choice that leads where an agent looks still does, and the letter beside it stays."""
    ways = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    parts = (
        Part("move", scalars=5, choice=True, directions=ways),
        Part("letter", scalars=2, choice=True, directions=((0, 0),) * 2),
    )
    look = (Part("goal", vectors=1),)
    team = replace(group_of(2, 2, 7, action_parts=parts), observation_parts=look, team="all")
    agent = agent_of("vdn", {"team": team}, augment=True, **how)
    learner, batch = agent.learners["team"], batch_of(agent, rows=24)["team"]
    move = batch.action[..., :5].argmax(-1)
    batch.observation.copy_(torch.tensor(ways, dtype=torch.float32)[move])
    steps = agent.prepare("team", batch)
    turned = learner.augment(steps, torch.Generator())
    done = learner.choices.action(turned.choice)
    goals = done[..., :5] @ torch.tensor(ways, dtype=torch.float32)
    torch.testing.assert_close(goals, turned.observation)
    assert not torch.equal(turned.observation, steps.observation)
    assert torch.equal(done[..., 5:], learner.choices.action(steps.choice)[..., 5:])
    check_agent(lambda: agent_of("vdn", {"team": team}, augment=True, **how), {"team": team})


def test_a_network_of_sets_fits_any_number_of_agents():
    others = Part("others", 2, vectors=1, scalars=1, masked=True)
    parts = (Part("velocity", vectors=1), others)
    group = choosers(3, 8, 3)
    spaces = (group.observation_space, group.action_space, parts, group.action_parts)
    groups = {"team": Group(group.names, *spaces)}
    for name in FAMILY:
        check_agent(lambda name=name: agent_of(name, groups, network="set", width=8), groups)
        agent = agent_of(name, groups, network="set", width=8)
        assert agent.size_invariant
        more = {"team": Group(tuple("abcdef"), *spaces)}
        QLearning(more, QConfig(name=name, network="set", width=8)).load_weights(agent.weights())
    with pytest.raises(ValueError, match=r"agent\.normalise is on"):
        agent_of("iql", groups, network="set", normalise=True)
    with pytest.raises(ValueError, match=r"agent\.augment is on, but the world does not say"):
        agent_of("iql", groups, network="set", augment=True)
    with pytest.raises(ValueError, match=r"agent\.memory is on, but a 'set' network has none"):
        agent_of("iql", groups, network="set", memory=8, window=4)


def test_independent_networks_are_tied_to_their_number():
    assert not agent_of("iql", networks="each").size_invariant
