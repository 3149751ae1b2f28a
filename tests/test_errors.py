import signal

import pytest

from marl.errors import run_command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_command_with_a_word(number, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: signal.raise_signal(number))
    assert end.value.code == 130
    assert capsys.readouterr().err == "Interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before
