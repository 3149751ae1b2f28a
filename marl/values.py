"""Numbers from Python code, where NumPy's are as good as Python's."""

from typing import Any

import numpy as np

from marl.errors import UserError

SEEDS = 2**63  # seeds are smaller than this


def plain(value: Any) -> Any:
    """A value with Python's numbers in the place of NumPy's, also in dictionaries, lists and
    tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def whole_number(name: str, value: Any, least: int = 0, most: int = SEEDS - 1) -> int:
    """A whole number within bounds, Python's or NumPy's. Raises UserError, which calls it
    `name`."""
    number = plain(value)
    if type(number) is not int or not least <= number <= most:
        raise UserError(
            f"{name} is {number!r}, but should be a whole number from {least} to {most}"
        )
    return number


def checked_seed(seed: Any) -> int:
    """A seed. Raises UserError if it is none."""
    return whole_number("seed", seed)
