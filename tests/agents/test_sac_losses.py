"""Soft actor-critic: losses, temperature and updates against those made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from agents import probes
from agents.probes import columns_of, forward, layers_of, ordinary, step
from agents.sac_agents import TEAM, UNLIKE, agent_of, batch_of, every_row, names, trained
from torch import nn
from torch.nn import functional as F

from marl.agents.sac import CRITICS
from marl.learning.record import Batch

TABLE = np.array([[m, 3 + s] for m in range(3) for s in range(2)])  # the ones of joint choices


# --------------------------------------------------------------------------------- losses by hand


def policy_by_hand(output, noise, choices):
    """Action [B, A], chances and their logarithms, [B, C], in numpy."""
    if choices:
        shifted = output - output.max(1, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        drawn = TABLE[(log - np.log(noise)).argmax(1)]
        return np.eye(5)[drawn].sum(1), np.exp(log), log
    mean, log_deviation = np.split(output, 2, axis=1)
    u = mean + np.exp(log_deviation) * noise
    log = -0.5 * noise**2 - 0.5 * np.log(2 * np.pi) - log_deviation - np.log(1 - np.tanh(u) ** 2)
    return np.tanh(u), np.ones((len(u), 1)), log.sum(1, keepdims=True)


class Noise:
    """The draws of the next update, {group: [N, B, size]}, of the next step and of this one."""

    def __init__(self, agent, batch):
        random = torch.Generator()
        random.set_state(agent.generator.get_state())

        def draws(g):
            shape, dtype = batch[g].reward.T.shape, batch[g].reward.dtype
            if agent.groups[g].choices:
                return torch.empty(*shape, 6, dtype=dtype).exponential_(generator=random).numpy()
            return torch.randn(*shape, 2, generator=random, dtype=dtype).numpy()

        self.next = {g: draws(g) for g in batch}
        self.now = {g: draws(g) for g in batch}


def losses_by_hand(agent, before, after, batch, g, noise):
    """Losses of the critics, of the actor (after the critics' step), and the entropy, of a group.
    Without `present`, every row counts."""
    joint, each = CRITICS[agent.config.name] == "all", agent.config.networks == "each"
    o, a, r, o2, terminated = (
        {h: x.numpy().astype(float) for h, x in column.items()} for column in columns_of(batch)
    )
    there = {
        h: np.ones_like(r[h]) if x.present is None else x.present.numpy() for h, x in batch.items()
    }
    a = {h: x * there[h][..., None] for h, x in a.items()}
    alpha = 0.3

    def network(state, h, name, i):
        return layers_of(state, f"{h}.{name}.", i if each else 0)

    def drawn(h, i, seen, noise):
        output = forward(network(before, h, "actor", i), seen[h][:, i])
        return policy_by_hand(output, noise[h][i], agent.groups[h].choices)

    def values(state, critics, o, a, i):
        """The smaller of both critics' values of agent i, [B, C]."""
        row = probes.critics_view(o, a, g, i, joint, each, np.concatenate)
        if agent.groups[g].choices:  # the own action is no input
            at = row.shape[1] - sum(
                x.shape[2] * (x.shape[1] if joint else h == g) for h, x in a.items()
            )
            row = np.delete(row, slice(at, at + 5), 1)
        return [forward(network(state, g, f"{critics}.{k}", i), row) for k in (0, 1)]

    def of_action(q, i):
        if not agent.groups[g].choices:
            return q[:, 0]
        number = 2 * a[g][:, i, :3].argmax(1) + a[g][:, i, 3:].argmax(1)
        return q[np.arange(len(q)), number]

    n = {h: x.shape[1] for h, x in r.items()}
    following = {h: [drawn(h, i, o2, noise.next) for i in range(n[h])] for h in o}
    a2 = {h: np.stack([x[0] for x in following[h]], 1) for h in o}
    a2 = {h: x * (there[h] * (1 - terminated[h]))[..., None] for h, x in a2.items()}
    if all(x.present is None for x in batch.values()):
        a2 = {h: np.stack([x[0] for x in following[h]], 1) for h in o}
    critic, actor, entropy = [], [], []
    for i in range(n[g]):
        counts = there[g][:, i] > 0
        _, chance, log = following[g][i]
        q = np.minimum(*values(before, "target_critics", o2, a2, i))
        soft = (chance * (q - alpha * log)).sum(1)
        y = 0.5 * r[g][:, i] + 0.9 * (1 - terminated[g][:, i]) * soft
        both = values(before, "critics", o, a, i)
        critic.append(sum(np.square(of_action(q, i) - y)[counts] for q in both))
        mine, chance, log = drawn(g, i, o, noise.now)
        does = {h: x.copy() for h, x in a.items()}  # the others do what they did
        does[g][:, i] = mine
        q = np.minimum(*values(after, "critics", o, does, i))
        actor.append((chance * (alpha * log - q)).sum(1)[counts])
        entropy.append(-(chance * log).sum(1)[counts])

    def combined(losses, together):
        if each:
            return together([x.mean() for x in losses])
        return np.concatenate(losses).mean()

    return combined(critic, sum), combined(actor, sum), combined(entropy, np.mean)


def check_losses(agent, batch):
    noise, before = Noise(agent, batch), agent.state_dict()
    result, after = agent.update(batch), agent.state_dict()
    for g in agent.groups:
        critic, actor, entropy = losses_by_hand(agent, before, after, batch, g, noise)
        assert float(result[f"{g}.critic_loss"]) == pytest.approx(critic, rel=1e-4)
        assert float(result[f"{g}.actor_loss"]) == pytest.approx(actor, rel=1e-4)
        assert float(result[f"{g}.entropy"]) == pytest.approx(entropy, rel=1e-4)


QUICK = {"tau": 0.1, "actor_lr": 0.03, "critic_lr": 0.03, "temperature": 0.3, "reward_scale": 0.5}


@every_row
@names
def test_losses_are_those_computed_by_hand(name, networks):
    """The team chooses, the rivals act with numbers."""
    agent = trained(agent_of(name, networks, **QUICK))
    check_losses(agent, batch_of(UNLIKE, draw=agent.draw))


@every_row
@names
def test_agents_that_have_left_are_left_out(name, networks):
    agent = trained(agent_of(name, networks, **QUICK))
    batch = batch_of(UNLIKE, draw=agent.draw)
    for number, (g, x) in enumerate([*batch.items()]):
        n = x.reward.shape[1]
        there = ((torch.arange(8)[:, None] + torch.arange(n) + number) % 3 > 0).float()
        x.terminated[there == 0.0] = 1.0
        batch[g] = replace(x, present=there)
    check_losses(agent, batch)


@names
def test_the_rows_of_agents_that_have_left_change_nothing(name):
    batch = batch_of(TEAM)["team"]
    there = ((torch.arange(8)[:, None] + torch.arange(3)) % 3 > 0).float()
    batch.terminated[there == 0.0] = 1.0
    states = []
    for garbage in (0.0, 50.0):
        gone = there == 0.0
        reward = torch.where(gone, batch.reward + garbage, batch.reward)
        action = torch.where(gone[..., None], batch.action.flip(-1) * garbage, batch.action)
        agent = trained(agent_of(name, groups=TEAM))
        agent.update({"team": replace(batch, reward=reward, action=action, present=there)})
        states.append(agent.state_dict())
    assert all(torch.equal(x, states[1][k]) for k, x in states[0].items())


@every_row
def test_the_temperatures_loss_is_the_one_computed_by_hand(networks):
    """log alpha (entropy - target), whose slope is entropy - target: the mean over the rows, for
    each network."""
    agent = trained(agent_of("masac", networks, target_entropy=0.5))
    batch = batch_of(UNLIKE, draw=agent.draw)
    agent.update(batch)
    for g, largest in [("team", math.log(6)), ("rivals", 2.0)]:
        temperature, learner = agent.learners[g].temperature, agent.learners[g]
        assert temperature.log.shape[0] == (len(UNLIKE[g]) if networks == "each" else 1)
        one = trained(agent_of("masac", networks, target_entropy=0.5))
        entropy = one.update(batch)[f"{g}.entropy"]  # the mean over the networks
        slope = float(learner.temperature.log.grad.mean())
        assert slope == pytest.approx(float(entropy) - 0.5 * largest, abs=1e-5)


# ------------------------------------------------------------------------- learners made by hand


class Plain:
    """A learner as one writes it for a single agent, with copies of slice k of a learner's nets."""

    def __init__(self, learner, k):
        self.actor = ordinary(learner.actor, k)
        self.critics = [ordinary(critic, k) for critic in learner.critics]
        self.target_critics = [ordinary(critic, k) for critic in learner.critics]
        self.log = nn.Parameter(learner.temperature.log[k, 0, 0].detach().clone())
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), 1e-3)
        weights = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(weights, 1e-3)
        self.temperature_optimiser = torch.optim.Adam([self.log], 1e-3)

    def policy(self, o, noise, choices):
        output = self.actor(o)
        if choices:
            log = output.log_softmax(-1)
            drawn = F.one_hot((log - noise.log()).argmax(-1), 6).double()
            ones = torch.from_numpy(np.eye(5)[TABLE].sum(1))
            return drawn @ ones, log.exp(), log
        mean, log_deviation = output.chunk(2, -1)
        u = mean + log_deviation.exp() * noise
        log = -0.5 * noise.square() - 0.5 * math.log(2 * math.pi) - log_deviation
        log = log - (1 - u.tanh().square()).log()
        return u.tanh(), torch.ones(len(u), 1), log.sum(-1, keepdim=True)


