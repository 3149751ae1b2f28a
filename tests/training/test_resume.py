"""Every kind of agent and world, stopped before its first turn and after every turn: weights, state
and logs are those of a run that was not."""

import shutil
import signal

import forks
import pytest
from tiny import TINY

from marl import evaluation
from marl.config.parsing import parse_config, with_settings
from marl.runs.checkpoint import read_checkpoint
from marl.runs.log import read_log
from marl.runs.run import Run, run_state
from marl.training.loop import Stopped, resume, train, train_together
from marl.training.progress import Display
from marl.training.session import Session
from marl.worlds.pettingzoo import workers

SHORT = {
    **TINY,
    "world": {"episode_length": 5, "num_agents": 3},
    "training": {
        "steps": 27, "num_worlds": 3, "batch_size": 4, "replay_size": 18, "learning_starts": 6,
        "update_every": 3, "log_every": 12, "checkpoint_every": 0, "evaluate_every": 0,
    },
}  # fmt: skip
TALKING = ("agent.message_loss=0.3", "agent.message_delay=1", "agent.rounds=2")
FOREIGN = (
    "world={}", "world.scenario=pettingzoo:mpe2/simple_tag_v3", 'world.options={"max_cycles": 3}',
    "agent.name=maddpg",
)  # fmt: skip
KINDS = {
    "the usual": (),
    "episodes that end together": ("training.staggered=false",),
    "gaussian noise, everything on": (
        "exploration.kind=gaussian", "agent.normalise=true", "agent.augment=true",
        "agent.twin_critics=true", "agent.actor_delay=2", "agent.target_smoothing=0.1",
        "agent.network=mlp",
    ),
    "a set": ("agent.network=set", "agent.layer_norm=[\"actor\"]"),
    "critics that see all": ("agent.name=saddpg",),
    "parameter noise": ("agent.name=maddpg", "exploration.kind=psne"),
    "discrete actions": ("agent.name=maddpg", "world.actions=discrete"),
    "auction": ("agent.name=auction", *TALKING),
    "messages": ("agent={}", "agent.name=messages", *TALKING),
    "attention": ("agent.name=atoc_comm", "agent.period=2"),
    "attention, parameter noise": (
        "agent.name=atoc_comm", "agent.period=3", "exploration.kind=psne",
    ),
    "several groups": ("world={}", "world.scenario=tag", "world.episode_length=5",
                       "agent.name=maddpg", "agents.good=ddpg"),
    "goals and messages": ("world={}", "world.scenario=world_comm", "world.episode_length=4",
                           "agent.name=maddpg", "world.actions=discrete"),
    "a frozen group": ("world={}", "world.scenario=tag", "world.episode_length=5",
                       "agent.name=ddpg", "agents.good.frozen=prey"),
    "a group that talks": ("world={}", "world.scenario=tag", "world.episode_length=5",
                           "agent.name=maddpg", "agents.adversaries=atoc_comm"),
    "a policy in a group": ("world={}", "world.scenario=tag", "world.episode_length=5",
                            "agent.name=maddpg", "agents.good=random"),
    "worlds that differ": ('training.vary={"num_landmarks":[2,4]}',),
    "several numbers of agents": ("training.num_agents=[2,3]",),
    "team spirit, the best weights": (
        "training.reward_sharing=0.5", "training.final_reward_sharing=0.0",
        "training.evaluate_every=18", "training.publish=best",
    ),
    "tennis": ("world={}", "world.scenario=tennis", "world.episode_length=4", "agent.name=maddpg"),
    "PettingZoo": (*FOREIGN, "world.processes=0"),
    "PettingZoo in processes": (*FOREIGN, "world.processes=2", "training.steps=9"),
}  # fmt: skip


def short(*settings: str):
    return parse_config(with_settings(SHORT, settings))


def stop_after(patch, moment: str, first: str) -> None:
    """Ctrl-C as soon as the session of this run has begun ("__enter__") or made a turn
    ("advance")."""
    method = getattr(Session, moment)

    def interrupted(session, *args):
        result = method(session, *args)
        if session.run.name == first:
            signal.raise_signal(signal.SIGINT)
        return result

    patch.setattr(Session, moment, interrupted)


def in_pieces(monkeypatch, name: str, steps: int, begin, go_on) -> None:
    """Train to the end, with a stop before and after every turn."""
    action, moments = begin, 0
    while moments < 2 or read_checkpoint(Run(name).state, "state").step < steps:
        with monkeypatch.context() as patch:
            stop_after(patch, ("__enter__", "advance")[moments % 2], name)
            try:
                action()
            except Stopped:
                moments += 1
        action = go_on
    go_on()


