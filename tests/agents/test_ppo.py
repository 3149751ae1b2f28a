"""PPO: losses against numbers by hand, stacks against separate learners, worlds with answers."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from agents.probes import PLANE, forward, layers_of
from tiny import TINY, check_resumes

from marl.agents.ppo import PPO
from marl.agents.ppo_config import FAMILY, PPOConfig
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.learning.exploration import ExplorationConfig
from marl.learning.memory import Memory
from marl.learning.record import Batch
from marl.rollout import collect
from marl.testing import games, probes
from marl.testing.check_agent import check_agent
from marl.testing.probes import group_of
from marl.training.loop import train
from marl.worlds.spaces import Group, Part

TEAM = {"team": group_of(3, 4, 2)}
UNLIKE = TEAM | {"rivals": group_of(2, 3, 1)}
SPEAKS = (Part("move", scalars=3, choice=True), Part("push", scalars=1))
MIXED = {"team": group_of(2, 4, 4, action_parts=SPEAKS)}  # choices and a number
ROWS = pytest.mark.parametrize("name", FAMILY)
NETWORKS = pytest.mark.parametrize("networks", ["one", "each"])
GROUPS = pytest.mark.parametrize("groups", [TEAM, UNLIKE], ids=["one group", "two groups"])
QUICK = {"hidden": (8,), "epochs": 1}


def agent_of(groups=TEAM, seed=0, **settings):
    return PPO(groups, PPOConfig(**QUICK | settings), seed=seed)


def lively(agent):
    """Output layers start near zero; now everything has an effect."""
    with torch.no_grad():
        for learner in agent.learners.values():
            for network in (learner.actor, learner.critic):
                for name, parameter in network.named_parameters():
                    if "output" in name:
                        parameter *= 100.0
    return agent


def rollout_of(agent, groups, steps=5, worlds=4, seed=0, left=False):
    """What an agent did on random numbers: [T, E, N, ...]. World 0 is terminated, world 1 cut off;
    `left`: some agents leave early."""
    random = torch.Generator().manual_seed(seed)
    continues = torch.ones(steps, worlds)
    continues[-1] = continues[2, 0] = continues[3, 1] = 0.0
    batch = {}
    for g, group in groups.items():
        (o,), shape = group.observation_space.shape, (steps, worlds, len(group))
        observation = torch.randn(*shape, o, generator=random)
        following = torch.randn(*shape, o, generator=random)
        following[:-1] = torch.where(
            continues[:-1, :, None, None] > 0, observation[1:], following[:-1]
        )
        terminated = torch.zeros(shape)
        terminated[2, 0] = 1.0
        present = None
        if left:
            present = torch.ones(shape)
            terminated[1, 2, 0] = 1.0
            present[2:, 2, 0] = 0.0
        reward = torch.randn(shape, generator=random)
        batch[g] = Batch(
            observation, torch.zeros(0), reward, following, terminated, present, None, continues
        )
    return acted(agent, batch)


def acted(agent, batch):
    """The batch with what the agent does on its observations."""
    agent.reset()
    done = []
    for t in range(len(next(iter(batch.values())).reward)):
        action = agent.act({g: x.observation[t].numpy() for g, x in batch.items()}, explore=True)
        done.append((action, agent.recorded()))
        ended = next(iter(batch.values())).continues[t] == 0.0
        agent.reset(ended.numpy())
    agent.reset()
    return {
        g: replace(
            x,
            action=torch.tensor(np.stack([action[g] for action, _ in done])),
            added={
                name: torch.tensor(np.stack([recorded[name][g] for _, recorded in done]))
                for name, by_group in done[0][1].items()
                if g in by_group
            },
        )
        for g, x in batch.items()
    }


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


LEGAL = Group(
    ("0", "1"), group_of(2, 7, 4).observation_space, group_of(2, 7, 4).action_space, (), SPEAKS, 3
)


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


# ------------------------------------------------------------------------ worlds with known answers


def learn(world, updates=60, steps=4, **settings):
    """As training does. Returns the agent and the results of its last update."""
    quick = {"hidden": (32,), "actor_lr": 5e-3, "critic_lr": 1e-2, "gamma": 0.5, "epochs": 4}
    agent = PPO(world.groups, PPOConfig(**quick | {"entropy": 0.0} | settings), seed=0)
    sizes = SimpleNamespace(replay_size=1, update_every=16 * steps, num_worlds=16)
    memory = Memory(world.groups, agent, sizes, torch.Generator())
    result = {}
    for turn, (transition, _) in enumerate(
        itertools.islice(collect(world, agent, True), updates * steps)
    ):
        memory.add(transition)
        agent.anneal(turn / updates / steps)
        if batch := memory.sample(0):
            result = agent.update(batch)
    return agent, result


def value(agent, observation, g="agents"):
    learner = agent.learners[g]
    output, _ = learner.critic(torch.full((1, 1, 1, 1), observation))
    return float(learner.value_norm.returns(output.detach()[0]))


def greedy(agent, observation, g="agents"):
    return agent.act({g: np.full((1, 1, 1), observation, np.float32)})[g][0, 0, 0]


@pytest.mark.parametrize(("truncates", "answer"), [(True, 2.0), (False, 1.0)])
def test_probe_a_time_limit_bootstraps_and_a_termination_does_not(truncates, answer):
    agent, _ = learn(probes.constant_reward(truncates))
    assert value(agent, 0.0) == pytest.approx(answer, abs=0.1)


def test_probe_reward_read_from_the_observation():
    agent, _ = learn(probes.reward_in_observation())
    for observation in (-1.0, 1.0):
        assert value(agent, observation) == pytest.approx(observation, abs=0.15)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_probe_reward_a_step_later_is_discounted(gamma):
    agent, _ = learn(probes.reward_a_step_later(), gamma=gamma)
    assert value(agent, 1.0) == pytest.approx(1.0, abs=0.1)
    assert value(agent, 0.0) == pytest.approx(gamma, abs=0.1)


def test_probe_the_action_matters():
    agent, _ = learn(probes.action_matters(), 100, final_lr=0.1)
    assert greedy(agent, 0.0) == pytest.approx(0.5, abs=0.1)


def test_probe_the_action_follows_the_observation():
    agent, _ = learn(probes.action_follows_observation(), 100, final_lr=0.1)
    for observation in (-0.6, 0.0, 0.6):
        assert greedy(agent, observation) == pytest.approx(observation, abs=0.15)


def test_probe_everybody_has_an_answer_of_its_own():
    agent, _ = learn(probes.answers_of_their_own(), 100, networks="each", final_lr=0.1)
    acts = agent.act({"agents": np.zeros((1, 3, 1), np.float32)})["agents"]
    np.testing.assert_allclose(acts[0, :, 0], probes.ANSWERS, atol=0.15)


@ROWS
def test_probe_two_unlike_groups_follow_what_they_see(name):
    world = probes.two_unlike_groups()
    agent, _ = learn(world, 100, name=name, final_lr=0.1)
    observation = world.reset()
    acts = agent.act(observation)
    right = {"one": observation["one"][..., :1], "two": observation["two"] * [1.0, -1.0]}
    for g, act in acts.items():
        assert np.abs(act - right[g]).mean() < 0.15


def test_probe_a_critic_that_sees_all_predicts_what_another_sees():
    """The reward of each is what the other one sees."""
    world = probes.Probe(
        {"agents": (2, 1, 1)},
        lambda t, o, a: {"agents": o["agents"][:, ::-1, 0]},
        lambda rng, t: {"agents": rng.choice([-1.0, 1.0], (16, 2, 1))},
    )
    losses = {name: float(learn(world, name=name)[1]["critic_loss"]) for name in FAMILY}
    assert losses["mappo"] < 0.1 < 0.7 < losses["ippo"]


@NETWORKS
@ROWS
def test_the_climbing_game_is_played_safely(name, networks):
    """Who learns from what the present policies do avoids -30: 5 or 7, and not 11."""
    world = games.matrix_game(games.CLIMBING)
    agent, _ = learn(world, 100, name=name, networks=networks, entropy=0.01)
    row, column = agent.act({"agents": np.zeros((1, 2, 1), np.float32)})["agents"][0].argmax(-1)
    assert games.CLIMBING[row][column] in (5.0, 7.0)


@pytest.mark.parametrize(("memory", "least", "most"), [(0, 0.3, 0.7), (16, 0.99, 1.0)])
def test_only_a_memory_tells_the_cue(memory, least, most):
    world = games.remembered_cue(agents=2)
    agent, _ = learn(world, 60, 8, memory=memory, gamma=0.9, final_lr=0.2)
    rewards = [t.reward["agents"] for t, _ in itertools.islice(collect(world, agent), 40)]
    assert least <= 4 * np.mean(rewards) <= most


# --------------------------------------------------------------------------------- options, checks


EVERYTHING = {
    "epochs": 2,
    "minibatches": 2,
    "average": 0.9,
    "normalise": True,
    "layer_norm": ("actor", "critic"),
    "final_lr": 0.5,
}


@pytest.mark.parametrize("memory", [0, 5])
@NETWORKS
@ROWS
def test_every_row_passes_the_check(name, networks, memory):
    settings = {"name": name, "networks": networks, "memory": memory}
    for groups, more in ((UNLIKE, {}), (MIXED, EVERYTHING)):
        check_agent(lambda groups=groups, more=more: agent_of(groups, **settings, **more), groups)


def test_set_networks_and_symmetries_pass_the_check():
    team = {"team": PLANE["team"]}
    check_agent(lambda: agent_of(team, network="set", width=8, augment=True, minibatches=2), team)
    check_agent(lambda: agent_of(PLANE, name="mappo", augment=True, minibatches=2), PLANE)


@ROWS
def test_observations_and_samples_are_turned_alike(name):
    """A sample that is the velocity stays the velocity, and lengths stay."""
    agent = agent_of(PLANE, name=name, augment=True)
    batch = rollout_of(agent, PLANE)
    for x in batch.values():
        x.added["drawn"].copy_(x.observation[..., :2])
    learner = agent.learners["team"]
    rows = learner.judged(batch["team"], agent.inputs(batch)["team"])
    rows = rows.map(lambda x: x.flatten(1, 2)[:, None])
    order = torch.arange(20)
    part, plain = learner.part(rows, order), rows.map(learner.sequences)
    assert torch.equal(part.drawn, part.observation[..., :2])
    assert not torch.equal(part.drawn, plain.drawn)
    torch.testing.assert_close(part.drawn.norm(dim=-1), plain.drawn.norm(dim=-1))
    lengths = [x.critic_input.square().sum(-1) for x in (part, plain)]
    torch.testing.assert_close(*lengths)
    assert torch.equal(part.critic_input[..., :8], part.observation)
    assert torch.equal(part.advantage, plain.advantage)


def test_greedy_actions_are_the_mean_and_samples_are_clipped_only_for_the_world():
    agent = lively(agent_of(deviation=2.0))
    seen = {"team": np.random.default_rng(0).normal(size=(50, 3, 4)).astype("f4")}
    sampled = agent.act(seen, explore=True)["team"]
    drawn = agent.recorded()["drawn"]["team"]
    assert np.array_equal(sampled, drawn.clip(-1, 1))
    assert (np.abs(drawn) > 1).mean() > 0.3
    calm = agent.act(seen)["team"]
    assert np.array_equal(calm, agent.act(seen)["team"])
    output, _ = agent.learners["team"].actor.network(torch.tensor(seen["team"]).view(1, 1, 150, 4))
    np.testing.assert_allclose(calm, output.detach().view(50, 3, 2).clip(-1, 1), atol=1e-6)


def test_forbidden_choices_are_never_taken():
    agent = agent_of({"team": LEGAL})
    seen = np.random.default_rng(0).normal(size=(90, 2, 7)).astype("f4")
    seen[..., 3:] = [0.0, 1.0, 1.0, 1.0]
    for explore in (True, False):
        acts = agent.act({"team": seen}, explore)["team"]
        assert not acts[..., 0].any()
        assert (acts[..., :3].sum(-1) == 1.0).all()


def test_shared_weights_fit_any_number_of_agents():
    for name, networks in itertools.product(FAMILY, ("one", "each")):
        small, large = (
            agent_of({"team": group_of(n, 4, 2)}, name=name, networks=networks).weights()
            for n in (2, 5)
        )
        fits = all(small[k].shape == x.shape for k, x in large.items())
        assert agent_of(name=name, networks=networks).size_invariant == fits


def test_seeds():
    weights = []
    for seed in (1, 1, 2):
        agent = agent_of(seed=seed, minibatches=2, epochs=2)
        agent.update(rollout_of(agent, TEAM))
        weights.append(agent.weights())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
        assert not torch.equal(tensor, weights[2][name])


# --------------------------------------------------------------------------------------- refusals


SETS = {"team": PLANE["team"]}


@pytest.mark.parametrize(
    ("groups", "settings", "sentence"),
    [
        (PLANE, {"name": "mappo", "network": "set"}, "'set', but the critic of 'mappo' sees"),
        (SETS, {"network": "set", "memory": 4}, "agent.memory is on, but a 'set' network has none"),
        (SETS, {"network": "set", "normalise": True}, "agent.normalise is on, but a 'set' network"),
        (TEAM, {"network": "set"}, "agent.network is 'set', but the world's observations hold no"),
        (TEAM, {"augment": True}, "agent.augment is on, but the world does not say what its vect"),
        (MIXED, {"augment": True}, "agent.augment is on, but moves that are choices cannot be"),
        (PLANE, {"augment": True, "memory": 4}, "agent.augment is on, but the contents of a memo"),
    ],
)
def test_settings_that_do_not_fit_are_refused(groups, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        agent_of(groups, **settings)


@pytest.mark.parametrize("kind", ["gaussian", "ou", "psne", "epsilon"])
def test_the_policy_explores_by_itself(kind):
    with pytest.raises(
        ValueError, match=f"exploration.kind is '{kind}'; 'ippo' has the kinds none"
    ):
        PPO(TEAM, PPOConfig(), ExplorationConfig(kind=kind))


# --------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"name": "ippo", "memory": 4, "normalise": True}, 84),  # in the middle of a rollout
        ({"name": "mappo", "networks": "each", "minibatches": 2}, 160),
    ],
)
def test_stopped_and_resumed_ends_as_uninterrupted(data, monkeypatch, settings, step):
    """Half-full rollouts and hidden states included."""
    tiny = {**TINY, "agent": {"hidden": [8], "average": 0.9, "epochs": 2} | settings}
    tiny["exploration"] = {}
    tiny["training"] = TINY["training"] | {"update_every": 24, "steps": 240, "learning_starts": 0}
    check_resumes(parse_config(tiny), monkeypatch, step)


def test_worlds_that_do_not_fill_a_rollout_are_refused(data):
    tiny = {**TINY, "agent": {"name": "ippo", "hidden": [8]}, "exploration": {}}
    tiny["training"] = TINY["training"] | {"update_every": 10}
    with pytest.raises(UserError, match="update_every is 10, but should be a multiple of"):
        train(parse_config(tiny), "refused")
