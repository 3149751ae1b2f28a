"""The `marl` command. Every command is a function with its flags beside it, one file a family.

Imports of torch and numba are inside the commands, so that `marl --help` answers at once.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from marl import notices
from marl.cli import evaluate, files, studies, train
from marl.cli.parser import Parser
from marl.errors import run_command
from marl.version import VERSION


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 some runs of a sweep or another package's world failed, 2
    bad input, 130 interrupted."""
    notices.in_command = arguments is None
    run_command(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    parser = make_parser()
    options = vars(parser.parse_args(arguments))
    command = options.pop("command", None)
    if command is None:
        parser.print_help()
    else:
        command(**options)


def make_parser() -> Parser:
    """Every command with its flags."""
    parser = Parser(
        prog="marl",
        description="Train policies on a handful of agents and run them, unchanged, on thousands.",
    )
    parser.add_argument("--version", action="version", version=f"marl {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, function: Callable, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    train.add_commands(add)
    studies.add_sweep(add)
    studies.add_compare(add)
    evaluate.add_evaluate(add)
    studies.add_scale(add)
    studies.add_crossplay(add)
    evaluate.add_render(add)
    files.add_commands(add)
    train.add_demo(add)
    return parser
