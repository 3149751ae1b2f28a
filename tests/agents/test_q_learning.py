"""Q-learners: losses, targets, options and refusals, against numbers made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from agents.probes import forward, group_of, layers_of
from agents.q_learners import (
    EVERYTHING,
    MEMORY,
    ROLLOUT,
    TEAM,
    TWO,
    agent_of,
    batch_of,
    choosers,
    trained,
)
from torch import nn

from marl.agents.q_learning import FAMILY, QConfig, QLearning
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.testing.check_agent import check_agent
from marl.worlds.spaces import Group, Part

rows = pytest.mark.parametrize("name", FAMILY)
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


# -------------------------------------------------------------------------------- losses by hand


def chosen_by_hand(agent, g, action):
    """The numbers of joint choices."""
    number = 0
    for piece in agent.groups[g].choices:
        number = number * (piece.stop - piece.start) + action[..., piece].argmax(-1)
    return number


def mixed_by_hand(name, state, mixer, values, seen):
    """Values [B, N] and what everybody sees, [B, S] -> [B]."""
    if name == "vdn":
        return values.sum(1)
    net = {k.removeprefix(mixer): x[0].numpy() for k, x in state.items() if k.startswith(mixer)}

    def of_state(part):
        inside = np.maximum(seen @ net[f"{part}.0.weight"] + net[f"{part}.0.bias"], 0)
        return inside @ net[f"{part}.2.weight"] + net[f"{part}.2.bias"]

    first = np.abs(of_state("first")).reshape(len(seen), values.shape[1], -1)
    x = np.einsum("bn,bnm->bm", values, first)
    x = x + seen @ net["first_bias.weight"] + net["first_bias.bias"]
    x = np.where(x > 0, x, np.exp(x) - 1)
    return (x * np.abs(of_state("second"))).sum(1) + of_state("second_bias")[:, 0]


def loss_by_hand(agent, batch, double):
    """Of a step of all agents, {g: [B, N, ...]}; `agent` before the update."""
    name, state = agent.config.name, {k: x.clone() for k, x in agent.state_dict().items()}
    x = {
        g: {k: v.numpy() for k, v in vars(b).items() if torch.is_tensor(v)}
        for g, b in batch.items()
    }
    there = {g: b.get("present", np.ones_like(b["reward"])) for g, b in x.items()}
    stays = {g: there[g] * (1 - b["terminated"]) for g, b in x.items()}
    q, q2 = {}, {}
    for g, b in x.items():
        own, following = [], []
        for i in range(b["reward"].shape[1]):
            k = i if agent.config.networks == "each" else 0
            network, target = (layers_of(state, f"{g}.{n}.", k) for n in ("network", "target"))
            chosen = chosen_by_hand(agent, g, b["action"][:, i])
            own.append(forward(network, b["observation"][:, i])[np.arange(len(chosen)), chosen])
            judged = forward(target, b["next_observation"][:, i])
            best = (forward(network, b["next_observation"][:, i]) if double else judged).argmax(1)
            following.append(judged[np.arange(len(best)), best])
        q[g], q2[g] = np.stack(own, 1), np.stack(following, 1)
    if FAMILY[name] is None:
        losses = {}
        for g, b in x.items():
            y = b["reward"] + 0.9 * (1 - b["terminated"]) * q2[g]
            errors = np.square(q[g] - y) * there[g]
            if agent.config.networks == "each":
                losses[g] = (errors.sum(0) / there[g].sum(0)).sum()
            else:
                losses[g] = errors.sum() / there[g].sum()
        return losses

    def team(values, seen, present, mixer):
        everything = [(seen[g] * present[g][..., None]).reshape(len(seen[g]), -1) for g in x]
        values = np.concatenate([values[g] * present[g] for g in x], 1)
        return mixed_by_hand(name, state, mixer, values, np.concatenate(everything, 1))

    seen, seen2 = ({g: b[k] for g, b in x.items()} for k in ("observation", "next_observation"))
    reward = np.concatenate([b["reward"] * there[g] for g, b in x.items()], 1).mean(1)
    goes_on = np.concatenate([*stays.values()], 1).max(1)
    y = reward + 0.9 * goes_on * team(q2, seen2, stays, "team.all.target_mixer.")
    errors = np.square(team(q, seen, there, "team.all.mixer.") - y)
    counts = np.concatenate([*there.values()], 1).max(1)
    return {"all": (errors * counts).sum() / counts.sum()}


@rows
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_losses_are_those_computed_by_hand(name, double, left):
    agent = trained(agent_of(name, TWO, networks="each", lr=0.05, tau=0.1, double=double))
    batch = batch_of(agent, rows=12, left=left)
    for g, expected in loss_by_hand(agent, batch, double).items():
        result = agent_result(agent, batch)
        key = f"{g}.q_loss" if name == "iql" else "q_loss"
        assert float(result[key]) == pytest.approx(expected, rel=1e-4)


def agent_result(agent, batch):
    """Of an update, which is undone."""
    state = agent.state_dict()
    result = agent.update(batch)
    agent.load_state_dict(state)
    return result


def test_independent_learners_with_one_network_learn_from_everybodys_rows():
    agent = trained(agent_of("iql", TWO, lr=0.05, tau=0.1))
    assert agent.draw == "agents"
    batch = batch_of(agent, rows=12)
    for g, expected in loss_by_hand(agent, batch, double=True).items():
        assert float(agent_result(agent, batch)[f"{g}.q_loss"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_only_the_mean_reward_of_the_team_counts(name):
    agent = trained(agent_of(name, TWO))
    batch = batch_of(agent)
    expected = agent_result(agent, batch)["q_loss"]
    moved = {g: replace(b, reward=b.reward.clone()) for g, b in batch.items()}
    moved["movers"].reward[:, 0] += 1.0
    moved["speakers"].reward[:, 0] -= 1.0
    torch.testing.assert_close(agent_result(agent, moved)["q_loss"], expected)
    moved["speakers"].reward[:, 0] += 1.0
    assert abs(float(agent_result(agent, moved)["q_loss"] - expected)) > 1e-3


# ------------------------------------------------------------------------- learners made by hand


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (1.0, 0.1)])
def test_the_mixer_has_a_learning_rate_of_its_own(progress, share):
    agent = agent_of("qmix", lr=1e-2, mixer_lr=1e-3, final_lr=0.1, gradient_clip=0.0)
    team = agent.teams["all"]
    parts = {"network": agent.learners["team"].network, "mixer": team.mixer}
    before = {k: [x.clone() for x in part.parameters()] for k, part in parts.items()}
    agent.anneal(progress)
    agent.update(batch_of(agent))
    # Adam's first step is the learning rate, whatever the gradient is.
    for name, rate in [("network", 1e-2), ("mixer", 1e-3)]:
        steps = [x - y for x, y in zip(parts[name].parameters(), before[name], strict=True)]
        assert max(float(x.detach().abs().max()) for x in steps) == pytest.approx(
            rate * share, rel=1e-2
        )


def ordinary(stacked, k):
    """Network k of a stack, made of torch's own layers."""
    layers = []
    for layer in [*stacked.network.layers, stacked.network.output]:
        linear = nn.Linear(*layer.weight.shape[1:], dtype=torch.float64)
        linear.weight.data, linear.bias.data = layer.weight[k].T.clone(), layer.bias[k, 0].clone()
        layers += [linear, nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1])


