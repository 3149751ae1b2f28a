"""PettingZoo's environments by their names in a config: trained in, resumed, evaluated, drawn."""

import json
import shutil
import sys

import numpy as np
import pytest
from tiny import TINY, check_resumes

from marl import evaluation
from marl.cli import main
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.plugins import imported
from marl.runs.checkpoint import read_checkpoint
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.studies.entries import default_metric
from marl.studies.scale import measure, numbers, with_yardsticks
from marl.studies.scale_page import ScaleStudy
from marl.training.loop import train
from marl.worlds.base import WorldConfig
from marl.worlds.pettingzoo.config import environment, module_of
from marl.worlds.pettingzoo.extras import roms
from marl.worlds.pettingzoo.world import PettingZooWorld
from marl.worlds.registry import find_scenario, make

NAME = "pettingzoo:mpe2/simple_tag_v3"
TAG = {
    **TINY,
    "world": {"scenario": NAME, "options": {"max_cycles": 4}, "processes": 0},
    "agent": {"name": "maddpg", "hidden": [8]},
    "exploration": {},
    "training": {**TINY["training"], "steps": 80, "checkpoint_every": 40},
}


def tag(*settings):
    return parse_config(with_settings(TAG, settings))


@pytest.fixture(scope="module", autouse=True)
def few_episodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marl.training.session.SLOW_EVALUATION_EPISODES", 2)
        patch.setattr(evaluation, "SLOW_EPISODES", 3)
        yield


def test_it_is_trained_in_evaluated_and_drawn(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    train(tag("training.evaluate_every=80"), "a")
    (line,) = [line for line in read_log(Run("a").stats) if "evaluation" in line]
    assert {"reward", "reward_adversary", "reward_agent"} <= line["evaluation"].keys()
    assert line["evaluation"]["episodes"] == 2
    assert len(line["evaluation"]["return_by_step"]) == 4
    assert line["evaluation"]["return"] == pytest.approx(4 * line["evaluation"]["reward"])
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "a", "--json", "a.json"])
    assert stop.value.code == 0
    (result,) = json.loads((data.parent / "a.json").read_text())
    assert result["agents"] == 4
    assert result["episodes"] == 3
    assert "path_length" not in result
    options = 'world.options={"max_cycles": 4, "render_mode": "rgb_array"}'
    with pytest.raises(SystemExit) as stop:
        main(["render", "a", "--out", "a.gif", "--set", options])
    assert stop.value.code == 0
    assert (data.parent / "a.gif").stat().st_size > 1000
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["render", "a", "--out", "b.gif"])
    assert stop.value.code == 2
    assert "make it with options {'render_mode': 'rgb_array'}" in capsys.readouterr().err


def test_returns_are_those_of_whole_episodes(data):
    world = {**TAG["world"], "scenario": "pettingzoo:mpe2/simple_spread_v3"}
    train(
        parse_config({**TAG, "world": world, "training": {**TAG["training"], "log_every": 8}}), "a"
    )
    log = read_log(Run("a").stats)
    # Four worlds, episodes of four steps: they are over in every other line.
    assert [line["metrics"].keys() for line in log] == [{}.keys(), {"return"}] * 5
    for before, line in zip(log[::2], log[1::2], strict=True):
        earned = 2 * (before["reward"] + line["reward"])
        assert line["metrics"]["return"] == pytest.approx(earned, rel=1e-5)
        assert earned < 0


LASTING = """
import numpy as np
from mpe2 import simple_v3


class parallel_env:
    def __init__(self):
        self.env = simple_v3.parallel_env()
        self.possible_agents = self.env.possible_agents

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None, options=None):
        self.env = simple_v3.parallel_env(max_cycles=2 + seed % 9)
        return self.env.reset(seed)
"""


def test_episodes_of_different_lengths(data, monkeypatch):
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "lasting").mkdir(parents=True)
    (data.parent / "lasting" / "env.py").write_text(LASTING)
    monkeypatch.setattr(evaluation, "SLOW_AT_ONCE", 2)
    world = {"scenario": "pettingzoo:lasting/env", "processes": 0}
    train(parse_config({**TAG, "world": world}), "a")
    subject = find_policy("a")
    values = evaluation.measure(subject.policy, subject.world, 1, 8, 0)
    by_step, steps = values["return_by_step"], values["return"] / values["reward"]
    assert len({*steps.round()}) > 2
    for own, last in zip(by_step, steps.round().astype(int), strict=True):
        assert (np.diff(own[:last]) < 0).all()  # as every step costs something
        np.testing.assert_array_equal(own[last - 1 :], own[-1])


def test_it_resumes(data, monkeypatch):
    check_resumes(tag(), monkeypatch, 44)  # in the middle of an episode


