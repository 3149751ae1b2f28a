"""The parts of the commands' flags."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from marl.values import SEEDS

POLICY = "a run, a .safetensors file or a built-in policy (see `marl list`)"
WORLD_SETTINGS = (
    "replace a parameter of the world, as world.num_perceived_agents=5, or of the agent, as "
    "agent.rounds=3"
)


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line and no abbreviated flags."""

    def __init__(self, **options) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"marl: {message}; see {self.prog} --help\n")


Add = Callable[[str, Callable, str], argparse.ArgumentParser]
"""Adds a command: its name, the function that is called with its flags, what it does in a line."""


def add_settings(command: argparse.ArgumentParser, text: str) -> None:
    """The flag --set."""
    command.add_argument(
        "--set", dest="settings", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help=text,
    )  # fmt: skip


def add_workers(command: argparse.ArgumentParser, what: str) -> None:
    """The flag --workers."""
    command.add_argument(
        "--workers", type=whole(1), metavar="W", help=f"{what} at a time; default: one a core"
    )


def whole(least: int, most: int = SEEDS - 1) -> Callable[[str], int]:
    """An argument type: whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            up_to = f"{least} or more" if value < least else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} should be a whole number, {up_to}")
        return value

    return parse
