"""How much memory the config in a foreign file may ask for."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from marl.errors import UserError

SPARE = 256_000_000  # bytes: critics, which are not in a file of weights, may be larger than actors
TIMES = 16  # as large as the file
MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full)


class Budget(TorchFunctionMode):
    """In this block, tensors that are out of all proportion to the weights in a file are refused
    before they are made: networks have the sizes that the config in its header names. Raises
    UserError."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._asked = path, 0
        self._allowed = SPARE + TIMES * path.stat().st_size

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in MAKERS and args:
            shape = args[0] if isinstance(args[0], tuple | list) else args
            self._asked += 4 * math.prod(int(size) for size in shape)
            if self._asked > self._allowed:
                raise UserError(
                    f"{self._path} holds {self._path.stat().st_size:,} bytes of weights, but its "
                    f"config asks for networks of {self._asked:,} bytes or more"
                )
        return func(*args, **(kwargs or {}))
