"""PettingZoo's environments by their names in a config: settings, groups, what is wrong."""

import shutil
import sys

import numpy as np
import pytest
from mpe2_tag import FILMED, NAME, TAG, tag

from marl import evaluation
from marl.config.parsing import parse_config
from marl.errors import UserError
from marl.plugins import imported
from marl.runs.checkpoint import read_checkpoint
from marl.runs.loading import find_policy
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

pytestmark = pytest.mark.usefixtures("few_episodes")


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
