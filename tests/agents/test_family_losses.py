"""The family of DDPG: losses and updates against those made by hand, and who moves whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from agents.family_agents import TEAM, UNLIKE, agent_of
from agents.probes import (
    batch_of,
    columns_of,
    critics_view,
    follow,
    forward,
    layers_of,
    ordinary,
    step,
    trained,
)

from marl.agents.ddpg import DDPG, FAMILY, DDPGConfig
from marl.learning.exploration import ExplorationConfig
from marl.learning.record import Batch
from marl.testing.check_agent import check_agent

groups = pytest.mark.parametrize("groups", [TEAM, UNLIKE], ids=["one group", "two groups"])


# -------------------------------------------------------------------------------- losses by hand


def losses_by_hand(before, after, columns, g, rows, acted=None):
    """The losses of one update of a group, from the states before and after it: the actor's is
    taken after the critic's step. `columns`: the batch in numpy, {g: [B, N, size]} each; `rows`:
    which member of the family each group is; `acted` who was there, {g: [B, N]}."""
    o, a, r, o2, terminated = columns
    there = acted or {h: np.ones_like(x) for h, x in r.items()}
    a = {h: x * there[h][..., None] for h, x in a.items()}
    joint, each = rows[g].critic == "all", rows[g].networks == "each"

    def network(state, h, name, i):
        return layers_of(state, f"{h}.{name}.", i if rows[h].networks == "each" else 0)

    def value(state, critics, o, a, i):
        seen = critics_view(o, a, g, i, joint, each, np.concatenate)
        return forward(network(state, g, f"{critics}.0", i), seen)[:, 0]

    a2 = {
        h: np.stack(
            [
                np.tanh(forward(network(before, h, "target_actor", i), o2[h][:, i]))
                for i in range(o2[h].shape[1])
            ],
            1,
        )
        for h in o2
    }
    if acted:  # then whose task has ended is gone
        stays = {h: there[h] * (1 - terminated[h]) for h in a2}
        a2 = {h: x * stays[h][..., None] for h, x in a2.items()}
    errors, slopes = [], []
    for i in range(o[g].shape[1]):
        y = r[g][:, i] + 0.9 * (1 - terminated[g][:, i]) * value(
            before, "target_critics", o2, a2, i
        )
        counts = there[g][:, i] > 0
        errors.append(np.square(value(before, "critics", o, a, i) - y)[counts])
        acts = {h: x.copy() for h, x in a.items()}  # the others did what they did
        acts[g][:, i] = np.tanh(forward(network(before, g, "actor", i), o[g][:, i]))
        slopes.append(-value(after, "critics", o, acts, i)[counts])

    def combined(losses):  # of K learners, or of one that learns from everybody
        return sum(x.mean() for x in losses) if each else np.concatenate(losses).mean()

    return combined(errors), combined(slopes)


@groups
@pytest.mark.parametrize("name", FAMILY)
def test_losses_are_those_computed_by_hand(name, groups):
    row = FAMILY[name]
    agent = trained(agent_of(name, groups, tau=0.1, actor_lr=0.05, critic_lr=0.05))
    batch = batch_of(groups, rows=8, draw=agent.draw)
    columns = [{g: x.numpy() for g, x in column.items()} for column in columns_of(batch)]
    if name == "global":  # one body, with everybody's eyes and limbs
        joined = [lambda v: v.reshape(8, 1, -1)] * 5
        joined[2] = lambda v: v.mean(1, keepdims=True)  # reward
        joined[4] = lambda v: v.min(1, keepdims=True)  # over when it is for all
        columns = [
            {g: join(v) for g, v in x.items()} for x, join in zip(columns, joined, strict=True)
        ]
        assert 0 < columns[4]["team"].mean() < 0.5
    before = agent.state_dict()
    result = agent.update(batch)
    after = agent.state_dict()
    for g in groups:
        critic, actor = losses_by_hand(before, after, columns, g, dict.fromkeys(groups, row))
        key = f"{g}." if len(groups) > 1 else ""
        assert float(result[f"{key}critic_loss"]) == pytest.approx(critic, rel=1e-4)
        assert float(result[f"{key}actor_loss"]) == pytest.approx(actor, rel=1e-4)


@groups
@pytest.mark.parametrize("name", [name for name in FAMILY if name != "global"])
def test_agents_that_have_left_are_left_out(name, groups):
    agent = trained(agent_of(name, groups, tau=0.1, actor_lr=0.05, critic_lr=0.05))
    batch = batch_of(groups, rows=8, draw=agent.draw)
    acted = {}
    for number, (g, x) in enumerate([*batch.items()]):
        n = x.reward.shape[1]
        there = ((torch.arange(8)[:, None] + torch.arange(n) + number) % 3 > 0).float()
        x.terminated[there == 0.0] = 1.0
        batch[g], acted[g] = replace(x, present=there), there.numpy()
    columns = [{g: x.numpy() for g, x in column.items()} for column in columns_of(batch)]
    before = agent.state_dict()
    result = agent.update(batch)
    after = agent.state_dict()
    for g in groups:
        rows = dict.fromkeys(groups, FAMILY[name])
        critic, actor = losses_by_hand(before, after, columns, g, rows, acted)
        key = f"{g}." if len(groups) > 1 else ""
        assert float(result[f"{key}critic_loss"]) == pytest.approx(critic, rel=1e-4)
        assert float(result[f"{key}actor_loss"]) == pytest.approx(actor, rel=1e-4)


def test_one_mind_does_nothing_with_bodies_that_have_left():
    """What is stored of them as if they had acted does not matter."""
    batch = batch_of(TEAM, rows=8, draw="steps")["team"]
    acted = ((torch.arange(8)[:, None] + torch.arange(3)) % 3 > 0).float()
    batch.terminated[acted == 0.0] = 1.0
    losses = []
    for there, stored in [(acted, 1.0), (acted, -5.0), (None, -5.0)]:
        action = torch.where(acted[..., None] > 0, batch.action, batch.action * stored)
        given = replace(batch, action=action, present=there)
        result = trained(agent_of("global")).update({"team": given})
        losses.append(float(result["critic_loss"]))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("team", "rivals"), [("maddpg", "ddpg"), ("ddpg", "saddpg"), ("atoc", "maddpg")]
)
def test_losses_of_groups_that_are_not_alike(team, rivals):
    """Each group is what it is, and the joint critics of one see what the other would do."""
    shape = {"hidden": (8,), "tau": 0.1, "actor_lr": 0.05, "critic_lr": 0.05}
    others = {"rivals": DDPGConfig(name=rivals, **shape)}
    agent = trained(DDPG(UNLIKE, DDPGConfig(name=team, **shape), seed=0, others=others))
    batch = batch_of(UNLIKE, rows=8, draw="steps")
    columns = [{g: x.numpy() for g, x in column.items()} for column in columns_of(batch)]
    before = agent.state_dict()
    result = agent.update(batch)
    after = agent.state_dict()
    for g in UNLIKE:
        rows = {"team": FAMILY[team], "rivals": FAMILY[rivals]}
        critic, actor = losses_by_hand(before, after, columns, g, rows)
        assert float(result[f"{g}.critic_loss"]) == pytest.approx(critic, rel=1e-4)
        assert float(result[f"{g}.actor_loss"]) == pytest.approx(actor, rel=1e-4)


@pytest.mark.parametrize("kinds", [("global", "ddpg"), ("maddpg", "atoc"), ("atoc", "global")])
def test_check_agent_of_groups_that_are_not_alike(kinds):
    first, second = (DDPGConfig(name=name, hidden=(8,)) for name in kinds)

    def make():
        return DDPG(UNLIKE, first, ExplorationConfig(), others={"rivals": second})

    check_agent(make, UNLIKE)


@pytest.mark.parametrize("name", ["maddpg", "saddpg", "global"])
def test_critics_see_the_other_group(name):
    """What the rivals saw and did changes what the team's critic thinks."""
    agent = trained(agent_of(name, UNLIKE, critic_lr=0.02))
    state, batch = agent.state_dict(), batch_of(UNLIKE, draw="steps")
    expected = agent.update(batch)["team.value"]
    for column in ("observation", "action"):
        agent.load_state_dict(state)
        rivals = replace(batch["rivals"], **{column: -getattr(batch["rivals"], column)})
        assert agent.update(batch | {"rivals": rivals})["team.value"] != expected


