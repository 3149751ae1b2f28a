"""Exploration: statistics of the noise, episodes, schedules, seeds."""

import numpy as np
import pytest
import torch

from marl.exploration import Exploration, ExplorationConfig


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
