"""Exploration: statistics of the noise, episodes, schedules, seeds; noise on parameters."""

import numpy as np
import pytest
import torch

from marl.learning.exploration import Exploration, ExplorationConfig
from marl.learning.parameter_noise import ADAPTION, ParameterNoise
from marl.nn.layers import MLP


def noise(seed=0, **settings):
    return Exploration(ExplorationConfig(**settings), torch.Generator().manual_seed(seed))


def walk(exploration, steps, shape=(50, 10, 2)):
    """What the noise adds to actions of zero: [steps, *shape]."""
    zeros = torch.zeros(shape)
    return torch.stack([exploration.disturb("g", zeros) for _ in range(steps)])


def test_ou_settles_at_the_known_variance_and_correlation():
    """x' = (1 - theta) x + sigma n is an AR(1) process: its variance is
    sigma^2 / (1 - (1 - theta)^2), and steps k apart correlate by (1 - theta)^k."""
    theta, sigma = 0.25, 0.1
    steps = walk(noise(kind="ou", theta=theta, sigma=sigma), 230)[30:].flatten(1)
    assert steps.mean().abs() < 0.005
    assert steps.var() == pytest.approx(sigma**2 / (1 - (1 - theta) ** 2), rel=0.03)
    for apart in (1, 3):
        correlation = (steps[:-apart] * steps[apart:]).mean() / steps.var()
        assert correlation == pytest.approx((1 - theta) ** apart, abs=0.02)
    across = np.corrcoef(steps.numpy().T[:20])
    assert np.abs(across - np.eye(20)).max() < 0.5  # every world and agent has its own


def test_ou_starts_at_zero():
    assert walk(noise(kind="ou", sigma=0.1), 1).std() == pytest.approx(0.1, rel=0.1)


def test_gaussian_has_its_deviation_and_no_memory():
    steps = walk(noise(kind="gaussian", sigma=0.2), 50).flatten(1)
    assert steps.std() == pytest.approx(0.2, rel=0.02)
    assert (steps[:-1] * steps[1:]).mean().abs() < 0.002


def test_reset_of_some_worlds_leaves_the_others_alone():
    one, other = (noise(kind="ou", theta=0.1, sigma=0.2) for _ in range(2))
    for exploration in (one, other):
        walk(exploration, 20, (4, 3, 2))
    mask = np.array([True, False, True, False])
    one.reset(mask)
    after, expected = walk(one, 1, (4, 3, 2))[0], walk(other, 1, (4, 3, 2))[0]
    assert torch.equal(after[~mask], expected[~mask])
    assert not torch.isclose(after[mask], expected[mask]).any()
    other.reset(None)
    fresh = noise(kind="ou", theta=0.1, sigma=0.2)
    fresh.load_state_dict({"generator": other.state_dict()["generator"]})
    assert torch.equal(walk(other, 1, (4, 3, 2)), walk(fresh, 1, (4, 3, 2)))


def test_the_scale_falls_in_a_straight_line_then_stays():
    exploration = noise(scale=0.8, final_scale=0.2, anneal=0.5)
    scales = []
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        exploration.anneal(progress)
        scales.append(exploration.scale)
    assert scales == pytest.approx([0.8, 0.5, 0.2, 0.2, 0.2])


def test_an_exponential_scale_falls_by_equal_ratios():
    """The original's, exp(-2 t / T)."""
    end = float(np.exp(-2))
    exploration = noise(schedule="exponential", final_scale=end)
    for progress in (0.0, 0.25, 0.5, 1.0):
        exploration.anneal(progress)
        assert exploration.scale == pytest.approx(np.exp(-2 * progress))
    exploration = noise(schedule="exponential", scale=0.8, final_scale=0.2, anneal=0.5)
    exploration.anneal(0.25)
    assert exploration.scale == pytest.approx(0.4)
    exploration.anneal(0.75)
    assert exploration.scale == pytest.approx(0.2)


