"""Means of named numbers, kept as sums: a run that was resumed has those of one that was not."""

from typing import Any

import numpy as np


class Means:
    """Means of everything that was added since the last `clear`."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}  # of the numbers, and how many there were

    def add(self, name: str, values: Any) -> None:
        """Add an array or a number; an empty array keeps a place for the name."""
        numbers = np.asarray(values)
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + float(numbers.sum(dtype=np.float64)), count + numbers.size

    def by_name(self) -> dict[str, float]:
        """{name: mean}, in the order in which the names came; without those that had no number."""
        return {name: total / count for name, (total, count) in self._sums.items() if count}

    def clear(self) -> None:
        """Forget everything."""
        self._sums = {}

    def state(self) -> list[tuple[str, float, int]]:
        """What `load` continues from, exactly, also after a detour through JSON."""
        return [(name, total, count) for name, (total, count) in self._sums.items()]

    def load(self, state: list) -> None:
        """Continue from the result of `state`. Raises ValueError or TypeError for anything else."""
        self._sums = {str(name): (float(total), int(count)) for name, total, count in state}
