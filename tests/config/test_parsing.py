import copy
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from marl.config.checking import setting_names
from marl.config.model import SECTIONS
from marl.config.parsing import find_config, load_config, parse_config, with_settings
from marl.errors import UserError


def refused(*settings: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(with_settings({}, settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_filled_in():
    config = parse_config({})
    assert config.scenario == "spread"
    assert config.world.num_agents == 4
    assert config.agent_name == "atoc"
    assert config.training.num_worlds == 64


def test_json_beats_defaults_and_flags_beat_json(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"world": {"num_agents": 5, "reward": "nearest"}}')
    config = load_config(path, ["world.num_agents=6", "training.steps=1e5"])
    assert config.world.num_agents == 6
    assert config.world.reward == "nearest"
    assert config.training.steps == 100_000


def test_parsing_changes_nothing_and_is_stable():
    data = {"world": {"num_agents": 7}, "evaluation": {"world": {"reward": "mpe2"}}}
    before = copy.deepcopy(data)
    config = parse_config(data)
    assert data == before
    stored = json.loads(json.dumps(config.to_json()))
    assert parse_config(stored) == config


def test_a_setting_of_another_agent_is_said_to_be_one():
    sentence = refused("agent.name=atoc_comm", "agent.width=9")
    assert "agent.width is a setting of another kind of agent; known here are" in sentence
    assert "communication" in sentence


def test_groups_that_are_not_alike():
    """By name, or by settings on top of those of `agent`."""
    data = {"world": {"scenario": "tag"}, "agent": {"name": "maddpg", "hidden": [8]}}
    config = parse_config({**data, "agents": {"adversaries": "ddpg", "good": {"gamma": 0.5}}})
    assert config.agents["adversaries"].name == "ddpg"
    assert config.agents["adversaries"].hidden == (8,)
    assert config.agents["good"].name == "maddpg"
    assert config.agents["good"].gamma == 0.5
    assert parse_config(json.loads(json.dumps(config.to_json()))) == config
    groups = config.make_world(1, 0).groups
    assert not config.make_agent(groups, 0).stackable
    assert parse_config(data).make_agent(groups, 0).stackable


@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        ({"prey": "ddpg"}, "agents.prey is no group; the groups are adversaries, good"),
        ({"good": "ddppg"}, "did you mean ddpg?"),
        ({"good": {"gama": 0.5}}, "did you mean agents.good.gamma?"),
        ({"good": {"policy": "ddpg"}}, 'agents.good.policy is "ddpg", but should be random'),
        ({"good": 3}, "agents.good.name is 3, but should be ddpg or global"),
        ("ddpg", 'agents is "ddpg", but should be an object of groups'),
    ],
)
def test_groups_that_cannot_be(agents, sentence):
    with pytest.raises(UserError) as caught:
        parse_config({"world": {"scenario": "tag"}, "agents": agents})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("2", "training.reward_sharing is 2, but should be less than or equal to 1"),
        ('{"agents": -1}', "training.reward_sharing.agents is -1, but should be greater than"),
        ("much", 'training.reward_sharing is "much", but should be a valid number'),
    ],
)
def test_a_number_or_one_for_each_group(value, sentence):
    assert refused(f"training.reward_sharing={value}").startswith(sentence)


def test_settings_do_not_change_their_input():
    data = {"world": {"num_agents": 7}}
    with_settings(data, ["world.num_agents=8"])
    assert data == {"world": {"num_agents": 7}}


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("world.num_agent=3", "num_agent is not a known setting; did you mean world.num_agents?"),
        ("trainin.steps=3", "trainin is not a known setting; did you mean training?"),
        ("agent.num_agents=3", "did you mean world.num_agents?"),
        ("evaluation.world.rewad=3", "did you mean evaluation.world.reward?"),
        ("world.num_agents=0", "world.num_agents is 0, but should be greater than or equal to 1"),
        ('world.num_agents="4"', 'world.num_agents is "4", but should be a valid integer'),
        ("world.num_agents=true", "world.num_agents is true, but should be a valid integer"),
        ("agent.gamma=NaN", "agent.gamma is nan, but should be a finite number"),
        ("agent.gamma=1e999", "agent.gamma is inf, but should be a finite number"),
        ("agent.gamma=1", "agent.gamma is 1, but should be less than 1"),
        ("agent.network=cnn", "agent.network is \"cnn\", but should be 'mlp' or 'set'"),
        ("world.scenario=sprad", "did you mean spread?"),
        ("world.scenario=/tmp/evil.py:Class", "should be 'module:NAME', as Python imports them"),
        ("world.scenario=../x:Class", "should be 'module:NAME', as Python imports them"),
        ("world.scenario=os:path", "is not a subclass of Scenario"),
        ("agent.name=dqn", 'agent.name is "dqn", but should be ddpg or global or atoc'),
        ("world=3", "world is 3, but should be an object"),
        ("training=[]", "training is [], but should be an object"),
        ("training.replay_size=3", "should be at least training.num_worlds, 64"),
        ("evaluation.agents=[4,0]", "evaluation.agents holds 0"),
        ("evaluation.world.num_agents=3", "evaluation.world.num_agents has no place there"),
        ("world.num_agents", "is no setting: write KEY=VALUE"),
        ("=3", "is no setting: write KEY=VALUE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(setting, sentence):
    assert sentence in refused(setting)


def test_a_setting_below_a_value_is_refused():
    assert "holds no settings" in refused("world.num_agents=3", "world.num_agents.x=1")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "is no valid JSON"),
        (b'{"world": {"num_agents": 1, "num_agents": 2}}', "a key stands twice"),
        (b"[1]", "holds no JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "is no valid JSON"),
        (b"", "is no valid JSON"),
    ],
)
def test_files_that_are_no_configs(tmp_path, content, sentence):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        load_config(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        load_config(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot read"):
        load_config(tmp_path)


def test_every_setting_has_a_name():
    names = setting_names()
    assert {"world.scenario", "world.num_agents", "agent.gamma", "training.steps"} <= set(names)
    assert len(names) == len(set(names))


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["mlp", "set", "ddpg", "psne", "shared", "last", "a:b", "os:path", "../x", ".x:Y", ":"]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(setting_names()), inner, max_size=3)
    ),
    max_leaves=6,
)
SETTINGS = st.dictionaries(
    st.sampled_from([*setting_names(), *SECTIONS]) | st.text(max_size=6), VALUES, max_size=4
)


