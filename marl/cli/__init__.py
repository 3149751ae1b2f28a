"""The `marl` command."""

from marl.cli.main import main

__all__ = ["main"]