def plain_update(learners, agent, batch, noise):
    """`learners` {g: one for each agent, or the same for all}; one loop over agents."""
    joint, each = CRITICS[agent.config.name] == "all", agent.config.networks == "each"
    o, a, r, o2, terminated = columns_of(batch)
    of_next, of_now = (
        {g: torch.from_numpy(x).double() for g, x in draws.items()}
        for draws in (noise.next, noise.now)
    )

    def values(critics, o, a, g, i):
        row = probes.critics_view(o, a, g, i, joint, each, torch.cat)
        if agent.groups[g].choices:
            looks = sum(x.shape[2] * (x.shape[1] if joint else h == g) for h, x in a.items())
            at = row.shape[1] - looks
            row = torch.cat([row[:, :at], row[:, at + 5 :]], 1)
        return torch.stack([q(row) for q in critics])

    with torch.no_grad():
        following = {
            g: [
                x.policy(o2[g][:, i], of_next[g][i], agent.groups[g].choices)
                for i, x in enumerate(own)
            ]
            for g, own in learners.items()
        }
        a2 = {g: torch.stack([x[0] for x in own], 1) for g, own in following.items()}
    for g, everybody in learners.items():
        choices = agent.groups[g].choices
        for learner in dict.fromkeys(everybody):
            mine = [i for i, other in enumerate(everybody) if other is learner]
            alpha, losses = learner.log.detach().exp(), []
            for i in mine:
                with torch.no_grad():
                    _, chance, log = following[g][i]
                    q = values(learner.target_critics, o2, a2, g, i).amin(0) - alpha * log
                    y = 0.5 * r[g][:, i] + 0.9 * (1 - terminated[g][:, i]) * (chance * q).sum(1)
                q = values(learner.critics, o, a, g, i)
                if choices:
                    number = 2 * a[g][:, i, :3].argmax(1) + a[g][:, i, 3:].argmax(1)
                    q = q.gather(2, number.expand(2, -1)[..., None])
                losses.append((q[..., 0] - y).square().mean(1).sum())
            step(learner.critic_optimiser, torch.stack(losses).mean(), learner.critics, 0.5)
            losses, missing = [], []
            target = 0.2 * math.log(6) if choices else -2.0
            for i in mine:
                action, chance, log = learner.policy(o[g][:, i], of_now[g][i], choices)
                does = {h: x.clone() for h, x in a.items()}
                does[g][:, i] = action
                q = values(learner.critics, o, does, g, i).amin(0)
                losses.append((chance * (alpha * log - q)).sum(1).mean())
                missing.append(-(chance * log).sum(1).mean().detach() - target)
            step(learner.actor_optimiser, torch.stack(losses).mean(), [learner.actor], 0.5)
            loss = learner.log * torch.stack(missing).mean()
            step(learner.temperature_optimiser, loss, [nn.ParameterList([learner.log])], 0.5)
            for target, source in zip(learner.target_critics, learner.critics, strict=True):
                probes.follow(target, source, 0.1)