# ------------------------------------------------------------------------- learners made by hand


class Plain:
    """A learner as one writes it for a single agent, with copies of slice k of a learner's nets."""

    def __init__(self, learner, k):
        self.actor, self.target_actor = ordinary(learner.actor, k), ordinary(learner.actor, k)
        self.critics = [ordinary(critic, k) for critic in learner.critics]
        self.target_critics = [ordinary(critic, k) for critic in learner.critics]
        c = learner.config
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), c.actor_lr)
        weights = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(weights, c.critic_lr)

    def networks(self):
        return [self.actor, self.target_actor, *self.critics, *self.target_critics]


def plain_update(learners, batch, c, joint, each, count):
    """`learners` {g: one for each agent, or the same for all}; one loop over agents, as it reads
    in the papers."""
    o, a, r, o2, terminated = columns_of(batch)
    with torch.no_grad():
        acts = {
            g: [learner.target_actor(o2[g][:, i]).tanh() for i, learner in enumerate(own)]
            for g, own in learners.items()
        }
        a2 = {g: torch.stack(own, 1) for g, own in acts.items()}

    def critic_input(o, a, g, i):
        return critics_view(o, a, g, i, joint, each, torch.cat)

    for g, everybody in learners.items():
        for learner in dict.fromkeys(everybody):
            mine = [i for i, other in enumerate(everybody) if other is learner]
            losses = []
            for i in mine:
                with torch.no_grad():
                    x = critic_input(o2, a2, g, i)
                    value = torch.stack([q(x)[:, 0] for q in learner.target_critics]).amin(0)
                    y = r[g][:, i] + c.gamma * (1 - terminated[g][:, i]) * value
                x = critic_input(o, a, g, i)
                losses += [(q(x)[:, 0] - y).square().mean() for q in learner.critics]
            loss = torch.stack(losses).sum() / len(mine)
            step(learner.critic_optimiser, loss, learner.critics, c.gradient_clip)
            if count % c.actor_delay == 0:
                losses = []
                for i in mine:
                    does = {h: x.clone() for h, x in a.items()}
                    output = learner.actor(o[g][:, i])
                    does[g][:, i] = output.tanh()
                    losses.append(-learner.critics[0](critic_input(o, does, g, i)).mean())
                    losses.append((c.action_penalty or 0.0) * output.square().mean())
                loss = torch.stack(losses).sum() / len(mine)
                step(learner.actor_optimiser, loss, [learner.actor], c.gradient_clip)
                follow(learner.target_actor, learner.actor, c.tau)
            for target, source in zip(learner.target_critics, learner.critics, strict=True):
                follow(target, source, c.tau)


