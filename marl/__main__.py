"""`python -m marl`."""

from marl.cli.main import main

main()
