"""Files at places that are no regular files: devices, pipes and links stay what they are."""

import json
import os
import stat
import threading

import numpy as np
import pytest
from shell import refused, run

from marl.rendering import movies
from marl.runs.files import whole_file, write_json
from marl.studies.log_table import export

FRAME = np.zeros((8, 8, 3), np.uint8)


def write(path, text="new"):
    with whole_file(path) as partial:
        partial.write_text(text)


def write_all_kinds(path):
    """Each of the writers of files that users name."""
    yield lambda: write(path), b"new"
    yield lambda: write_json(path, [1]), b"[\n  1\n]\n"
    csv = path.with_suffix(".csv")
    yield lambda: export([{"a": 1}], csv), b"a\r\n1\r\n"
    gif = path.with_suffix(".gif")
    yield lambda: movies.save([FRAME], gif), b"GIF8"


@pytest.fixture
def null(tmp_path):
    """A device of its own like /dev/null, so that a fault can do no harm."""
    path = tmp_path / "null"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        path.open("w").close()
    except OSError:
        pytest.skip("only root makes devices")
    return path


def test_a_device_stays_a_device(null):
    for suffix in (".csv", ".gif"):
        os.link(null, null.with_suffix(suffix))
    for kind, _ in write_all_kinds(null):
        kind()
    assert {x.name for x in null.parent.iterdir()} == {"null", "null.csv", "null.gif"}
    assert all(stat.S_ISCHR(os.stat(x).st_mode) for x in null.parent.iterdir())


def test_a_pipe_gets_the_content(tmp_path):
    for number, suffix in enumerate(("", "", ".csv", ".gif")):
        fifo = tmp_path / f"fifo{suffix}"
        if not fifo.exists():
            os.mkfifo(fifo)
        got = []
        reader = threading.Thread(target=lambda at=fifo, to=got: to.append(at.read_bytes()))
        reader.start()
        kind, content = list(write_all_kinds(tmp_path / "fifo"))[number]
        kind()
        reader.join()
        assert got[0].startswith(content)
        assert stat.S_ISFIFO(os.stat(fifo).st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_replaced(tmp_path, exists):
    (tmp_path / "far").mkdir()
    for suffix in ("", ".csv", ".gif"):
        target, link = tmp_path / "far" / f"x{suffix}", tmp_path / f"link{suffix}"
        link.symlink_to(f"far/x{suffix}")
        if exists:
            target.write_text("old")
    for kind, content in write_all_kinds(tmp_path / "link"):
        kind()
        written = max((tmp_path / "far").iterdir(), key=lambda x: x.stat().st_mtime_ns)
        assert written.read_bytes().startswith(content)
    assert all(x.is_symlink() for x in tmp_path.glob("link*"))
    assert len([*tmp_path.iterdir()]) == 4
    assert len([*(tmp_path / "far").iterdir()]) == 3


def test_a_link_to_a_file_is_left_alone_if_the_block_fails(tmp_path):
    (tmp_path / "x").write_text("old")
    (tmp_path / "link").symlink_to("x")

    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "link") as partial:
        partial.write_text(str(1 / 0))
    assert (tmp_path / "link").read_text() == "old"
    assert len([*tmp_path.iterdir()]) == 2


def test_an_open_file_is_appended_to(tmp_path):
    with open(tmp_path / "out", "w") as file:
        file.write("before\n")
        file.flush()
        write(type(tmp_path)(f"/proc/self/fd/{file.fileno()}"))
    assert (tmp_path / "out").read_text() == "before\nnew"


def test_commands(null, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["evaluate", "greedy", "--agents", "4", "--episodes", "1", "--json"]
    assert run(capsys, *line, "null")[0] == 0
    assert stat.S_ISCHR(os.stat(null).st_mode)
    (tmp_path / "e.json").symlink_to("real.json")
    assert run(capsys, *line, "e.json")[0] == 0
    assert json.loads((tmp_path / "real.json").read_text())[0]["agents"] == 4
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot write loop" in refused(capsys, *line, "loop")
    (tmp_path / "to").symlink_to("no/such")
    assert run(capsys, *line, "to")[0] == 0
    assert (tmp_path / "no" / "such").is_file()
