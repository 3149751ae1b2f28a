"""Commands, in this process and in processes of their own."""

import subprocess
import sys

import forks
import pytest

from marl.cli import main


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    output, errors = capsys.readouterr()
    return stop.value.code, output, errors


def refused(capsys, *arguments: str) -> str:
    status, _, errors = run(capsys, *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert errors.startswith("marl: ")
    return errors


def full_disk(limit: int, *arguments: str) -> subprocess.CompletedProcess:
    """A command whose files may not grow beyond so many bytes, nor those of its own processes."""
    code = (
        "import resource, sys; from marl.cli import main\n"
        "limit = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "main(sys.argv[2:])"
    )
    return forks.run([sys.executable, "-c", code, str(limit), *arguments])
