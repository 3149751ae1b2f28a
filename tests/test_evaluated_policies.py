"""Which policies are evaluated in which worlds: runs by name and file, code of others, numbers of
agents."""

import sys
from types import SimpleNamespace

import pytest
from tiny import TINY

import marl
from marl.cli import main
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.evaluation import evaluate, scenes
from marl.policies.builtin import BUILTIN
from marl.rollout import collect
from marl.runs.checkpoint import read_checkpoint, write_checkpoint
from marl.runs.loading import find_policy, load_policy
from marl.runs.log import read_log
from marl.runs.paths import find_weights
from marl.runs.run import Run
from marl.training.loop import train
from marl.worlds.particles.scenarios.spread import Spread

WORLD = Spread(episode_length=20)


def test_a_run_by_name_folder_and_file(data):
    train(parse_config(TINY), "a")
    world = marl.make("spread", num_agents=9, num_worlds=2)
    observation = world.reset()
    actions = [
        marl.load_policy(str(path)).act(observation)["agents"]
        for path in ("a", data / "models" / "a", data / "models" / "a" / "weights.safetensors")
    ]
    assert actions[0].shape == (2, 9, 2)
    assert (actions[0] == actions[1]).all()
    assert (actions[0] == actions[2]).all()
    assert evaluate(find_policy("a").policy, WORLD, 7, 3, 0)["agents"] == 7


