import re
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from shell import run
from tiny import TINY

from marl import evaluation
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.folders import data_root
from marl.runs.files import write_json
from marl.runs.loading import find_policy
from marl.runs.run import Run
from marl.studies.comparison import curve, improvement, measure, summarise
from marl.studies.comparison_page import Comparison
from marl.studies.entries import gather
from marl.studies.tables import as_markdown
from marl.training import session
from marl.training.loop import train

NETS = {"[8]": "small", "[4,8]": "large"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two networks with three seeds each; the large one is a sweep, too, of which a run is not
    finished."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARL_DATA", str(folder))
        patch.setattr(session, "EVALUATION_EPISODES", 4)
        settings = ["evaluation.episodes=8", "training.evaluate_every=100"]
        for hidden, name in NETS.items():
            for seed in range(3):
                own = [*settings, f"agent.hidden={hidden}", f"training.seed={seed}"]
                train(parse_config(with_settings(TINY, own)), f"{name}-{seed}")
        names = ["large-0", "large-1", "large-2", "large-3"]
        runs = [{"name": name, "point": {}, "seed": seed} for seed, name in enumerate(names)]
        write_json(folder / "sweeps" / "many" / "sweep.json", {"runs": runs})
        own = [*settings, "agent.hidden=[4,8]", "training.seed=3"]
        Run.create("large-3", parse_config(with_settings(TINY, own))).close()  # only begun
    return folder


@pytest.fixture(autouse=True)
def data(root, monkeypatch):
    monkeypatch.setenv("MARL_DATA", str(root))


SMALL = ["small-0", "small-1", "small-2"]


def measured(*names, agents=(), by=()):
    groups, _ = gather(names, by)
    return groups, list(measure(groups, agents))


def test_groups_differ_in_more_than_the_seed():
    (large, small), left_out = gather(["many", *SMALL])
    assert (large.label, small.label) == ("hidden [4, 8]", "hidden [8]")
    assert (small.runs, small.seeds) == (SMALL, [0, 1, 2])
    assert large.runs == ["large-0", "large-1", "large-2"]
    assert left_out == [
        "Left out: the run 'large-3' has not been trained to its end: step 0 of 400."
    ]
    (one,), _ = gather(SMALL)
    assert one.label == "small-0 and small-1 and small-2"
    (both,), _ = gather(["large-0", *SMALL], by=["agent.gamma"])
    assert both.label == "gamma 0.9"
    assert len(both.runs) == 4


def test_runs_of_sweeps_are_called_by_their_place_in_the_grid():
    points = {"small": {"base": "plain", "agent.gamma": 0.9}, "large": {"base": "odd", "a.b": 3}}
    for sweep, seed in (("one", 1), ("two", 2)):
        runs = [
            {"name": f"{net}-{seed}", "point": point, "seed": seed} for net, point in points.items()
        ]
        write_json(data_root() / "sweeps" / sweep / "sweep.json", {"runs": runs})
    groups, _ = gather(["one"])
    assert [group.label for group in groups] == ["plain, gamma 0.9", "odd, b 3"]
    groups, _ = gather(["one", "two"])
    assert [(group.label, group.runs) for group in groups][1:3] == [
        ("one, odd, b 3", ["large-1"]), ("two, plain, gamma 0.9", ["small-2"])
    ]  # fmt: skip
    groups, _ = gather(["one", "two"], by=["base"])
    assert [group.label for group in groups] == ["plain", "odd"]
    assert groups[1].runs == ["large-1", "large-2"]


@pytest.mark.parametrize(
    ("names", "by", "sentence"),
    [
        (["no-such"], [], "there is no run or sweep 'no-such' in"),
        (["large-3"], [], "the run 'large-3' has not been trained to its end: step 0 of 400"),
        (SMALL, ["agent.hiden"], "--by is agent.hiden, but should be a setting"),
    ],
)
def test_what_cannot_be_compared(names, by, sentence):
    with pytest.raises(UserError) as error:
        gather(names, by)
    assert sentence in str(error.value)


def test_runs_are_measured_once_on_the_same_starts():
    groups, done = measured("small-0", "large-0", agents=[4, 6])
    assert len(done) in (1, 4, 5)  # another test may have been first
    for group in groups:
        for n in (4, 6):
            subject = find_policy(group.runs[0])
            expected = evaluation.evaluate(subject.policy, subject.world_for(n), n, 8, 1_000_000)
            assert group.results(n) == [expected]
    again = ["4 of 4 measurements were made before"]
    assert measured("small-0", "large-0", agents=[4, 6])[1] == again