@pytest.mark.parametrize("wrong", [{"final_scale": 0.0}, {"scale": 0.0}])
def test_nothing_falls_to_zero_by_equal_ratios(wrong):
    with pytest.raises(ValueError, match="scale and final_scale should be above 0"):
        noise(schedule="exponential", **wrong)


def test_the_scale_multiplies_the_noise():
    full, half = (noise(kind="ou", sigma=0.05, scale=scale) for scale in (1.0, 0.5))
    torch.testing.assert_close(walk(half, 10), 0.5 * walk(full, 10))


@pytest.mark.parametrize("settings", [{"kind": "none"}, {"scale": 0.0}])
def test_no_noise(settings):
    action = torch.full((2, 3, 2), 0.3)
    assert torch.equal(noise(**settings).disturb("g", action), action)


def test_actions_stay_within_bounds():
    exploration = noise(kind="gaussian", sigma=2.0)
    disturbed = exploration.disturb("g", torch.full((50, 10, 2), 0.9))
    assert disturbed.min() == -1
    assert disturbed.max() == 1


@pytest.mark.parametrize("kind", ["ou", "gaussian"])
def test_seeds(kind):
    first = walk(noise(kind=kind, seed=1), 3)
    assert torch.equal(first, walk(noise(kind=kind, seed=1), 3))
    assert not torch.isclose(first, walk(noise(kind=kind, seed=2), 3)).any()


@pytest.mark.parametrize("kind", ["ou", "gaussian"])
def test_a_stored_state_goes_on_bit_for_bit(kind):
    exploration, other = noise(kind=kind), noise(kind=kind, seed=9)
    walk(exploration, 5, (2, 3, 2))
    state = exploration.state_dict()
    expected = walk(exploration, 5, (2, 3, 2))
    other.load_state_dict(state)
    assert torch.equal(walk(other, 5, (2, 3, 2)), expected)