def test_the_stack_learns_what_separate_learners_do():
    agent = agent_of("iql", networks="each", tau=0.1, gradient_clip=0.05, lr=1e-3)
    learner = agent.learners["team"]
    learner.network.double()
    learner.network.network.output.weight.data *= 100.0
    learner.target.double().load_state_dict(learner.network.state_dict())
    plain = [[ordinary(learner.network, k) for _ in range(2)] for k in range(3)]
    optimisers = [torch.optim.Adam(network.parameters(), 1e-3) for network, _ in plain]
    for seed in range(6):
        batch = batch_of(agent, seed=seed)["team"]
        batch = replace(
            batch,
            **{
                k: x.double()
                for k, x in vars(batch).items()
                if torch.is_tensor(x) and k != "action"
            },
        )
        agent.update({"team": batch})
        for k, (network, target) in enumerate(plain):
            with torch.no_grad():
                o2 = batch.next_observation[:, k]
                value = target(o2).gather(1, network(o2).argmax(1, keepdim=True))[:, 0]
                y = batch.reward[:, k] + 0.9 * (1 - batch.terminated[:, k]) * value
            q = network(batch.observation[:, k]).gather(1, batch.action[:, k].argmax(1)[:, None])
            optimisers[k].zero_grad()
            (q[:, 0] - y).square().mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.05)
            optimisers[k].step()
            with torch.no_grad():
                for old, new in zip(target.parameters(), network.parameters(), strict=True):
                    old += 0.1 * (new - old)
    for k, networks in enumerate(plain):
        for mine, theirs in zip((learner.network, learner.target), networks, strict=True):
            expected = theirs.state_dict()
            for key, tensor in ordinary(mine, k).state_dict().items():
                torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------- targets