def result(name: str) -> tuple:
    """Everything that is left of a run, without the time that it took."""
    run = Run(name)
    state = read_checkpoint(run.state, "state")
    tensors = {k: (x.shape, x.tobytes()) for k, x in state.tensors.items()}
    counters = {k: x for k, x in state.extra["counters"].items() if "seconds" not in k}
    timed = ("cpu_seconds", "wall_seconds", "steps_per_second")
    log = [[(k, x) for k, x in line.items() if k not in timed] for line in read_log(run.stats)]
    return run.weights.read_bytes(), tensors, counters, log


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_between_all_turns_ends_as_uninterrupted(data, monkeypatch, kind):
    monkeypatch.setattr("marl.training.session.EVALUATION_EPISODES", 3)
    monkeypatch.setattr(workers, "get_context", lambda _: forks.started())
    config = short(*KINDS[kind])
    if "frozen" in kind:
        train(short(*KINDS[kind][:-1], "training.steps=3"), "prey")
    train(config, "whole")
    in_pieces(
        monkeypatch, "cut", config.training.steps,
        lambda: train(config, "cut"), lambda: resume("cut"),
    )  # fmt: skip
    for ours, expected in zip(result("cut"), result("whole"), strict=True):
        assert ours == expected


def test_seeds_side_by_side_stopped_between_all_turns(data, monkeypatch):
    configs = [short(f"training.seed={seed}", "training.evaluate_every=12") for seed in (0, 1)]
    monkeypatch.setattr("marl.training.session.EVALUATION_EPISODES", 3)

    def together(*names: str) -> None:
        train_together(dict(zip(names, configs, strict=True)))

    together("whole-0", "whole-1")
    cut = ("cut-0", "cut-1")
    in_pieces(monkeypatch, "cut-0", 27, lambda: together(*cut), lambda: together(*cut))
    for seed in (0, 1):
        for ours, expected in zip(result(f"cut-{seed}"), result(f"whole-{seed}"), strict=True):
            assert ours == expected


def test_a_finished_run_and_its_copy_go_on_alike(data):
    """Also if one of them was resumed in between, with nothing to do."""
    train(short(*KINDS["auction"]), "a")
    for folder in ("models", "stats"):
        shutil.copytree(data / folder / "a", data / folder / "b")
    resume("b")
    for name in ("a", "b"):
        resume(name, ["training.steps=36"])
    for ours, expected in zip(result("b"), result("a"), strict=True):
        assert ours == expected


# -------------------------------------------------------------------------- the last evaluation


EVALUATED = ("training.steps=12", "training.evaluate_every=6", "training.publish=best")


def at_the_last_evaluation(monkeypatch, action) -> None:
    """Do something while the episodes after the last turn are played."""
    play = evaluation.collect

    def watched(world, policy, **options):
        for turn in play(world, policy, **options):
            if read_checkpoint(Run("cut").weights).step == 12:
                action()
            yield turn

    monkeypatch.setattr(evaluation, "collect", watched)


@pytest.mark.parametrize(("stops", "number"), [(1, signal.SIGHUP), (2, signal.SIGTERM)])
def test_a_stop_in_the_last_evaluation_loses_nothing(data, monkeypatch, terminal, stops, number):
    """Training is saved before; the evaluation follows when the run is resumed."""
    monkeypatch.setattr("marl.training.session.EVALUATION_EPISODES", 3)
    train(short(*EVALUATED), "whole")
    with monkeypatch.context() as patch:
        at_the_last_evaluation(patch, lambda: signal.raise_signal(number))
        for _ in range(stops):
            with pytest.raises(Stopped, match="step 12; continue with: marl resume cut"):
                resume("cut") if Run("cut").state.exists() else train(short(*EVALUATED), "cut")
            assert run_state("cut").state == "stopped"
            assert [line["step"] for line in read_log(Run("cut").stats)] == [6, 12]
    resume("cut")
    assert run_state("cut").state == "finished"
    for ours, expected in zip(result("cut"), result("whole"), strict=True):
        assert ours == expected


def test_a_crash_after_the_line_of_the_last_evaluation(data, monkeypatch):
    """The line is not there twice."""
    monkeypatch.setattr("marl.training.session.EVALUATION_EPISODES", 3)
    train(short(*EVALUATED), "whole")

    def crash(display, results):
        if read_checkpoint(Run("cut").weights).step == 12:
            raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(Display, "evaluated", crash)
        with pytest.raises(RuntimeError):
            train(short(*EVALUATED), "cut")
    assert "evaluation" in read_log(Run("cut").stats)[-1]
    assert run_state("cut").state == "stopped"
    resume("cut")
    for ours, expected in zip(result("cut"), result("whole"), strict=True):
        assert ours == expected
