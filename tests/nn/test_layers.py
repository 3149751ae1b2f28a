"""Networks: stacks equal separate networks; sets have no order, and padding is nothing."""

import pytest
import torch

from marl.nn import NETWORKS
from marl.nn.layers import StackedLayerNorm
from marl.worlds.spaces import Part

ACTIONS = 2


def parts_of(agents, landmarks):
    return (
        Part("self", vectors=1),
        Part("agents", agents, vectors=1, scalars=1, masked=True),
        Part("landmarks", landmarks, vectors=1, scalars=1, masked=True),
    )


def network(kind, stack=1, agents=3, landmarks=4, seed=0, layer_norm=False, pool=True):
    """A network with weights large enough that everything it does shows."""
    parts = parts_of(agents, landmarks)
    inputs = sum(part.size for part in parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = inputs, ACTIONS, 3, (16, 8), 8
        made = NETWORKS[kind](stack, parts, *sizes, layer_norm, pool).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.uniform_(-0.7, 0.7)
    return made


def view(stack, batch, agents, landmarks, seed=1):
    """Own velocity, agents and landmarks, all of them there: [K, B, ...] each."""
    random = torch.Generator().manual_seed(seed)

    def items(count):
        places = torch.randn(stack, batch, count, 2, generator=random, dtype=torch.float64)
        return torch.cat([places, torch.ones_like(places[..., :1])], -1)

    own = torch.randn(stack, batch, 2, generator=random, dtype=torch.float64)
    extra = torch.rand(stack, batch, ACTIONS, generator=random, dtype=torch.float64)
    return own, items(agents), items(landmarks), extra


def joined(own, agents, landmarks):
    return torch.cat([own, agents.flatten(2), landmarks.flatten(2)], -1)


kinds = pytest.mark.parametrize("kind", NETWORKS)
norms = pytest.mark.parametrize("layer_norm", [False, True], ids=["", "layer norm"])


@kinds
@norms
def test_a_stack_of_three_is_three_networks(kind, layer_norm):
    """Forward and gradients; no network feels another's rows."""
    stacked = network(kind, stack=3, layer_norm=layer_norm)
    own, agents, landmarks, extra = view(3, 5, 3, 4)
    observation = joined(own, agents, landmarks)
    output = stacked(observation, extra)
    weight = torch.linspace(0.5, 2.0, output.numel(), dtype=torch.float64).view_as(output)
    (output * weight).sum().backward()
    for k in range(3):
        alone = network(kind, layer_norm=layer_norm)
        alone.load_state_dict({n: w[k : k + 1] for n, w in stacked.state_dict().items()})
        single = alone(observation[k : k + 1], extra[k : k + 1])
        torch.testing.assert_close(single, output[k : k + 1])
        (single * weight[k : k + 1]).sum().backward()
        both = zip(stacked.named_parameters(), alone.parameters(), strict=True)
        for (name, mine), other in both:
            torch.testing.assert_close(mine.grad[k : k + 1], other.grad, msg=name)


@kinds
def test_outputs_have_the_shape_asked_for_and_start_small(kind):
    made = NETWORKS[kind](2, parts_of(3, 4), 23, 0, 3, (16, 8), 8)
    output = made(joined(*view(2, 5, 3, 4)[:3]).float())
    assert output.shape == (2, 5, 3)
    assert 0 < output.abs().max() < 0.2


@kinds
@norms
def test_everything_seen_and_every_weight_matters(kind, layer_norm):
    """Gradient flows to every number of the observation, to the action and to every weight."""
    made = network(kind, layer_norm=layer_norm)
    own, agents, landmarks, extra = view(1, 200, 3, 4)
    observation = joined(own, agents, landmarks).requires_grad_()
    extra.requires_grad_()
    made(observation, extra).sum().backward()
    assert (observation.grad.abs().amax((0, 1)) > 0).all()
    assert (extra.grad.abs().amax((0, 1)) > 0).all()
    for name, parameter in made.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_set_network_does_not_mind_the_order():
    made = network("set")
    own, agents, landmarks, extra = view(1, 50, 3, 4)
    output = made(joined(own, agents, landmarks), extra)
    for other_agents, other_landmarks in [
        (agents[:, :, [2, 0, 1]], landmarks),
        (agents, landmarks[:, :, [3, 1, 0, 2]]),
    ]:
        permuted = made(joined(own, other_agents, other_landmarks), extra)
        torch.testing.assert_close(permuted, output)
    mlp = network("mlp")
    args = joined(own, agents, landmarks), joined(own, agents[:, :, [2, 0, 1]], landmarks)
    assert not torch.allclose(mlp(args[0], extra), mlp(args[1], extra))  # the test can fail


def test_a_set_network_looks_through_padding():
    """The same weights on a wider view whose new places are empty: the same output."""
    narrow, wide = network("set"), network("set", agents=5, landmarks=6)
    wide.load_state_dict(narrow.state_dict())
    own, agents, landmarks, extra = view(1, 50, 3, 4)
    padding = torch.zeros(1, 50, 2, 3, dtype=torch.float64)
    padded = [torch.cat([items, padding], 2) for items in (agents, landmarks)]
    expected = narrow(joined(own, agents, landmarks), extra)
    torch.testing.assert_close(wide(joined(own, *padded), extra), expected)
    padded[1][:, :, 4] = landmarks.new_tensor([0.1, 0.1, 1.0])
    seen = wide(joined(own, *padded), extra)
    assert not torch.allclose(seen, expected)  # and an item that is there counts


def test_without_the_maximum_only_targets_that_are_picked_count():
    """With attention that picks one target a head, one target more changes nothing where no head
    picks it. The maximum over all targets often feels it there, too."""
    own, agents, landmarks, extra = view(1, 200, 3, 5)
    unchanged = {}
    for pool in (True, False):
        narrow, wide = (network("set", landmarks=n, pool=pool) for n in (4, 5))
        narrow.scores.weight.data *= 1e4
        wide.load_state_dict(narrow.state_dict())
        few = narrow(joined(own, agents, landmarks[:, :, :4]), extra)
        more = wide(joined(own, agents, landmarks), extra)
        unchanged[pool] = int((few - more).abs().amax(-1).lt(1e-9).sum())
    assert unchanged[False] > 2 * unchanged[True], unchanged


def test_a_set_network_acts_without_anybody_in_view():
    for agents, landmarks in [(0, 4), (3, 4)]:
        own, others, targets, extra = view(1, 5, agents, landmarks)
        made = network("set", agents=agents, landmarks=landmarks)
        for a, b in [(others, targets), (0 * others, targets), (0 * others, 0 * targets)]:
            observation = joined(own, a, b).requires_grad_()
            output = made(observation, extra)
            output.sum().backward()
            assert torch.isfinite(output).all()
            assert torch.isfinite(observation.grad).all()


def test_a_set_network_needs_sets():
    with pytest.raises(ValueError, match=r"agent\.network is 'set'.*use 'mlp'"):
        NETWORKS["set"](1, (Part("own", vectors=2),), 4, 0, 2, (8,), 8)


def test_stacked_layer_norms_are_torchs_own():
    """Forward and gradients."""
    random = torch.Generator().manual_seed(0)
    stacked = StackedLayerNorm(3, 6)
    for parameter in stacked.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    x = (5.0 + torch.randn(3, 7, 6, generator=random)).requires_grad_()
    output = stacked(x)
    weight = torch.randn(output.shape, generator=random)
    (output * weight).sum().backward()
    for k in range(3):
        alone = torch.nn.LayerNorm(6)
        alone.weight.data, alone.bias.data = stacked.weight.data[k, 0], stacked.bias.data[k, 0]
        single = x.detach()[k].requires_grad_()
        torch.testing.assert_close(alone(single), output[k])
        (alone(single) * weight[k]).sum().backward()
        torch.testing.assert_close(single.grad, x.grad[k])
        torch.testing.assert_close(alone.weight.grad, stacked.weight.grad[k, 0])
        torch.testing.assert_close(alone.bias.grad, stacked.bias.grad[k, 0])


def test_layer_norm_stands_behind_every_hidden_layer():
    """Scaling and shifting what a hidden layer gives out changes nothing behind it."""
    made = NETWORKS["mlp"](2, (), 4, 0, 3, (16, 8), 0, layer_norm=True)
    x = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    expected = made(x)
    for layer in made.layers:
        layer.weight.data *= 3.0
        layer.bias.data = 3.0 * layer.bias.data + 2.0
        torch.testing.assert_close(made(x), expected, rtol=1e-3, atol=1e-5)
    plain = NETWORKS["mlp"](2, (), 4, 0, 3, (16, 8), 0)
    assert not any("norm" in name for name, _ in plain.named_parameters())
