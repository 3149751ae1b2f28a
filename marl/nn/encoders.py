"""Encoders: from pictures to features, for K stacked networks.

An encoder maps the bytes of pictures, [K, B, C H W], to [K, B, outputs]. Within it the pictures of
all K are channels of one tensor, [B, K C, H, W], and a convolution has a group of channels for each
network. Values are divided by 255.
"""

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marl.worlds.spaces import Part


class StackedConv(nn.Module):
    """K convolutions side by side: [B, K inputs, H, W] -> [B, K outputs, H', W']."""

    def __init__(
        self, stack: int, inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs * side * side)  # PyTorch's own initialisation
        shape = (stack, outputs, inputs, side, side)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(stack, outputs).uniform_(-bound, bound))
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=len(self.weight))


class Encoder(nn.Module):
    """Layers from pictures of this shape (channels, height, width) to features."""

    least: ClassVar[int]  # pixels: the smallest height and width

    def __init__(self, shape: tuple[int, int, int], channels: int) -> None:
        """`channels`: of the last layer, for each network."""
        super().__init__()
        self._shape = shape
        height, width = map(self.side, shape[1:])
        self.outputs = channels * height * width

    @classmethod
    def side(cls, pixels: int) -> int:
        """The height or width after all layers."""
        raise NotImplementedError

    def layers(self, x: Tensor) -> Tensor:
        """[B, K C, H, W] -> [B, K channels, H', W']."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        pictures = x.unflatten(-1, self._shape).transpose(0, 1).flatten(1, 2)
        features = F.relu(self.layers(pictures.float() / 255.0))
        return features.unflatten(1, (len(x), -1)).transpose(0, 1).flatten(2)


class NatureEncoder(Encoder):
    """The three convolutions of Mnih et al. 2015."""

    least = 36
    LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, side, stride

    def __init__(self, stack: int, shape: tuple[int, int, int]) -> None:
        super().__init__(shape, self.LAYERS[-1][0])
        inputs = [shape[0], *[channels for channels, _, _ in self.LAYERS]]
        self.convolutions = nn.ModuleList(
            StackedConv(stack, before, *layer)
            for before, layer in zip(inputs, self.LAYERS, strict=False)
        )

    @classmethod
    def side(cls, pixels: int) -> int:
        for _, side, stride in cls.LAYERS:
            pixels = (pixels - side) // stride + 1
        return pixels

    def layers(self, x: Tensor) -> Tensor:
        first, *others = self.convolutions
        x = first(x)
        for layer in others:
            x = layer(F.relu(x))
        return x


class ResidualEncoder(Encoder):
    """The small residual network of Espeholt et al. 2018 (1802.01561, figure 3): three times a
    convolution, a maximum that halves height and width, and two residual blocks."""

    least = 8
    CHANNELS = (16, 32, 32)

    def __init__(self, stack: int, shape: tuple[int, int, int]) -> None:
        super().__init__(shape, self.CHANNELS[-1])
        self.convolutions = nn.ModuleList(
            StackedConv(stack, before, channels, 3, padding=1)
            for before, channels in itertools.pairwise([shape[0], *self.CHANNELS])
        )
        self.blocks = nn.ModuleList(
            StackedConv(stack, channels, channels, 3, padding=1)
            for channels in self.CHANNELS
            for _ in range(4)  # two blocks of two layers
        )

    @classmethod
    def side(cls, pixels: int) -> int:
        for _ in cls.CHANNELS:
            pixels = (pixels + 1) // 2
        return pixels

    def layers(self, x: Tensor) -> Tensor:
        blocks = iter(self.blocks)
        for convolution in self.convolutions:
            x = F.max_pool2d(convolution(x), 3, 2, 1)
            for _ in range(2):
                first, second = next(blocks), next(blocks)
                x = x + second(F.relu(first(F.relu(x))))
        return x


ENCODERS = {"nature": NatureEncoder, "residual": ResidualEncoder}
"""The values of `agent.encoder` in a config."""


def encoder_of(stack: int, parts: Sequence[Part], kind: str) -> Encoder | None:
    """The encoder of observations with these parts; None if they are vectors. Raises ValueError if
    pictures are too small."""
    for part in parts:
        if part.picture:
            channels, height, width = part.picture
            least = ENCODERS[kind].least
            if min(height, width) < least:
                raise ValueError(
                    f"agent.encoder is {kind!r}, which needs pictures of {least} x {least} pixels "
                    f"or more, but these have {height} x {width}"
                )
            return ENCODERS[kind](stack, (part.count * channels, height, width))
    return None
