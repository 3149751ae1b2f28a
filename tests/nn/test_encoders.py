"""Encoders against PyTorch's own layers, and stacked networks against separate ones."""

import pytest
import torch
from torch import nn

from marl.nn import NETWORKS
from marl.nn.encoders import ENCODERS, StackedConv, encoder_of
from marl.worlds.spaces import Part


def frames(side, count=2):
    return (Part("frames", count=count, scalars=side * side, picture=(1, side, side)),)


def pictures(stack, rows, side, count=2):
    generator = torch.Generator().manual_seed(0)
    shape = (stack, rows, count * side * side)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def separate(network, k):
    """A network of one with the weights of the k-th."""
    return {name: x[k : k + 1] for name, x in network.state_dict().items()}


def conv(layer, k):
    """PyTorch's layer with the weights of the k-th."""
    _, outputs, inputs, side, _ = layer.weight.shape
    own = nn.Conv2d(inputs, outputs, side, layer.stride, layer.padding)
    own.weight.data, own.bias.data = layer.weight.data[k], layer.bias.data[k]
    return own


def test_the_nature_encoder_is_pytorchs_layers():
    encoder, x = encoder_of(3, frames(44, 4), "nature"), pictures(3, 5, 44, 4)
    for k in range(3):
        layers = [layer for c in encoder.convolutions for layer in (conv(c, k), nn.ReLU())]
        expected = nn.Sequential(*layers, nn.Flatten())(x[k].view(5, 4, 44, 44) / 255)
        assert expected.shape[1] == encoder.outputs
        torch.testing.assert_close(encoder(x)[k], expected)


def test_the_residual_encoder_by_hand():
    encoder, x = encoder_of(1, frames(9, 1), "residual"), pictures(1, 2, 9, 1)
    y, blocks = x[0].view(2, 1, 9, 9) / 255, [conv(layer, 0) for layer in encoder.blocks]
    for i, layer in enumerate(encoder.convolutions):
        y = nn.functional.max_pool2d(conv(layer, 0)(y), 3, 2, 1)
        for first, second in (blocks[4 * i : 4 * i + 2], blocks[4 * i + 2 : 4 * i + 4]):
            y = y + second(first(y.relu()).relu())
    expected = y.relu().flatten(1)
    assert encoder.outputs == expected.shape[1] == 32 * 2 * 2
    torch.testing.assert_close(encoder(x)[0], expected)


@pytest.mark.parametrize("kind", ENCODERS)
def test_stacked_networks_are_separate_networks(kind):
    """Outputs and gradients."""
    shape = (frames(36), 2 * 36 * 36, 3, 4, (8,), 0, False, True, kind)
    network, x, extra = NETWORKS["mlp"](3, *shape), pictures(3, 5, 36), torch.rand(3, 5, 3)
    network(x, extra).square().sum().backward()
    for k in range(3):
        alone = NETWORKS["mlp"](1, *shape)
        alone.load_state_dict(separate(network, k))
        y = alone(x[k : k + 1], extra[k : k + 1])
        torch.testing.assert_close(y, network(x, extra)[k : k + 1])
        y.square().sum().backward()
        for own, stacked in zip(alone.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(own.grad[0], stacked.grad[k], rtol=1e-4, atol=1e-7)


def test_one_table_for_all_networks():
    """As a shared batch: expanded, not copied."""
    encoder, x = encoder_of(2, frames(36), "nature"), pictures(1, 3, 36)
    torch.testing.assert_close(encoder(x.expand(2, -1, -1)), encoder(x.repeat(2, 1, 1)))


def test_a_convolution_starts_as_pytorchs():
    layer = StackedConv(4, 3, 50, 5)
    bound = (3 * 5 * 5) ** -0.5
    for parameter in layer.parameters():
        assert -bound <= parameter.min() < -0.9 * bound < 0.9 * bound < parameter.max() <= bound


@pytest.mark.parametrize(("kind", "least"), [("nature", 36), ("residual", 8)])
def test_pictures_that_are_too_small(kind, least):
    assert encoder_of(1, frames(least), kind).outputs > 0
    with pytest.raises(ValueError, match=f"agent.encoder is '{kind}', which needs pictures of"):
        encoder_of(1, frames(least - 1), kind)


def test_vectors_need_none():
    assert encoder_of(1, (Part("place", vectors=1),), "nature") is None