@every_row
@names
def test_the_stack_learns_what_separate_learners_do(name, networks):
    agent = agent_of(name, networks, tau=0.1, gradient_clip=0.5, reward_scale=0.5)
    agent.draw = "steps"
    learners = {}
    for g, group in UNLIKE.items():
        own = agent.learners[g]
        for network in (own.actor, own.critics, own.target_critics, own.temperature):
            network.double()
        for network in (own.actor, *own.critics):  # outputs start near zero; gradients are to clip
            network.output.weight.data *= 100.0
        own.target_critics.load_state_dict(own.critics.state_dict())
        count = len(group) if networks == "each" else 1
        made = [Plain(own, k) for k in range(count)]
        learners[g] = made if networks == "each" else made * len(group)
    for count in range(6):
        batch = batch_of(UNLIKE, seed=count)
        doubled = [[x.double() for x in column.values()] for column in columns_of(batch)]
        batch = {g: Batch(*[column[k] for column in doubled]) for k, g in enumerate(batch)}
        noise = Noise(agent, batch)
        agent.update(batch)
        plain_update(learners, agent, batch, noise)
    for g, everybody in learners.items():
        own = agent.learners[g]
        for k, learner in enumerate(dict.fromkeys(everybody)):
            torch.testing.assert_close(own.temperature.log[k, 0, 0], learner.log.data)
            stacked = [own.actor, *own.critics, *own.target_critics]
            theirs = [learner.actor, *learner.critics, *learner.target_critics]
            for mine, other in zip(stacked, theirs, strict=True):
                expected = other.state_dict()
                for key, tensor in ordinary(mine, k).state_dict().items():
                    torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-7)
