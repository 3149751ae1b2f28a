"""What the tests of the training loop share: tiny runs and their weights."""

from tiny import TINY

from marl.config.parsing import parse_config, with_settings
from marl.runs.run import Run


def tiny(*settings: str):
    return parse_config(with_settings(TINY, settings))


def weights(name: str) -> bytes:
    return Run(name).weights.read_bytes()