def test_a_run_plays_with_its_share_of_random_actions(data):
    logged = []
    for name, epsilon in (("sure", 0.0), ("unsure", 1.0)):
        settings = [f"evaluation.epsilon={epsilon}", "training.evaluate_every=400"]
        train(parse_config(with_settings(TINY, settings)), name)
        logged += [x["evaluation"] for x in read_log(data / "stats" / name) if "evaluation" in x]
    assert logged[0]["path_length"] != logged[1]["path_length"]
    assert weights_of("sure") == weights_of("unsure")
    made, world = find_policy("unsure").policy, marl.make("spread", num_agents=9, num_worlds=2)
    first, again, other = (first_actions(made(world, seed), world) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def weights_of(run):
    return {k: v.tobytes() for k, v in read_checkpoint(find_weights(run)).tensors.items()}


def first_actions(policy, world):
    """After a reset with the same seeds."""
    world.reseed([0, 1])
    return next(collect(world, policy)).transition.action["agents"]


def test_the_mlp_says_which_setting_differs(data):
    train(parse_config(TINY), "a")
    world = marl.make("spread", num_perceived_agents=5)
    with pytest.raises(
        UserError, match="num_perceived_agents is 5, but was 3 in training"
    ) as error:
        load_policy("a", world)
    assert "landmarks" not in str(error.value)


def test_the_set_network_sees_wider(data):
    settings = ["agent.network=set", "agent.width=4", "training.steps=40"]
    train(parse_config(with_settings(TINY, settings)), "a")
    world = marl.make("spread", num_perceived_agents=5, num_perceived_landmarks=6)
    assert load_policy("a", world).act(world.reset())["agents"].shape == (1, 4, 2)


@pytest.fixture(
    params=["world.scenario", "agent.name", "agents.agents.name", "agents.agents.agent.name"]
)
def foreign(request, data, tmp_path, monkeypatch):
    """The setting of a run, and of a copy of its weights, that names code in a file beside them; it
    would leave a trace when imported."""
    train(parse_config({**TINY, "training": {**TINY["training"], "steps": 40}}), "a")
    own = read_checkpoint(Run("a").weights)
    section, *keys = request.param.split(".")
    stored = own.config.data
    evil = {**stored["world" if section == "world" else "agent"], keys[-1]: "evil:Evil"}
    frozen = {"frozen": "a", "agent": evil}
    group = {"agents": frozen if "agent" in keys else evil}
    changed = {**stored, section: group if section == "agents" else evil}
    config = SimpleNamespace(to_json=lambda: changed)
    for path in (Run("a").weights, tmp_path / "x.safetensors"):
        write_checkpoint(path, "weights", config, own.step, own.tensors)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    scenario = (
        "from marl.worlds.particles.scenarios.spread import Spread\n"
        "class Evil(Spread): pass\n"
    )  # fmt: skip
    agent = (
        "from typing import Literal\n"
        "from marl.agents.ddpg import DDPG, DDPGConfig\n"
        "from marl.agents import AgentKind\n"
        "class Config(DDPGConfig): name: Literal['evil:Evil'] = 'evil:Evil'\n"
        "class Mine(DDPG):\n"
        "    def __init__(self, groups, config, *rest):\n"
        "        own = DDPGConfig(**config.model_dump(exclude={'name'}))\n"
        "        super().__init__(groups, own, *rest)\n"
        "Evil = AgentKind(Mine, Config)\n"
    )
    trace = "import pathlib\npathlib.Path('trace').touch()\n"
    (tmp_path / "evil.py").write_text(trace + (scenario if section == "world" else agent))
    yield request.param, tmp_path / "trace"
    sys.modules.pop("evil", None)


def test_no_code_is_imported_merely_because_a_file_names_it(foreign, capsys):
    setting, trace = foreign
    for command in ("list", "clean", "export-stats a --out x.csv"):
        with pytest.raises(SystemExit) as stop:
            main(command.split())
        assert stop.value.code == 0
    assert "finished   step 40 of 40" in capsys.readouterr().out
    for look in (find_policy, load_policy):
        with pytest.raises(UserError, match=rf"names code .* --set {setting}=evil:Evil"):
            look("x.safetensors")
    with pytest.raises(UserError, match="names code that would be imported"):
        find_policy("x.safetensors", [f"{setting}=other:Evil"])
    assert not trace.exists()
    named = find_policy("x.safetensors", [f"{setting}=evil:Evil", "world.reward=nearest"])
    assert named.world.reward == "nearest"
    assert trace.exists()
    assert load_policy("x.safetensors")  # it is imported by now


def test_code_named_by_a_run_in_our_own_folder_is_imported_when_it_is_used(foreign):
    setting, trace = foreign
    assert find_policy("a").config.flat()[setting] == "evil:Evil"
    assert trace.exists()


def test_weights_of_other_shapes_are_refused(data):
    train(parse_config(TINY), "a")
    run = Run("a")
    stored = read_checkpoint(run.weights)
    other = parse_config(with_settings(TINY, ["agent.hidden=[9]"]))
    write_checkpoint(run.weights, "weights", other, 1, stored.tensors)
    with pytest.raises(UserError, match=r"weights.safetensors does not fit: weight .* has shape"):
        load_policy("a")


def test_settings_replace_the_evaluation_world(data):
    settings = ["evaluation.world.reward=mpe2", "world.num_agents=2", "world.num_landmarks=3"]
    train(parse_config(with_settings(TINY, [*settings, "training.steps=40"])), "a")
    assert find_policy("a").world.reward == "mpe2"
    assert find_policy("a", ["world.reward=nearest"]).world.reward == "nearest"
    assert find_policy("a").world_for(20).num_landmarks == 30
    for wrong in ("training.steps=5", "world.num_agents=3", "world.rewad=3", "world.reward=x"):
        with pytest.raises(UserError):
            find_policy("a", [wrong])


def test_settings_replace_those_of_a_trained_agent(data):
    """Where its weights fit still."""
    settings = ["agent.name=auction", "agent.rounds=1", "training.steps=40"]
    train(parse_config(with_settings(TINY, settings)), "a")
    world = marl.make("spread", num_agents=5)
    for chosen, rounds in (([], 1), (["agent.rounds=3"], 3)):
        assert find_policy("a", chosen).policy(world, 0).config.rounds == rounds
    for wrong, why in (
        ("agent.rounds=0", "agent.rounds is 0"),
        ("agent.hidden=[9]", r"does not fit agent.hidden=\[9\]: weight"),
        ("agent.name=atoc", "agent.name cannot be set here"),
    ):
        with pytest.raises(UserError, match=why):
            find_policy("a", [wrong])


def test_the_shipped_auction_serves_eighty():
    """Which the silent policy cannot: .89."""
    shipped = find_policy("spread_auction")
    result = evaluate(shipped.policy, shipped.world_for(80), 80, 12, 0)
    assert result["coverage"] > 0.95


def test_the_shipped_messages_serve_eighty_and_are_needed():
    """.94, and less without a voice."""
    shipped = find_policy("spread_messages")
    result = evaluate(shipped.policy, shipped.world_for(80), 80, 12, 0)
    assert result["coverage"] > 0.91
    muted = find_policy("spread_messages", ["agent.message_loss=1.0"])
    silent = evaluate(muted.policy, muted.world_for(80), 80, 12, 0)
    assert silent["coverage"] < result["coverage"] - 0.02


def test_builtin_policies_need_a_world():
    with pytest.raises(UserError, match="needs the world"):
        load_policy("greedy")
    world = marl.make("spread")
    assert load_policy("greedy", world).act(world.reset())["agents"].shape == (1, 4, 2)


def test_scenes_show_the_coverage():
    shown = list(scenes(BUILTIN["greedy"], find_policy("greedy").world_for(4), steps=3))
    assert len(shown) == 3
    assert "coverage" in shown[-1].caption


@pytest.mark.parametrize("name", ["ddpg", "global", "maddpg"])
def test_policies_tied_to_their_number_of_agents_say_so(data, name):
    train(parse_config(with_settings(TINY, [f"agent.name={name}", "training.steps=40"])), "a")
    tied = find_policy("a")
    assert tied.agents == (4,)
    evaluate(tied.policy, tied.world_for(4), 4, 2, 0)
    with pytest.raises(UserError, match=f"{name!r} was trained as 4 agents and is tied to that"):
        evaluate(tied.policy, tied.world_for(12), 12, 2, 0)


def test_saddpg_can_be_applied_to_any_number(data):
    train(parse_config(with_settings(TINY, ["agent.name=saddpg", "training.steps=40"])), "a")
    free = find_policy("a")
    assert free.agents == (4, 12, 80, 1000)
    assert evaluate(free.policy, free.world_for(12), 12, 2, 0)["agents"] == 12


FIXED = """
import numpy as np
from gymnasium.spaces import Box
from marl.worlds.spaces import Group, Part
from marl.worlds.particles.lane_arrays import load, store
from marl.worlds.particles.layout import Body
from marl.worlds.particles.scenario import Scenario

class Two(Scenario):
    metrics = ("speed",)

    @property
    def groups(self):
        space, parts = Box(-np.inf, np.inf, (2,), np.float32), (Part("self", vectors=1),)
        return {"agents": Group(("a", "b"), space, Box(-1, 1, (2,), np.float32), parts)}

    @property
    def agents(self):
        return [Body()] * 2

    @property
    def landmarks(self):
        return [Body(collides=False)]

    def reset(self, world, random):
        for i in range(2):
            store(world.agents.position, (i, 0), 0.2 * i)
            store(world.agents.position, (i, 1), 0.0)
        store(world.landmarks.position, (0, 0), 0.0)
        store(world.landmarks.position, (0, 1), 0.0)

    def observe(self, world, i, out):
        store(out, 0, load(world.agents.velocity, (i, 0)))
        store(out, 1, load(world.agents.velocity, (i, 1)))

    def score(self, world, reward, metrics):
        for i in range(2):
            store(reward, i, -load(world.agents.velocity, (i, 0)))
        store(metrics, 0, load(world.agents.velocity, (0, 0)))
"""


def test_a_scenario_whose_number_of_agents_is_fixed(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "two.py").write_text(FIXED)
    world = {**TINY["world"], "scenario": "two:Two"}
    settings = ["evaluation.episodes=3", "training.evaluate_every=200"]
    train(parse_config(with_settings({**TINY, "world": world}, settings)), "a")
    assert find_policy("a").agents == (2,)
    for command in ("evaluate a", "render a --steps 2", "compare a"):
        with pytest.raises(SystemExit) as stop:
            main(command.split())
        assert stop.value.code == 0
    assert (tmp_path / "a-2.gif").exists()
    assert "2 agents" in capsys.readouterr().out
    with pytest.raises(UserError, match="the scenario 'two:Two' has 2 agents, always"):
        find_policy("a").world_for(3)


def test_built_in_policies_play_in_any_world_that_is_theirs():
    assert find_policy("landing").scenario == "tennis"
    tag = find_policy("random", ["world.scenario=tag", "world.episode_length=7"])
    assert (tag.scenario, tag.world.episode_length, tag.agents) == ("tag", 7, (4,))
    for name, world, said in [
        ("greedy", "tennis", "this policy needs observations with a part 'landmarks'"),
        ("landing", "spread", "the policy 'landing' needs the world 'tennis'"),
    ]:
        own = find_policy(name, [f"world.scenario={world}"])
        with pytest.raises(UserError, match=said):
            evaluate(own.policy, own.world, own.agents[0], 1, 0)


@pytest.mark.parametrize(
    ("scenario", "setting", "agents"),
    [
        ("adversary", "num_adversaries=5", 7),
        ("tag", "num_adversaries=5", 6),
        ("pettingzoo:mpe2/simple_spread_v3", "options.N=5", 5),
    ],
)
def test_settings_may_change_the_number_of_agents(data, capsys, scenario, setting, agents):
    settings = (f"world.scenario={scenario}", f"world.{setting}")
    found = find_policy("random", settings)
    assert found.agents == (agents,)
    assert found.world_for(agents).agent_count == agents
    if ":" in scenario:
        assert found.world_for(agents + 1).options == {"N": agents + 1}
    else:
        with pytest.raises(UserError, match=f"has {agents} agents, always"):
            found.world_for(agents + 1)
    world = {"scenario": scenario, **TINY["world"]}
    if ":" in scenario:
        world = {"scenario": scenario, "processes": 0, "options": {"max_cycles": 3}}
    config = {**TINY, "world": world, "training": {**TINY["training"], "steps": 4}}
    train(parse_config(config), "shared")
    assert find_policy("shared", settings[1:]).agents == (agents,)
    train(parse_config({**config, "agent": {"name": "maddpg", "hidden": [8]}}), "tied")
    with pytest.raises(UserError, match="tied does not fit: the agent 'maddpg' was trained as"):
        find_policy("tied", settings[1:])


def test_the_evaluations_world_may_have_other_agents(data):
    world = {"scenario": "speaker_listener", "episode_length": 4}
    data = {**TINY, "world": world, "evaluation": {"world": {"num_pairs": 3}}}
    data["training"] = {**TINY["training"], "steps": 8, "evaluate_every": 8}
    train(parse_config(data), "wider")
    (line,) = [line for line in read_log(Run("wider").stats) if "evaluation" in line]
    assert line["evaluation"]["agents"] == 6
    with pytest.raises(UserError, match=r"evaluation.world has 6 agents, but .* tied to the 2"):
        train(parse_config({**data, "agent": {"name": "maddpg", "hidden": [8]}}), "none")
    tag = {**data, "world": {"scenario": "tag"}, "evaluation": {"world": {"num_adversaries": 5}}}
    with pytest.raises(UserError, match=r"evaluation.world does not fit the agent: weight adver"):
        train(parse_config(tag), "none")
    assert not Run("none").weights.exists()
