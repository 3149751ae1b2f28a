import signal
import warnings

import pytest

from marl.errors import PolicyWarning, run_command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_with_a_word(number, capsys, terminal):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: signal.raise_signal(number))
    assert end.value.code == 130
    assert capsys.readouterr().err == "Interrupted\n"
    assert signal.getsignal(number) == before


def test_a_command_behind_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as end:
            run_command(lambda: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert end.value.code == 0


def test_a_warning_is_said_once_whatever_becomes_of_the_filters(capsys):
    def command():
        for sentence in ("one", "one", "other"):
            with warnings.catch_warnings():  # Python forgets what it has said
                warnings.simplefilter("always")
                warnings.warn(sentence, PolicyWarning, stacklevel=1)

    with warnings.catch_warnings(), pytest.raises(SystemExit):
        run_command(command)
    assert capsys.readouterr().err.splitlines() == [
        "marl: warning: one",
        "marl: warning: other",
    ]