FILMED = """
import numpy as np
from gymnasium.spaces import Box
from mpe2 import simple_v3


class parallel_env:
    metadata = {"name": "filmed"}

    def __init__(self):
        self.env = simple_v3.parallel_env(max_cycles=5)
        self.possible_agents = self.env.possible_agents

    def __getattr__(self, name):
        return getattr(self.env, name)

    def observation_space(self, agent):
        return Box(0, 255, (36, 36, 2), np.uint8)

    def filmed(self, seen):
        places = np.arange(36 * 36 * 2).reshape(36, 36, 2)
        scale = {agent: np.abs(rows).sum() for agent, rows in seen.items()}
        return {agent: (places * x % 256).astype(np.uint8) for agent, x in scale.items()}

    def reset(self, seed=None, options=None):
        seen, infos = self.env.reset(seed)
        return self.filmed(seen), infos

    def step(self, actions):
        seen, *others = self.env.step(actions)
        return self.filmed(seen), *others
"""


@pytest.mark.parametrize("name", ["iql", "ippo"])
def test_learning_from_pictures_resumes(data, monkeypatch, name):
    """In the middle of an episode, whose last pictures are in what is observed next."""
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "filmed").mkdir()
    (data.parent / "filmed" / "env.py").write_text(FILMED)
    monkeypatch.setattr("marl.worlds.pettingzoo.config.PRESETS", {"84x84": ()})
    world = {"scenario": "pettingzoo:filmed/env", "preset": "84x84", "processes": 0}
    agent = {"name": name, "hidden": [8], "augment": True}
    config = {**TAG, "world": world, "agent": agent}
    check_resumes(parse_config(config), monkeypatch, 44)
    (group,) = parse_config(config).world.groups.values()
    assert group.observation_space.shape == (4 * 2, 36, 36)


BREAKING = """
from mpe2 import simple_v3


class parallel_env:
    def __init__(self):
        self.env, self.episodes = simple_v3.parallel_env(max_cycles=3), 0

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self, seed=None, options=None):
        self.episodes += 1
        if self.episodes == 2:  # only the first one is tried
            raise KeyError("inside")
        return self.env.reset(seed)
"""


@pytest.mark.parametrize("processes", [0, 1])
def test_an_environment_that_fails_is_told_in_one_sentence(data, capsys, monkeypatch, processes):
    monkeypatch.chdir(data.parent)
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "breaking").mkdir()
    (data.parent / "breaking" / "env.py").write_text(BREAKING)
    world = {"scenario": "pettingzoo:breaking/env", "processes": processes}
    (data.parent / "b.json").write_text(json.dumps({**TAG, "world": world}))
    with pytest.raises(SystemExit) as stop:
        main(["train", "b.json"])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said == "marl: an environment failed: KeyError: 'inside'\n"


def test_processes_end_with_the_run(data):
    import multiprocessing

    before = {child.pid for child in multiprocessing.active_children()}
    train(tag("world.processes=2", "training.steps=20"), "a")
    for child in multiprocessing.active_children():
        child.join(5)
    assert {child.pid for child in multiprocessing.active_children()} <= before


def test_sides_of_it_play_crosswise(data, capsys):
    train(tag("training.steps=20"), "a")
    with pytest.raises(SystemExit) as stop:
        main(["crossplay", "a", "--episodes", "2", "--workers", "1"])
    assert stop.value.code == 0


def test_supersuits_wrappers():
    pytest.importorskip("supersuit")
    world = make(NAME, options={"max_cycles": 9}, processes=0, wrappers=[["frame_stack_v1", 3]])
    plain = make(NAME, options={"max_cycles": 9}, processes=0)
    sizes = [w.groups["agent"].observation_space.shape[0] for w in (world, plain)]
    assert sizes[0] == 3 * sizes[1]


@pytest.mark.long
def test_the_preset_of_the_fields_atari_work():
    pytest.importorskip("supersuit")
    pytest.importorskip("pymunk")  # pettingzoo[butterfly]
    name, options = "pettingzoo:butterfly/pistonball_v6", {"n_pistons": 3}
    world = make(name, preset="84x84", options=options, processes=0)
    (group,) = world.groups.values()
    assert group.picture.picture == (1, 84, 84)
    assert (group.observation_space.shape, group.observation_space.dtype) == ((4, 84, 84), "uint8")
    observation = world.reset()["piston"]
    assert not observation[:, :, :3].any()
    assert observation.max() > 200  # bright places stay bright
    assert observation[:, :, 3].std() > 10


