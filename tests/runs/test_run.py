import errno
import json
import math
import os
import pickle
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.runs.checkpoint import FORMAT, read_checkpoint, write_checkpoint
from marl.runs.files import whole_file, whole_files, write_json
from marl.runs.log import Log, read_log
from marl.runs.run import Run, create_run

CONFIG = parse_config({})
TENSORS = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor(3), "u": np.zeros(2, np.uint64)}


def test_checkpoint_round_trip(tmp_path):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, "weights", CONFIG, 7, TENSORS, note="hello")
    read = read_checkpoint(path)
    assert (read.config.resolve(), read.step, read.extra["note"]) == (CONFIG, 7, "hello")
    for name, tensor in TENSORS.items():
        assert read.tensors[name].shape == tuple(tensor.shape)
        np.testing.assert_array_equal(read.tensors[name], tensor)


def test_a_header_of_any_length_is_read(tmp_path):
    """A file begins with its header's length, one of which looks like the start of a pickle."""
    path, first_bytes = tmp_path / "x.safetensors", set()
    for length in range(0, 256, 8):
        write_checkpoint(path, "weights", CONFIG, 7, TENSORS, note="x" * length)
        first_bytes.add(path.read_bytes()[0])
        assert read_checkpoint(path).step == 7
    assert 0x80 in first_bytes


def test_same_content_same_bytes(tmp_path):
    for name in "ab":
        write_checkpoint(tmp_path / name, "weights", CONFIG, 7, TENSORS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def bad(path, **header):
    usual = {"format": FORMAT, "kind": "weights", "step": 1, "config": {}}
    save_file({"a": np.ones(3)}, path, {"marl": json.dumps({**usual, **header})})


def truncated(path):
    write_checkpoint(path, "weights", CONFIG, 7, TENSORS)
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda p: None, "there is no file"),
        (lambda p: p.mkdir(), "Is a directory"),
        (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "is a pickle"),
        (lambda p: torch.save({"a": torch.ones(1)}, p), "a pickle or a PyTorch file"),
        (lambda p: p.write_bytes(b""), "is cut short"),
        (lambda p: p.write_bytes(b"hello, world"), "is cut short"),
        (truncated, "is cut short"),
        (lambda p: save_file({"a": np.ones(3)}, p), "was not written by marl"),
        (lambda p: save_file({"a": np.ones(3)}, p, {"marl": "{"}), "damaged header"),
        (lambda p: save_file({"a": np.ones(3)}, p, {"marl": "[]"}), "was not written by marl"),
        (lambda p: save_file({"a": np.ones(3)}, p, {"marl": "[" * 100_000}), "damaged header"),
        (lambda p: bad(p, format="2"), "has format '2', but this version reads '1'"),
        (lambda p: bad(p, format="0"), "has format '0', but this version reads '1'"),
        (lambda p: bad(p, format=None), "has format None, but this version reads '1'"),
        (lambda p: bad(p, kind="state"), "holds state"),
        (lambda p: bad(p, config={"world": {"x": 1}}), "world.x is not a known setting"),
        (lambda p: bad(p, config=3), "holds no config"),
        (lambda p: bad(p, step=[]), "damaged header"),
        (lambda p: bad(p, step="many"), "damaged header"),
        (lambda p: bad(p, step=math.inf), "damaged header"),
        (
            lambda p: write_checkpoint(p, "weights", CONFIG, 7, {"a": torch.tensor(np.nan)}),
            "not finite, in a",
        ),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, write, sentence):
    path = tmp_path / "x.safetensors"
    write(path)
    with pytest.raises(UserError, match=sentence) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "x.safetensors"
    write_checkpoint(path, "weights", CONFIG, 7, TENSORS)
    return path.read_bytes()


@given(st.data())
@how(max_examples=200, deadline=None)
def test_cut_short_anywhere(checkpoint, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(checkpoint[: data.draw(st.integers(0, len(checkpoint) - 1))])
    with pytest.raises(UserError, match="is cut short"):
        read_checkpoint(path)


@given(st.data())
@how(max_examples=300, deadline=None)
def test_a_changed_byte_is_read_or_refused_in_one_sentence(checkpoint, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    content = bytearray(checkpoint)
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(UserError):
        assert read_checkpoint(path).step >= 0


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "x.json"
    write_json(path, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(UserError, match="No space left on device"):
        write_json(path, 2)
    assert path.read_text() == "1\n"
    assert os.listdir(tmp_path) == ["x.json"]


def test_of_files_written_together_all_are_new_or_none(tmp_path):
    paths = [tmp_path / name for name in "ab"]

    def write(text, fail):
        with whole_files() as files:
            for path in paths:
                with files.file(path) as partial:
                    partial.write_text(text)
                    if fail and path is paths[1]:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write("old", fail=False)
    with pytest.raises(UserError, match="b: No space left on device"):
        write("new", fail=True)
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "-x", ".x", "é", "greedy"])
def test_names_that_are_refused(data, name):
    with pytest.raises(UserError, match="cannot be the name of a run"):
        Run.create(name, CONFIG)
    assert not data.exists()


def test_a_name_is_taken_once(data):
    Run.create("x", CONFIG).close()
    with pytest.raises(UserError, match="marl resume x"):
        Run.create("x", CONFIG)
    assert create_run(CONFIG, None, "x").name == "x-2"


def test_one_process_per_run(data):
    with Run.create("x", CONFIG), pytest.raises(UserError, match="another process"):
        Run.open("x")
    run, config, checkpoint = Run.open("x")
    run.close()
    assert config == CONFIG
    assert checkpoint is None


def test_log_drops_what_is_done_anew(data, tmp_path):
    log = Log(tmp_path, 0)
    for step in (10, 20, 30):
        log.write({"step": step, "reward": 1.0})
    log.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4')  # a kill in the middle of a line
    Log(tmp_path, 20).close()
    assert [line["step"] for line in read_log(tmp_path)] == [10, 20]
    assert (tmp_path / "log.jsonl").read_bytes().endswith(b"}\n")


def test_tensorboard_reads_the_events(tmp_path):
    log = Log(tmp_path, 0)
    log.write_settings(0, CONFIG)
    log.write({"step": 10, "reward": 1.0, "losses": {"critic_loss": 2.0}})
    log.write({"step": 20, "reward": 3.0})
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("reward")] == [(10, 1.0), (20, 3.0)]
    assert [e.value for e in events.Scalars("losses/critic_loss")] == [2.0]
    (table,) = events.Tensors("config/text_summary")
    rows = table.tensor_proto.string_val[0].decode().splitlines()
    assert f"| training.steps | {CONFIG.training.steps} |" in rows
    assert len(rows) == len(CONFIG.flat()) + 2
