"""Words to whoever waits for a silent piece of work."""

import sys

in_command = False  # a command of marl's runs in this process, not a program or a test


def tell(sentence: str) -> None:
    """Say it on stderr, if a command runs or a person watches."""
    if in_command or (sys.stderr is not None and sys.stderr.isatty()):
        print(sentence, file=sys.stderr, flush=True)