@pytest.mark.parametrize("setting", [{"kind": "oo"}, {"sigma": -1}, {"theta": 1.5}, {"sgma": 1}])
def test_bad_settings_are_refused_by_name(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        ExplorationConfig(**setting)


def test_after_a_full_reset_there_may_be_another_number_of_worlds():
    exploration = noise(kind="ou")
    walk(exploration, 2, (3, 4, 2))
    exploration.reset(None)
    assert walk(exploration, 1, (5, 4, 2)).shape == (1, 5, 4, 2)


# ---------------------------------------------------------------------------- noise on parameters


def actor_of(networks=3, layer_norm=False, hidden=(6, 5), seed=0):
    """A stack of networks that differ visibly, for three numbers seen and two done."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor = MLP(networks, (), 3, 0, 2, hidden, 0, layer_norm)
        for parameter in actor.parameters():
            parameter.data.uniform_(-1.0, 1.0)
    return actor


def parameter_noise(actor, seed=0, scale=1.0, sigma=0.2):
    return ParameterNoise(actor, noise(seed, kind="psne", scale=scale, sigma=sigma))


def seen_by(agents=3, worlds=4, seed=5):
    """f32[N, E, 3]; everybody everywhere sees something else."""
    return torch.randn(agents, worlds, 3, generator=torch.Generator().manual_seed(seed))


def copies_of(disturbed):
    return dict(disturbed.copies.named_parameters())


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("networks", [1, 3])
def test_every_world_and_network_has_a_copy_of_its_own(networks, layer_norm):
    """The same actions as when the copies are applied one by one."""
    actor, seen = actor_of(networks, layer_norm), seen_by()
    disturbed = parameter_noise(actor)
    actions = disturbed.act(seen)
    assert actions.shape == (3, 4, 2)
    alone = actor_of(1, layer_norm)
    for agent in range(3):
        for world in range(4):
            index = world * networks + agent % networks
            copy = {name: p[index : index + 1] for name, p in copies_of(disturbed).items()}
            alone.load_state_dict(copy)
            expected = alone(seen[agent, world][None, None]).tanh()[0, 0]
            torch.testing.assert_close(actions[agent, world], expected)
    assert len(copies_of(disturbed)["output.weight"].unique(dim=0)) == 4 * networks


@pytest.mark.parametrize("networks", [1, 3])
def test_almost_no_parameter_noise_gives_almost_the_actors_actions(networks):
    """Copies are made of the right network."""
    actor, seen = actor_of(networks), seen_by()
    expected = actor(seen.reshape(networks, -1, 3)).tanh().view(3, 4, 2)
    disturbed = parameter_noise(actor)
    disturbed.sigma[:] = 1e-5
    actions = disturbed.act(seen)
    torch.testing.assert_close(actions, expected, atol=1e-3, rtol=0)
    assert not torch.equal(actions, expected)


def test_parameter_noise_has_its_deviation_in_every_network_and_spares_layer_norm():
    actor = actor_of(3, layer_norm=True, hidden=(30,))
    disturbed = parameter_noise(actor)
    disturbed.sigma = torch.tensor([0.05, 0.2, 0.6])
    disturbed.act(seen_by(worlds=50))
    noises = []
    for name, parameter in copies_of(disturbed).items():
        own = dict(actor.named_parameters())[name]
        change = parameter.view(50, *own.shape) - own
        if "norm" in name:
            assert not change.any()
        else:
            noises.append(change.transpose(0, 1).flatten(1))
    changes = torch.cat(noises, 1)
    torch.testing.assert_close(changes.std(1), disturbed.sigma, rtol=0.05, atol=0)
    assert (changes.mean(1).abs() < 0.05 * disturbed.sigma).all()


def test_disturbed_actors_stay_for_an_episode():
    """A reset gives new ones to its worlds only, from what the actor is by then."""
    actor, seen = actor_of(), seen_by()
    disturbed = parameter_noise(actor)
    first = disturbed.act(seen)
    assert torch.equal(disturbed.act(seen), first)
    disturbed.reset(np.zeros(4, bool))
    for parameter in actor.parameters():
        parameter.data += 100.0
    assert torch.equal(disturbed.act(seen), first)
    mask = np.array([False, True, False, True])
    disturbed.reset(mask)
    again = disturbed.act(seen)
    assert torch.equal(again[:, ~mask], first[:, ~mask])
    assert not torch.isclose(again[:, mask], first[:, mask]).all(-1).any()
    for parameter in copies_of(disturbed).values():
        assert (parameter.view(4, 3, -1)[mask] > 90).all()
        assert (parameter.view(4, 3, -1)[~mask] < 10).all()


def test_after_a_full_reset_all_are_new_and_there_may_be_another_number_of_worlds():
    disturbed = parameter_noise(actor_of())
    first = disturbed.act(seen_by())
    disturbed.reset(None)
    assert not torch.isclose(disturbed.act(seen_by()), first).all(-1).any()
    disturbed.reset(None)
    assert disturbed.act(seen_by(worlds=7)).shape == (3, 7, 2)


def test_sigma_grows_where_actions_are_too_close_and_shrinks_where_too_far():
    """In every network of a stack by itself: the first hardly reacts, the second wildly."""
    actor = actor_of(2)
    actor.output.bias.data[0] = 50.0
    disturbed = parameter_noise(actor, sigma=0.1)
    disturbed.sigma[:] = 0.1
    copies = disturbed.act(seen_by(2))
    disturbed.adapt(10.0 * seen_by(2, 64))
    assert disturbed.sigma.tolist() == pytest.approx([0.1 * ADAPTION, 0.1 / ADAPTION])
    assert torch.equal(disturbed.act(seen_by(2)), copies)
    disturbed.adapt(10.0 * seen_by(2, 64))
    assert disturbed.sigma.tolist() == pytest.approx([0.1 * ADAPTION**2, 0.1 / ADAPTION**2])


@pytest.mark.parametrize(("sigma", "scale"), [(0.05, 1.0), (0.2, 1.0), (0.2, 0.5)])
def test_sigma_settles_where_actions_differ_by_what_is_aimed_at(sigma, scale):
    actor, seen = actor_of(2), seen_by(2, 64)
    disturbed = parameter_noise(actor, sigma=sigma, scale=scale)
    sigmas = []
    for _ in range(400):
        disturbed.adapt(seen)
        sigmas.append(disturbed.sigma.clone())
    disturbed.sigma = torch.stack(sigmas[200:]).mean(0)  # it goes up and down around that
    changes = disturbed.act(seen_by(2, 500)) - actor(seen_by(2, 500)).tanh()
    distance = changes.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(distance, torch.full((2,), scale * sigma), rtol=0.4, atol=0)


def test_parameter_noise_is_not_added_to_actions_again():
    action = torch.full((2, 3, 2), 0.3)
    assert torch.equal(noise(kind="psne", sigma=0.5).disturb("g", action), action)


def test_parameter_noise_has_seeds():
    acts = [parameter_noise(actor_of(), seed).act(seen_by()) for seed in (1, 1, 2)]
    assert torch.equal(acts[0], acts[1])
    assert not torch.isclose(acts[0], acts[2]).all(-1).any()


@pytest.mark.parametrize("begun", [False, True])
def test_stored_parameter_noise_goes_on_bit_for_bit(begun):
    one, other = parameter_noise(actor_of(), seed=1), parameter_noise(actor_of(), seed=2)
    if begun:
        one.act(seen_by())
    one.adapt(seen_by())
    other.act(seen_by(worlds=2))
    other.load_state_dict(one.state_dict())
    other._exploration.load_state_dict(one._exploration.state_dict())
    stored = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    for mask in (None, np.array([True, False, False, True])):
        assert torch.equal(one.act(seen_by()), other.act(seen_by()))
        assert torch.equal(one.sigma, other.sigma)
        for disturbed in (one, other):
            disturbed.adapt(seen_by())
            disturbed.reset(mask)
    assert torch.equal(one.act(seen_by()), other.act(seen_by()))
    fresh = parameter_noise(actor_of())
    fresh.load_state_dict(stored)
    assert all(torch.equal(fresh.state_dict()[name], tensor) for name, tensor in stored.items())


def test_epsilon_replaces_choices_with_its_chance_by_any_that_is_legal():
    exploration = noise(kind="epsilon", sigma=0.6, scale=0.5)
    best = torch.full((200, 100), 2)
    chosen = exploration.choose(best, 4)
    assert (chosen != best).float().mean() == pytest.approx(0.3 * 3 / 4, abs=0.01)
    for other in (0, 1, 3):
        assert (chosen == other).float().mean() == pytest.approx(0.3 / 4, abs=0.01)
    legal = torch.tensor([False, True, True, False]).expand(200, 100, 4)
    chosen = exploration.choose(best, 4, legal)
    assert (chosen == 1).float().mean() == pytest.approx(0.3 / 2, abs=0.01)
    assert ((chosen == 1) | (chosen == 2)).all()


@pytest.mark.parametrize("settings", [{"kind": "none"}, {"kind": "epsilon", "scale": 0.0}])
def test_without_a_chance_the_best_choice_stays(settings):
    best = torch.arange(5)
    assert torch.equal(noise(**settings).choose(best, 5), best)


def test_the_chance_follows_the_schedule():
    exploration = noise(kind="epsilon", sigma=1.0, final_scale=0.0, anneal=0.5)
    best = torch.full((10_000,), 0)
    for progress, expected in [(0.0, 0.5), (0.25, 0.25), (0.5, 0.0)]:
        exploration.anneal(progress)
        assert exploration.choose(best, 2).float().mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("settings", [{"sigma": 1.5}, {"final_scale": 10.0}])
def test_a_chance_is_at_most_one(settings):
    with pytest.raises(
        ValueError, match=r"exploration\.sigma times exploration\.scale .* at most 1"
    ):
        noise(**{"kind": "epsilon"} | settings)
    noise(**{"kind": "gaussian"} | settings)
