"""Networks with a memory of their own."""

import torch
from torch import Tensor, nn

from marl.nn.layers import StackedLinear


class StackedGRU(nn.Module):
    """K gated recurrent units side by side (Cho et al. 2014, in torch's form)."""

    def __init__(self, stack: int, inputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.enter = StackedLinear(stack, inputs, 3 * size)
        self.again = StackedLinear(stack, size, 3 * size)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """One step: inputs [K, B, inputs] and the hidden state [K, B, size] to the next one."""
        return self._step(self.enter(x), hidden)

    def sequence(self, x: Tensor, hidden: Tensor, keeps: Tensor) -> Tensor:
        """The hidden states after each step, [K, T, B, size], for inputs [K, T, B, inputs] and the
        hidden state [K, B, size] before the first one. `keeps`, [K, T, B, 1]: 1.0, or 0.0 at the
        first step of an episode, which begins with an empty hidden state."""
        entered = self.enter(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
        states = []
        for t in range(x.shape[1]):
            hidden = self._step(entered[:, t], hidden * keeps[:, t])
            states.append(hidden)
        return torch.stack(states, 1)

    def _step(self, entered: Tensor, hidden: Tensor) -> Tensor:
        reset, update, new = entered.chunk(3, -1)
        reset_again, update_again, new_again = self.again(hidden).chunk(3, -1)
        update = (update + update_again).sigmoid()
        new = (new + (reset + reset_again).sigmoid() * new_again).tanh()
        return update * hidden + (1.0 - update) * new
