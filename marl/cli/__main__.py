"""`python -m marl.cli`."""

from marl.cli.main import main

main()