def test_groups_as_the_config_says():
    adversaries = [f"adversary_{i}" for i in range(3)]
    config = find_scenario(NAME)(teams={"hunters": adversaries, "prey": ["agent_0"]})
    assert [*config.groups] == ["hunters", "prey"]
    assert config.agent_count == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["world.scenario=pettingzoo:sisl/nothing"], "sisl/nothing cannot be imported"),
        (["world.scenario=pettingzoo:a-b/c"], "should be as pettingzoo:sisl/multiwalker_v9"),
        (["world.options.max_cycels=3"], "cannot be made.*max_cycels"),
        (['world.wrappers=[["nothing_v0"]]'], "cannot be made.*nothing_v0"),
        (["world.num_agents=3"], "world.num_agents is a setting of another kind of world"),
        (['world.teams={"all": ["agent_0"]}'], "groups has the agents"),
        (["agent.name=atoc", "agent.network=set"], "hold no sets of items"),
    ],
)
def test_what_is_wrong_is_said(data, settings, said):
    with pytest.raises(UserError, match=said):
        train(tag(*settings), "x")


class Without:
    """Finds no module of that package."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("missing", "name", "said"),
    [
        ("pettingzoo", "sisl/nothing", r"; pip install 'marl\[sisl\]'"),
        ("pettingzoo", "classic/rps_v2", r"; pip install 'pettingzoo\[classic\]'"),
        ("Box2D", "sisl/multiwalker_v9", r"; pip install 'marl\[sisl\]'"),
        ("mpe2", "mpe2/simple_v3", r"neither installed \(pip install mpe2\) nor in the current"),
        ("scarce", "needy/env", r"; pip install scarce"),
    ],
)
def test_it_is_said_what_to_install(data, monkeypatch, missing, name, said):
    of_world = module_of(name).partition("_v")[0]  # another test may have imported it
    for module in [x for x in sys.modules if x == missing or x.startswith(of_world)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Without(missing), *sys.meta_path])
    folder = data.parent / "needy"
    folder.mkdir()
    (folder / "env.py").write_text("import scarce\n")
    monkeypatch.syspath_prepend(data.parent)
    environment.cache_clear()
    with pytest.raises(UserError, match=f"{name} cannot be imported: .*{said}"):
        tag(f"world.scenario=pettingzoo:{name}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sisl/multiwalker_v8", "; there is pettingzoo:sisl/multiwalker_v9"),
        ("mpe2/simple_spread_v2", "; there is pettingzoo:mpe2/simple_spread_v3"),
        ("mpe2/simple_spred_v3", "; there is pettingzoo:mpe2/simple_spread_v3"),
        ("mpe/simple_tag_v3", r"scenario 'tag' is that game, and so is pettingzoo:mpe2/simple_tag"),
        ("mpe/simple_line_v1", "has moved out of PettingZoo: pettingzoo:mpe2/simple_line_v1"),
        (
            "butterfly/prison_v3",
            "was removed from PettingZoo: marl's scenario 'prison' is that game",
        ),
        ("sisl/waterworld_v4", "was removed from PettingZoo: marl's scenario 'waterworld' is that"),
        ("butterfly/prospector_v4", "was removed from PettingZoo: marl has none like it"),
        ("mpe2/all_modules", "mpe2/all_modules has no parallel_env and no env"),
    ],
)
def test_a_version_that_is_gone_names_the_present_one(data, name, said):
    with pytest.raises(UserError, match=said):
        tag(f"world.scenario=pettingzoo:{name}")


def test_an_environment_that_takes_no_render_mode_is_made_without(data, monkeypatch):
    monkeypatch.syspath_prepend(data.parent)
    (data.parent / "modeless").mkdir()
    code = FILMED.replace(
        '"filmed"}', '"filmed", "render_modes": ["rgb_array"]}\n    render_mode = None'
    )
    (data.parent / "modeless" / "env.py").write_text(code)
    config = find_scenario("pettingzoo:modeless/env")(processes=0)
    (group,) = config.groups.values()
    assert group.picture.picture == (2, 36, 36)


def test_atari_games_find_their_roms(monkeypatch, tmp_path):
    (tmp_path / "ale_py").mkdir()
    (tmp_path / "ale_py" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    roms_of = {"auto_rom_install_path": str(tmp_path / "ale_py" / "roms")}
    assert roms(module_of("atari/space_invaders_v2")) == roms_of
    assert roms(module_of("sisl/pursuit_v5")) == {}


def test_observations_of_any_length_are_refused(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip("pettingzoo.butterfly.knights_archers_zombies_v11")
    kaz = find_scenario("pettingzoo:butterfly/knights_archers_zombies_v11")
    with pytest.raises(ValueError, match=r"what group 'archer' observes, Sequence\(.* is no list"):
        kaz(processes=0, options={"obs_method": "vector-sequence"})


ONE_AFTER_THE_OTHER = """
from pettingzoo.utils import parallel_to_aec
from mpe2 import simple_v3


