"""The normaliser: numpy's mean and deviation, directions kept, padding ignored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marl.learning.augmentation import Symmetry
from marl.learning.normalisation import LIMIT, Normaliser
from marl.worlds.spaces import Part

PARTS = (
    Part("self", vectors=1, scalars=1),
    Part("others", 2, vectors=1, scalars=2, masked=True),  # a place, a number, is it there
)
INPUTS = 11
VECTORS = [(0, 1), (3, 4), (7, 8)]
SCALARS = [2, 5, 9]
FLAGS = {3: 6, 4: 6, 5: 6, 7: 10, 8: 10, 9: 10}  # of every number that may be padding


def rows_of(kinds=2, rows=40, padded=0.3, seed=0):
    """Observations on scales of their own, some items not there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(np.arange(INPUTS) - 4.0, 1.0 + np.arange(INPUTS), (kinds, rows, INPUTS))
    for flag in set(FLAGS.values()):
        x[..., flag] = rng.random((kinds, rows)) >= padded
    for column, flag in FLAGS.items():
        x[..., column] *= x[..., flag]
    return torch.from_numpy(x).float()


def observed(batches, kinds=2, parts=PARTS):
    normaliser = Normaliser(kinds, INPUTS, parts)
    for rows in batches:
        normaliser.observe(rows)
    return normaliser


def test_mean_and_variance_are_numpys_over_everything_seen():
    batches = [rows_of(rows=rows, seed=rows) for rows in (1, 7, 30, 200)]
    everything = torch.cat(batches, 1).double().numpy()
    expected = (everything - everything.mean(1, keepdims=True)) / everything.std(1, keepdims=True)
    normal = observed(batches, parts=())(batches[-1])
    assert normal.dtype == torch.float32
    np.testing.assert_allclose(normal, expected[:, -200:], rtol=1e-4, atol=1e-5)


def test_far_from_zero_nothing_is_lost():
    rows = 1e5 + torch.randn(1, 500, INPUTS, generator=torch.Generator().manual_seed(0))
    normal = observed(rows.split(100, 1), kinds=1, parts=())(rows)
    assert normal.mean((0, 1)).abs().max() < 0.01
    assert (normal.std((0, 1)) - 1.0).abs().max() < 0.01


def test_vectors_are_only_scaled_and_both_numbers_alike():
    rows = rows_of()
    normal = observed([rows])(rows)
    for x, y in VECTORS:
        there = rows[..., FLAGS[x]] > 0 if x in FLAGS else torch.ones(rows.shape[:2], dtype=bool)
        for k in range(2):
            seen = rows[k, there[k]][:, [x, y]]
            scale = seen.square().mean().sqrt()
            torch.testing.assert_close(normal[k, there[k]][:, [x, y]], seen / scale)


def test_padding_counts_for_nothing_and_stays_zero():
    rows = rows_of()
    normal = observed([rows])(rows)
    for column in SCALARS:
        for k in range(2):
            there = rows[k, :, FLAGS[column]] > 0 if column in FLAGS else torch.ones(40, dtype=bool)
            seen = rows[k, there, column]
            expected = (seen - seen.mean()) / seen.std(correction=0)
            torch.testing.assert_close(normal[k, there, column], expected, rtol=1e-4, atol=1e-5)
    for column, flag in FLAGS.items():
        missing = rows[..., flag] == 0
        assert missing.any()
        assert (normal[..., column][missing] == 0).all()


def test_what_says_that_an_item_is_there_stays():
    rows = rows_of()
    normal = observed([rows])(rows)
    for flag in set(FLAGS.values()):
        assert torch.equal(normal[..., flag], rows[..., flag])


def test_turned_observations_are_turned_still():
    """All eight symmetries, also where a number is cut off."""
    rows = rows_of(rows=64)
    normaliser, symmetry = observed([rows]), Symmetry(PARTS)
    for extreme in (1.0, 30.0):
        seen = (rows * extreme).transpose(0, 1)  # [B, K, O]
        normal = normaliser(seen.transpose(0, 1)).transpose(0, 1)
        turned = normaliser(symmetry(seen).transpose(0, 1)).transpose(0, 1)
        assert not torch.equal(turned, normal)
        torch.testing.assert_close(turned, symmetry(normal))


def test_kinds_do_not_feel_each_other():
    rows = rows_of()
    both = observed([rows])
    for k in range(2):
        alone = observed([rows[k : k + 1]], kinds=1)
        assert torch.equal(both(rows)[k], alone(rows[k : k + 1])[0])


def test_what_was_never_seen_passes_unchanged():
    rows = rows_of().clamp(-LIMIT, LIMIT)
    assert torch.equal(Normaliser(2, INPUTS, PARTS)(rows), rows)
    nobody = rows.clone()
    nobody[..., 3:] = 0.0
    normal = observed([nobody])(rows)
    assert torch.equal(normal[..., 3:], rows[..., 3:])
    assert not torch.isclose(normal[..., :3], rows[..., :3]).any()


def test_constant_numbers_become_zero_and_surprises_are_limited():
    rows = torch.full((2, 30, INPUTS), 0.7)
    normaliser = observed([rows], parts=())
    assert (normaliser(rows) == 0).all()
    assert normaliser(rows + 100.0) == pytest.approx(LIMIT)


def test_looking_does_not_change_it():
    rows = rows_of()
    normaliser = observed([rows])
    before = {name: tensor.clone() for name, tensor in normaliser.state_dict().items()}
    given = rows.clone()
    normaliser(rows)
    assert torch.equal(given, rows)
    for name, tensor in normaliser.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_stored_state_goes_on():
    one, other = observed([rows_of(seed=1)]), observed([])
    other.load_state_dict(one.state_dict())
    for normaliser in (one, other):
        normaliser.observe(rows_of(seed=2))
    assert torch.equal(one(rows_of()), other(rows_of()))


def test_what_is_known_to_be_large_is_only_divided():
    """Of one part; the other has its statistics. Where all is known, nothing is kept."""
    own, others = PARTS
    mixed = (own, replace(others, sizes=(2.0, 2.0, 4.0, 1.0)))
    batches = [rows_of(seed=seed) for seed in range(3)]
    x = rows_of(seed=9)
    plain, known = observed(batches)(x), observed(batches, parts=mixed)(x)
    torch.testing.assert_close(known[..., :3], plain[..., :3])
    expected = x[..., 3:] / torch.tensor([2.0, 2.0, 4.0, 1.0] * 2)
    torch.testing.assert_close(known[..., 3:], expected.clamp(-LIMIT, LIMIT))
    everything = (Part("all", 1, scalars=INPUTS, sizes=tuple(range(1, INPUTS + 1))),)
    normaliser = observed(batches, parts=everything)
    torch.testing.assert_close(normaliser(x), x / torch.arange(1, INPUTS + 1))
    assert not normaliser.count.any()