def test_several_processes_measure_the_same():
    groups, _ = gather(SMALL[:2])
    list(measure(groups, [3]))
    for file in data_root().glob("measurements/small-*-3-*.json"):
        file.unlink()
    again, _ = gather(SMALL[:2])
    done = list(measure(again, [3], workers=2))
    assert {line.partition(": ")[2].partition(":")[0] for line in done} >= {
        f"{name}, N=3" for name in SMALL[:2]
    }
    assert again[0].results(3) == groups[0].results(3)


def test_a_process_that_is_killed_while_it_measures(monkeypatch):
    def killed(*_):
        raise BrokenProcessPool

    monkeypatch.setattr("concurrent.futures.Future.result", killed)
    groups, _ = gather(SMALL)
    with pytest.raises(UserError, match="a process that measured was killed"):
        list(measure(groups, [2, 5], workers=2))


def test_numbers():
    (large, small), _ = measured("large-0", "large-1", "large-2", *SMALL)
    small.rows[4] = [{"result": {"coverage": x, "reward": -x}} for x in (0.1, 0.5, 0.6)]
    large.rows[4] = [{"result": {"coverage": x, "reward": -x}} for x in (0.2, 0.7, 0.5)]
    summary = summarise(small, 4, "coverage")
    assert (summary.runs, summary.median, summary.worst) == (3, 0.5, 0.1)
    assert summary.iqm == pytest.approx(0.4)
    assert summary.iqm_interval[0] == pytest.approx(0.1)
    assert summary.reward == pytest.approx(-0.4)
    assert summary.collisions is None
    found = improvement(large, small, 4, "coverage")
    assert found.probability == pytest.approx((1 + 3 + 1.5) / 9)
    assert found.pairs == 3
    assert found.p_value == 6 / 8  # +.1, +.2, -.1: a sum of 0 in two of 8 flips
    with pytest.raises(UserError, match="--metric is speed, but should be coverage or"):
        measured(*SMALL)[0][0].scores(4, "speed")


def test_curves_go_as_far_as_all_have_come():
    (group,), _ = gather(SMALL)
    found = curve(group, "coverage")
    assert found["steps"].tolist() == [100, 200, 300, 400]
    assert (np.diff(found["cpu"]) > 0).all()
    assert (found["low"] <= found["iqm"]).all()
    assert (found["iqm"] <= found["high"]).all()


def test_the_command_writes_three_pages_and_movies(here, tmp_path, capsys):
    status, out, _ = run(capsys, "compare", "many", *SMALL, "--out", str(tmp_path / "new"))
    assert status == 0
    assert out.splitlines()[-1] == str(tmp_path / "new" / "comparison.html")
    assert "hidden [4, 8]" in out
    text = (tmp_path / "new" / "comparison.md").read_text()
    assert "| agent.hidden | " in text
    assert "Left out: the run 'large-3'" in text
    assert "training.seed" not in text
    page = (tmp_path / "new" / "comparison.html").read_text()
    assert page.count("data:image/gif;base64,") == 2
    assert page.count("data:image/png;base64,") == 1
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # needs no other file
    assert re.findall(r'<tr class="differs"><td>([^<]*)', page) == ["agent.hidden"]
    assert (tmp_path / "new" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    status, _, errors = run(capsys, "compare", *SMALL, "--metric", "speed")
    before, refusal = errors.splitlines()
    assert (status, before) == (2, "3 of 3 measurements were made before")
    assert refusal.startswith("marl: --metric is")


def test_names_are_no_markup():
    groups, _ = measured(*SMALL)
    groups[0].label = "<script>alert('a & b')</script>"
    page = Comparison('<b>"bold"</b>', groups, "coverage", ["Left out: <i>x</i>."])
    html = page.page(b"picture", {groups[0].label: b"film"})
    assert re.findall("<(?:script|b|i)>", html) == []
    assert html.count("&lt;script&gt;alert(&#39;a &amp; b&#39;)&lt;/script&gt;") == 4
    assert "<title>&lt;b&gt;&#34;bold&#34;&lt;/b&gt;</title>" in html
    assert "<p>Left out: &lt;i&gt;x&lt;/i&gt;.</p>" in html
    assert "<script>" not in as_markdown(page.scores(4))


def test_a_policy_that_is_tied_to_its_number_says_so(tmp_path):
    settings = ["agent.name=maddpg", "evaluation.episodes=8"]
    train(parse_config(with_settings(TINY, settings)), "tied")
    groups, _ = measured("tied", "small-0", agents=[4, 6])
    page = Comparison("both", groups, "coverage")
    assert ["-"] * 5 in [row[2:7] for row in page.scores(6)[1]]
    (why,) = [note for note in page.notes if "is tied to that number" in note]
    assert why.startswith(f"{groups[0].label}, N=6: the agent")
    assert not any("safetensors" in note for note in page.notes)
    with pytest.raises(UserError, match="is tied to that number"):
        Comparison("one", measured("tied", agents=[6])[0], "coverage")