def env(parallelizable=True):
    made = parallel_to_aec(simple_v3.parallel_env(max_cycles=3))
    made.metadata = {**made.metadata, "is_parallelizable": parallelizable}  # not that of the class
    return made
"""


def test_environments_of_the_current_folder_with_an_env_only(data, monkeypatch):
    (data.parent / "turns").mkdir()
    (data.parent / "turns" / "local_v0.py").write_text(ONE_AFTER_THE_OTHER)
    monkeypatch.chdir(data.parent)
    monkeypatch.setattr(sys, "path", [x for x in sys.path if x not in ("", str(data.parent))])
    config = find_scenario("pettingzoo:turns/local_v0")
    assert config(processes=0).agent_count == 1
    with pytest.raises(ValueError, match="is turn-based: its agents act one after the other"):
        config(processes=0, options={"parallelizable": False})


def test_files_from_elsewhere_are_not_trusted(data, tmp_path, monkeypatch):
    train(tag("training.steps=20"), "a")
    elsewhere = tmp_path / "weights.safetensors"
    shutil.copy(Run("a").weights, elsewhere)
    assert find_policy(str(elsewhere)).name  # its module was imported by us
    monkeypatch.delitem(sys.modules, "mpe2.simple_tag_v3")
    with pytest.raises(UserError, match=f"if you trust that, add --set world.scenario={NAME}"):
        find_policy(str(elsewhere))
    read_checkpoint(elsewhere)
    assert "mpe2.simple_tag_v3" not in sys.modules
    assert find_policy(str(elsewhere), [f"world.scenario={NAME}"]).name


def test_there_is_nothing_to_scale(data):
    said = r"landing plays 'tennis', where there is nothing to scale: it has 2 agents, always"
    with pytest.raises(UserError, match=said):
        with_yardsticks(["landing"])
    with pytest.raises(UserError, match=r"random plays 'tennis', where there is nothing to scale"):
        with_yardsticks(["random"], ["world.scenario=tennis"])
    push = "pettingzoo:mpe2/simple_push_v3"
    with pytest.raises(UserError, match=rf"still plays '{push}', .*: it has 2 agents, and marl kn"):
        with_yardsticks(["still"], [f"world.scenario={push}"])


def test_what_is_scaled_by_the_environments_own_option(data):
    line = ["world.scenario=pettingzoo:mpe2/simple_line_v1", "world.processes=0"]
    settings = [*line, 'world.options={"N": 2, "max_cycles": 4}']
    entries, _ = with_yardsticks(["random"], settings)
    assert [entry.label for entry in entries] == ["random", "still"]
    assert numbers(entries) == [2, 4, 8]  # of a slow world
    for _ in measure(entries, [2, 4], None, 0, 1, alone=False):
        pass
    assert entries[0].results(4)[0]["episodes"] == 20
    page = ScaleStudy("x", entries, default_metric(entries))
    assert page.metric == "return"
    headings, rows = page.scores(4)
    assert headings[2:] == ["return [95 %]", "worst seed", "below training N"]
    assert [row[0] for row in rows] == ["random", "still"]
    assert page.costs() == {}


def test_a_world_of_ones_own_in_a_config(data, monkeypatch):
    """What is no particle world, by "module:Class"."""
    code = (
        "from mpe2 import simple_v3\n"
        "from marl.worlds.base import WorldConfig\n"
        "from marl.worlds.pettingzoo.world import PettingZooWorld\n\n\n"
        "class Mine(WorldConfig):\n"
        "    length: int = 5\n\n"
        "    def make_world(self, num_worlds, seed, staggered=False):\n"
        "        return PettingZooWorld(\n"
        "            simple_v3.parallel_env, num_worlds, seed, processes=0,\n"
        "            options={'max_cycles': self.length},\n"
        "        )\n\n"
        "    @property\n"
        "    def groups(self):\n"
        "        return self.make_world(1, 0).groups\n"
    )
    (data.parent / "mine.py").write_text(code)
    monkeypatch.chdir(data.parent)
    monkeypatch.syspath_prepend(data.parent)
    world = {"scenario": "mine:Mine", "length": 3}
    config = parse_config({**TAG, "world": world, "agent": {"hidden": [8]}})
    train(config, "own")
    assert issubclass(imported("mine:Mine"), WorldConfig)
    stored = read_checkpoint(Run("own").weights).config
    assert stored.data == config.to_json()
    result = evaluation.evaluate(find_policy("own").policy, config.world, 1, 2, 0)
    assert np.isfinite(result["reward"])
    assert isinstance(config.make_world(1, 0), PettingZooWorld)
