"""Learners beside a peer's: curves, records and tables, without the peer."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fresh
import learning
import learning_tables as tables
import loops

from marl.config.parsing import find_config, parse_config, read_config
from marl.errors import UserError

PEER_CURVE = [(6000, 30.0, -60.0), (12000, 60.0, -40.0)]
LOG = [
    {"step": 50, "cpu_seconds": 1.0},
    {"step": 100, "cpu_seconds": 2.0},
    {"step": 100, "cpu_seconds": 5.0, "evaluation": {"reward": -2.0}},
    {"step": 200, "cpu_seconds": 6.5},
    {"step": 200, "cpu_seconds": 9.5, "evaluation": {"reward": -1.0}},
]


def test_a_curve_leaves_out_the_time_of_evaluations():
    assert learning.curve_of(LOG, steps=25) == [(100, 2.0, -50.0), (200, 3.5, -25.0)]


@pytest.mark.parametrize("world", learning.WORLDS)
@pytest.mark.parametrize("row", ["ippo", "qmix"])
def test_our_configs_have_the_peers_world(world, row):
    """With any settings of the agent; all evaluations come right after a line of the log."""
    config = parse_config(learning.settings(world, row, "maddpg_tuned", 12_000, 6000))
    group = config.make_world(1, 0).groups["agents"]
    assert len(group) == 3
    moves = 5 if world == "spread" or row == "qmix" else 2
    assert group.action_space.shape == (moves,)
    assert group.observation_space.shape == ((18,) if world == "spread" else (14,))
    assert config.evaluation_world == config.world
    assert config.training.steps % 6000 == 0
    assert (
        12_000
        <= read_config(find_config("maddpg_tuned"))["training"]["steps"]
        <= config.training.steps
    )
    assert config.training.log_every == config.training.evaluate_every == 6000


def test_random_play_in_both_worlds():
    """As measured once in VMAS itself, and as MPE's random play is known."""
    spread, vmas = (
        learning.random_return(
            parse_config(learning.settings(world, "iql", "maddpg", 12_000, 6000))
        )
        for world in ("spread", "vmas")
    )
    assert spread == pytest.approx(-28, abs=3)
    assert vmas == pytest.approx(-630, abs=60)


def options(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["learning.py", *words])
    return learning.parsed()


@pytest.fixture
def made(monkeypatch):
    """What is run, in place of running it."""
    found = []

    def ours(name, file, seed, root):
        found.append(("marl", name, seed))
        return LOG

    def theirs(python, world, row, frames, every, seed):
        found.append(("BenchMARL", f"{world}_{row}", seed))
        if row == "vdn":
            raise UserError("BenchMARL's vdn failed")
        return {"versions": "benchmarl 1", "settings": {"lr": 1}, "curve": PEER_CURVE}

    monkeypatch.setattr(learning, "trained", ours)
    monkeypatch.setattr(learning, "train_peer", theirs)
    monkeypatch.setattr(learning, "EPISODES", 4)
    return found


TINY = ("spread", "--rows", "ippo", "--development", "--config", "maddpg", "--jobs", "1")
TINY += ("--frames", "12000", "--every", "6000", "--seeds", "2", "--peer-seeds", "1")


def test_what_is_on_record_is_not_run_again(data, made, monkeypatch, capsys):
    options(monkeypatch, *TINY)
    learning.main()
    assert sorted(seed for library, _, seed in made if library == "marl") == [0, 1]
    assert [x for x in made if x[0] == "BenchMARL"] == [("BenchMARL", "spread_ippo", 0)]
    first = capsys.readouterr().out
    record = json.loads((data / "learning" / "spread_ippo.json").read_text())
    assert record["BenchMARL"]["runs"] == {"0": [list(point) for point in PEER_CURVE]}
    made.clear()
    learning.main()
    assert not made
    assert capsys.readouterr().out in first
    options(monkeypatch, *TINY, "--peer-seeds", "2")
    learning.main()
    assert made == [("BenchMARL", "spread_ippo", 1)]
    made.clear()
    options(monkeypatch, *TINY, "--frames", "60000000")
    learning.main()
    assert len(made) == 3


def test_another_config_starts_ours_anew(data, made, monkeypatch):
    options(monkeypatch, *TINY)
    learning.main()
    names = {name for library, name, _ in made if library == "marl"}
    made.clear()
    options(monkeypatch, *TINY, "--config", "maddpg_tuned")
    learning.main()
    assert {library for library, *_ in made} == {"marl"}
    assert not names & {name for _, name, _ in made}


def test_published_seeds_are_drawn(data, made, monkeypatch, tmp_path):
    """Ours belong to the commit, the peer's to its version."""
    monkeypatch.setattr(learning, "FOLDER", tmp_path)
    monkeypatch.setattr(learning, "commit_of", lambda config: "c0ffee")
    monkeypatch.setattr(learning, "find_config", lambda name: find_config("maddpg"))
    options(monkeypatch, "spread", "--rows", "ippo", "iql", "--peer-seeds", "3", "--seeds", "2")
    learning.main()
    by_row = {}
    for library, name, seed in made:
        by_row.setdefault((library, name.split("-")[0]), []).append(seed)
    assert len({seed for seeds in by_row.values() for seed in seeds}) == 2 * (3 + 2)
    assert min(seed for *_, seed in made) >= 1000
    assert sorted(by_row["marl", "spread_ippo"]) == sorted(
        fresh.drawn("c0ffee", "learning spread ippo", 2)[0]
    )


