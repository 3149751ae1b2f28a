"""Q-learners: losses, targets and updates against those made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents.probes import forward, layers_of
from agents.q_learners import ROLLOUT, TWO, agent_of, batch_of, rows, trained
from torch import nn

from marl.agents.q_learning import FAMILY

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