def changes(before, after, part):
    return [k for k in before if part in k and not torch.equal(before[k], after[k])]


@rows
def test_hard_targets_stay_and_are_then_copies(name):
    agent = agent_of(name, target_every=3)
    for update in range(1, 7):
        before = agent.state_dict()
        agent.update(batch_of(agent, seed=update))
        after = agent.state_dict()
        assert changes(before, after, "network.")
        assert bool(changes(before, after, "target")) == (update % 3 == 0)
        if update % 3 == 0:
            for key in (k for k in after if "target" in k):
                source = key.replace("target_mixer", "mixer").replace("target", "network")
                assert torch.equal(after[key], after[source])


@rows
def test_soft_targets_follow_by_tau(name):
    agent = trained(agent_of(name, tau=0.1))
    before = agent.state_dict()
    agent.update(batch_of(agent))
    after = agent.state_dict()
    targets = [k for k in before if "target" in k]
    assert any("mixer" in k for k in targets) == (name == "qmix")
    for key in targets:
        source = after[key.replace("target_mixer", "mixer").replace("target", "network")]
        torch.testing.assert_close(after[key], 0.9 * before[key] + 0.1 * source)


@rows
def test_without_replay_there_are_no_targets_and_every_row_counts_once_an_epoch(name):
    agent = agent_of(name, **ROLLOUT)
    assert agent.draw == "rollout"
    assert not [k for k in agent.state_dict() if "target" in k]
    team = next(iter(agent.teams.values()))
    steps = {"team": agent.prepare("team", batch_of(agent, rows=5, steps=4)["team"])}
    y = team.targets(steps)
    seen = [y for _, y in team.parts(steps, y, agent.generator)]
    assert [x.shape[-1] for x in seen] == [10] * 4
    for epoch in (seen[:2], seen[2:]):
        drawn = torch.cat(epoch, -1)[:, 0]
        assert torch.equal(drawn.sort(1).values, y.flatten(1).sort(1).values)
    assert not torch.equal(seen[0], seen[2])


def test_returns_go_over_all_steps_of_a_window_and_no_further():
    """With lambda 1 and hardly any bootstrap, the value of a window's first step is its sum."""
    agent = agent_of("iql", window=3, td_lambda=1.0, gamma=0.5)
    batch = batch_of(agent, rows=8)["team"]
    steps = agent.prepare("team", batch)
    for parameter in agent.learners["team"].target.parameters():
        parameter.data.zero_()
    y = agent.teams["team"].targets({"team": steps})
    reward, inside, ended = batch.reward, batch.inside[..., None], batch.terminated
    expected = reward[:, 0] + 0.5 * inside[:, 1] * (1 - ended[:, 0]) * (
        reward[:, 1] + 0.5 * inside[:, 2] * (1 - ended[:, 1]) * reward[:, 2]
    )
    torch.testing.assert_close(y[:, 0], expected.T)
    assert 0 < batch.inside[:, 1].mean() < 1


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
    with pytest.raises(ValueError, match=r"agent\.memory is on, but a 'set' network has none"):
        agent_of("iql", groups, network="set", memory=8, window=4)


def test_independent_networks_are_tied_to_their_number():
    assert not agent_of("iql", networks="each").size_invariant