@given(SETTINGS)
@how(max_examples=300, deadline=None)
def test_whatever_a_config_holds_it_is_read_or_refused_in_one_sentence(values):
    data: dict = {}
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        section = data
        for key in path:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                section = {}
        section[last] = value
    before = copy.deepcopy(data)
    with suppress(UserError):
        config = parse_config(data)
        assert parse_config(config.to_json()) == config
    assert repr(data) == repr(before)  # NaN is not equal to itself


def test_agents_of_ones_own_that_are_none():
    assert "agent.name" in refused("agent.name=nowhere:AGENT")
    assert "'nowhere:AGENT' cannot be imported" in refused("agent.name=nowhere:AGENT")
    assert "should be 'module:NAME'" in refused("agent.name=:")
    assert "agent 'json:loads' is not an AgentKind" in refused("agent.name=json:loads")


@pytest.mark.parametrize(
    ("world", "numbers"),
    [
        ({}, (4, 12, 80, 1000)),
        ({"num_agents": 7}, (4, 12, 80, 1000)),
        ({"num_agents": 7, "observation": "everything"}, (7,)),  # no policy of 7 fits others
        ({"scenario": "reference"}, (2,)),
        ({"scenario": "tag", "num_good": 2}, (5,)),
    ],
)
def test_the_scenario_says_with_how_many_agents_to_evaluate(world, numbers):
    config = parse_config({"world": world})
    assert config.evaluation.agents == numbers
    assert parse_config(config.to_json()) == config
    assert parse_config({"world": world, "evaluation": {"agents": [3]}}).evaluation.agents == (3,)


def write(folder, **configs):
    for name, data in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def test_a_config_states_only_what_differs_from_its_base(tmp_path):
    write(
        tmp_path,
        one={"base": "two", "world": {"reward": "shared"}, "agent": {"hidden": [4]}},
        two={"base": "spread", "world": {"num_agents": 7}, "agent": {"hidden": [8, 8]}},
    )
    config = load_config(tmp_path / "one.json", ["world.num_agents=9"])
    spread = load_config(find_config("spread"))
    assert (config.world.reward, config.world.num_agents) == ("shared", 9)
    assert config.agent.hidden == (4,)
    assert config.agent.gamma == spread.agent.gamma != parse_config({}).agent.gamma
    assert config.evaluation == spread.evaluation
    assert "base" not in config.to_json()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"base": "none"}, "there is no config 'none'; known are .*spread"),
        ({"base": 3}, "base is 3, but should be a file or the name of a config"),
        ({"base": "x.json"}, "x.json is its own base, by way of .*x.json"),
        ({"base": "y.json"}, "its own base"),
    ],
)
def test_a_base_that_cannot_be(tmp_path, data, sentence):
    write(tmp_path, x=data, y={"base": "x.json"})
    with pytest.raises(UserError, match=sentence):
        load_config(tmp_path / "x.json")


def test_worlds_side_by_side_take_the_values_of_vary_in_turn():
    settings = [
        "training.num_worlds=5",
        'training.vary={"num_landmarks":[4,6],"agent_density":[4.0]}',
    ]
    config = parse_config(with_settings({}, settings))
    kinds = [({"num_landmarks": n, "agent_density": 4.0}, count) for n, count in ((4, 3), (6, 2))]
    assert config.training.kinds() == kinds
    world = config.make_training_world(0)
    assert world.num_worlds == 5
    assert [len(part.positions()[1][0]) for part in world.worlds] == [4, 6]
    assert parse_config(config.to_json()) == config


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ('{"num_landmarks":[4,0]}', "training.vary.num_landmarks is 0"),
        ('{"num_landmark":[4]}', "did you mean training.vary.num_landmarks"),
        ('{"num_agents":[4,5]}', "training.vary: with num_agents 5 there are other agents"),
        ('{"num_perceived_agents":[2]}', "they see other things"),
        ('{"num_landmarks":[]}', "training.vary.num_landmarks is"),
        ('{"num_landmarks":4}', "training.vary.num_landmarks is 4"),
    ],
)
def test_worlds_that_cannot_be_side_by_side_are_refused(vary, said):
    assert said in refused(f"training.vary={vary}")


def test_vary_and_several_numbers_of_agents_exclude_each_other():
    both = refused('training.vary={"num_landmarks":[4,5]}', "training.num_agents=[4,8]")
    assert both == "training.vary and training.num_agents cannot be set together"