OPTIONS = {
    "twin_critics": True,
    "actor_delay": 2,
    "gradient_clip": 0.05,
    "layer_norm": ("actor", "critic"),
    "action_penalty": 0.1,
}


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "options"])
@groups
@pytest.mark.parametrize("name", ["ddpg", "maddpg", "saddpg"])
def test_the_stack_learns_what_separate_learners_do(name, groups, options):
    agent = agent_of(name, groups, tau=0.1, **options)
    row, c = FAMILY[name], agent.config
    learners = {}
    for g, group in groups.items():
        own = agent.learners[g]
        for network in (own.actor, own.critics, own.target_actor, own.target_critics):
            network.double()
        for network in (own.actor, *own.critics):  # outputs start near zero; gradients are to clip
            network.output.weight.data *= 100.0
        for target, source in ((own.target_actor, own.actor), (own.target_critics, own.critics)):
            target.load_state_dict(source.state_dict())
        if row.networks == "each":
            learners[g] = [Plain(own, k) for k in range(len(group))]
        else:
            learners[g] = [Plain(own, 0)] * len(group)
    for count in range(1, 7):
        batch = batch_of(groups, rows=8, seed=count, draw="steps")
        doubled = [[x.double() for x in column.values()] for column in columns_of(batch)]
        batch = {g: Batch(*[column[k] for column in doubled]) for k, g in enumerate(batch)}
        agent.update(batch)
        plain_update(learners, batch, c, row.critic == "all", row.networks == "each", count)
    for g, everybody in learners.items():
        own = agent.learners[g]
        for k, learner in enumerate(dict.fromkeys(everybody)):
            stacked = [own.actor, own.target_actor, *own.critics, *own.target_critics]
            for mine, theirs in zip(stacked, learner.networks(), strict=True):
                expected = theirs.state_dict()
                for key, tensor in ordinary(mine, k).state_dict().items():
                    torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-9)


# ----------------------------------------------------------------------- who moves whom in maddpg


def slices(state, prefix, k):
    return [v[k] for n, v in state.items() if n.startswith(prefix)]


def same(these, others):
    return all(torch.equal(a, b) for a, b in zip(these, others, strict=True))


@pytest.mark.parametrize("informed", range(3))
def test_an_actors_loss_moves_no_other_actor(informed):
    """Only one critic has an opinion; it sees all actions, but only its own agent may follow."""
    agent = agent_of("maddpg")
    learner, batch = agent.learners["team"], batch_of(TEAM, draw="steps")
    others = [i for i in range(3) if i != informed]
    for parameter in [*learner.critics.parameters(), *learner.target_critics.parameters()]:
        parameter.data[others] = 0.0
    batch["team"].reward[:, others] = 0.0
    before = agent.state_dict()
    agent.update(batch)
    after = agent.state_dict()
    for i in range(3):
        stays = same(*(slices(state, "team.actor.", i) for state in (before, after)))
        assert stays == (i != informed)


def gradients(agent, batch, k):
    """Of the actor of agent k, at one update; the agent stays as it was."""
    state = agent.state_dict()
    agent.update(batch)
    found = [p.grad[k].clone() for p in agent.learners["team"].actor.parameters()]
    agent.load_state_dict(state)
    return found


def test_in_an_actors_loss_the_others_do_what_they_did():
    agent = trained(agent_of("maddpg", critic_lr=0.02))
    batch = batch_of(TEAM, draw="steps")
    expected = gradients(agent, batch, 0)
    for parameter in agent.learners["team"].actor.parameters():
        parameter.data[1:] += 0.5  # what the others would do now is another matter
    assert same(gradients(agent, batch, 0), expected)
    batch["team"].action[:, 1] *= -1.0
    assert not same(gradients(agent, batch, 0), expected)