def test_one_failure_does_not_stop_the_others(data, made, monkeypatch, capsys):
    """Nor does a row that has no config yet."""
    words = [word for word in TINY if word not in ("ippo", "--config", "maddpg")]
    words[words.index("--rows") + 1 : words.index("--rows") + 1] = ["vdn", "ippo"]
    monkeypatch.setattr(learning, "ROWS", ("vdn", "ippo"))
    monkeypatch.setattr(learning, "find_config", lambda name: Path(f"{name}.json"))
    options(monkeypatch, *words)
    with pytest.raises(SystemExit):
        learning.main()
    said = capsys.readouterr()
    assert "BenchMARL's vdn failed" in said.err
    assert "marl's ippo is left out in spread: " in said.err
    assert "| `ippo` | - | -40.0; -40.0, -40.0; 60 CPU-s | - | - | - | - |" in said.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("mars",), "'mars' is no world; choose from vmas, spread, jaxmarl"),
        (("--every", "5000"), "--every is 5000, but should be a multiple of 6000"),
        (("--frames", "20000"), "--frames is 20000, but should be a multiple of 12000"),
        (("--config", "maddpg"), "--config is for --development only"),
    ],
)
def test_bad_options(monkeypatch, capsys, words, sentence):
    with pytest.raises(SystemExit):
        options(monkeypatch, *words)
    assert sentence in capsys.readouterr().err


def test_ratios_by_hand():
    """Random -100; theirs ends at -40 after 60 s, ours at -20 and 0 after 10 s."""
    ours = [[(6000, 5.0, -60.0), (12000, 10.0, value)] for value in (-20.0, 0.0)]
    cells = tables.ratios([ours, [PEER_CURVE] * 2], -100.0)
    assert cells[0].startswith("-10.0 [-20.0, 0.0]; -10.0, -20.0; 10 CPU-s")
    assert cells[1] == "-40.0 [-40.0, -40.0]; -40.0, -40.0; 60 CPU-s"
    assert cells[2].startswith("1.50 [1.33, 1.67]")
    assert cells[3] == "BenchMARL's is not above random"  # it has no evaluation by then
    assert cells[4:] == ["6.0", "met"]


def test_equal_seconds_are_those_of_the_faster():
    ours = [[(6000, 20.0, -60.0), (12000, 40.0, -50.0)]]
    cells = tables.ratios([ours, [PEER_CURVE]], -100.0)
    assert cells[2].startswith("0.83")
    assert cells[3].startswith("1.25")  # after 40 s theirs was at -60
    assert cells[5] == "missed: return, time"


def test_equal_frames_are_those_of_the_shorter_run():
    ours = [[(6000, 1.0, -90.0), (12000, 2.0, -70.0), (60000, 9.0, -10.0)]]
    cells = tables.ratios([ours, [PEER_CURVE]], -100.0)
    assert cells[0].startswith("-10.0; -10.0, -10.0; 9 CPU-s")
    assert cells[2].startswith("0.50")  # (-70 + 100) / (-40 + 100)
    assert cells[5] == "met"


def test_gains_need_somebody_who_learned():
    one, other = np.array([-50.0]), np.array([-150.0])
    assert tables.gain(one, other, -100.0) == "BenchMARL's is not above random"


def test_loops_are_measured_in_turns(tmp_path, monkeypatch):
    """And one that fails, here ours, does not stop the others."""

    class Peer:
        versions = "jaxmarl 1"

        def __init__(self, *words):
            pass

        def seconds_per_step(self, seconds, learner, **loop):
            assert loop == loops.LOOPS[learner]
            return 1.0

    def train(config, settings, steps):
        if config.stem == "pqn_vdn":
            raise UserError("no agent is called 'vdn'")
        return 3 * 2048.0

    monkeypatch.setattr(loops, "Peer", Peer)
    monkeypatch.setattr(loops, "train", train)
    sentence = "the loop pqn_vdn is left out: no agent is called 'vdn'"
    assert loops.run(tmp_path, "python") == [sentence]
    assert "| 6,144 | 2,048 | 3.00 | met |" in loops.page(tmp_path)


@pytest.mark.parametrize("name", loops.LOOPS)
def test_our_loops_have_the_numbers_of_the_peers(name):
    loop, config = loops.LOOPS[name], json.loads((loops.CONFIGS / f"{name}.json").read_text())
    agent, training = config["agent"], config["training"]
    assert agent["hidden"] == [loop["width"]] * 2
    assert {key: agent[key] for key in ("epochs", "minibatches")}.items() <= loop.items()
    assert training["num_worlds"] == loop["worlds"]
    assert training["update_every"] == loop["worlds"] * loop["rollout"]
    assert training["learning_starts"] == 0
    world = learning.settings("spread", "iql", "maddpg", 12_000, 6000)["world"]
    assert config["world"] == world
