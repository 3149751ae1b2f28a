"""Training: collect, store, update, log, evaluate, save.

    every turn          step E worlds, store the transitions
    update_every        `updates` updates, each on its own batch
    log_every, evaluate_every, checkpoint_every

All periods count environment steps. A checkpoint holds the whole state after a turn, before worlds
that are done are reset. So on the CPU, a run that was killed and resumed ends with the same bytes
in its weights, and the same log, as one that was not.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from threading import Event
from typing import Any

import numpy as np

from marl.config.model import Config
from marl.config.parsing import parse_config, with_settings
from marl.errors import UserError
from marl.evaluation import EvaluationStopped, one_thread
from marl.rollout import Collected, collect
from marl.runs.curves import plot_run
from marl.runs.files import whole_files
from marl.runs.frozen import resolve_frozen
from marl.runs.run import Run, create_run, difference, run_state
from marl.training.changes import check_changes
from marl.training.interrupts import interruptible
from marl.training.progress import Display
from marl.training.session import Session
from marl.worlds.base import NotFiniteActions, World
from marl.worlds.combined import ConcatenatedWorlds, split


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped a run after saving it."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__(f"Stopped at step {step}; continue with: marl resume {name}")


def train(config: Config, name: str | None = None, stem: str = "run") -> str:
    """Train a new run and return its name: `name`, or `stem` with a number if `stem` is taken.

    Raises UserError if `name` is taken, a file cannot be written, or a number is no longer finite.
    Raises Stopped after Ctrl-C, once the run is saved.
    """
    config = resolve_frozen(config)
    with create_run(config, name, stem) as run:
        try:
            session = Session(run, config, None)
        except BaseException:  # whatever the reason: nothing was saved
            run.discard()
            raise
        _learn([session])
        return run.name


def resume(name: str, settings: Sequence[str] = ()) -> str:
    """Continue a run that was stopped or killed; errors as in `train`.

    `settings` ("training.steps=2000000") change the stored config; the stored state must fit it.
    Those without an effect on it are refused (changes.py).
    """
    run, config, checkpoint = Run.open(name)
    with run:
        if settings:
            changed = parse_config(with_settings(config.to_json(), settings))
            if checkpoint is None:
                changed = resolve_frozen(changed)
            else:
                check_changes(config, changed, checkpoint.step)
            config = changed
        session = Session(run, config, checkpoint)
        if settings:
            run.write_config(config)
        _learn([session])
        return run.name


def train_together(configs: Mapping[str, Config]) -> None:
    """Train new runs of these names, or continue them, to their end. Configs that differ only in
    their seed share one stack of networks, if their agents are `stackable`.

    Raises UserError as `train` does; `NotFinite` names the run.
    """
    with ExitStack() as runs:
        sessions = []
        for name, config in zip(configs, map(resolve_frozen, configs.values()), strict=True):
            new = run_state(name).state == "new"
            if new:
                run, checkpoint = runs.enter_context(Run.create(name, config)), None
            else:
                run, stored, checkpoint = Run.open(name)
                runs.enter_context(run)
                if stored.to_json() != config.to_json():
                    raise UserError(
                        f"there is a run {name!r} already, with {difference(stored, config)}"
                    )
            try:
                sessions.append(Session(run, config, checkpoint))
            except BaseException:
                if new:
                    run.discard()
                raise
        for together in _of_one_kind(sessions):
            _learn(together)


def _of_one_kind(sessions: Sequence["Session"]) -> list[list["Session"]]:
    """Sessions that can train side by side: at the same step, and equal except for the seed."""
    kinds: dict[Any, list[Session]] = {}
    for number, session in enumerate(sessions):
        settings = {k: v for k, v in session.config.flat().items() if k != "training.seed"}
        kind = (session.step, session.updates, str(settings)) if session.agent.stackable else number
        kinds.setdefault(kind, []).append(session)
    return list(kinds.values())


def _learn(sessions: Sequence["Session"]) -> None:
    """Train one run to its end, or several side by side."""
    first, t = sessions[0], sessions[0].config.training
    world, agent = _side_by_side(sessions)
    with one_thread(), interruptible() as stop, ExitStack() as open_logs:
        for session in sessions:
            open_logs.enter_context(session)
        _save([session for session in sessions if session.new])
        turns, stage_end = _turns(world, agent, sessions), t.stage(first.step)[0]

        with Display(first.run.name, t.steps, first.step) as display:
            for session in sessions:
                display.say(f"run {session.run.name}: {session.run.weights}")
            _evaluate(sessions, display, stop)  # where a stop came before it
            while first.step < t.steps and not stop.is_set():
                if first.step >= stage_end:
                    for session in sessions:
                        session.next_stage()
                    world, stage_end = _beside(sessions), t.stage(first.step)[0]
                    turns = _turns(world, agent, sessions)
                progress = first.step / t.steps
                agent.anneal(progress)
                try:
                    turn = next(turns)
                except NotFiniteActions as error:
                    for session in sessions:
                        session.checked_state()  # names the number, and whose it is
                    raise UserError(f"at step {first.step} {error}") from error
                for session, own in zip(sessions, split(turn, len(sessions)), strict=True):
                    reward = session.shared(own.transition.reward, progress)
                    session.memory.add(own.transition._replace(reward=reward))
                    due = session.advance(own.step, t.num_worlds)
                if first.step >= t.learning_starts:
                    for _ in range(due(t.update_every) * t.updates):
                        _update(agent, sessions)
                finished = first.step >= t.steps
                evaluating = due(t.evaluate_every) or (finished and t.evaluate_every)
                logging = due(t.log_every) or finished
                for session in sessions:
                    session.evaluation_due = bool(evaluating)
                    if logging:
                        speed = session.log()
                if evaluating and finished:  # which may take long; the training is safe
                    _save(sessions)
                _evaluate(sessions, display, stop)
                if due(t.checkpoint_every) and not finished:
                    _save(sessions)
                if logging:
                    display.logged(first.step, speed)
            _save(sessions)
        if first.step < t.steps or any(session.evaluation_due for session in sessions):
            raise Stopped(first.run.name, first.step)
        for session in sessions:
            plot_run(session.run.name, session.config.world.solved_at)
            for sentence in session.shortfalls():
                display.say(sentence)


def _side_by_side(sessions: Sequence["Session"]) -> tuple[World, Any]:
    """The worlds and the agents of all sessions, as one."""
    if len(sessions) == 1:
        return sessions[0].world, sessions[0].agent
    for session in sessions:
        session.share = 1 / len(sessions)
    agents: list[Any] = [session.agent for session in sessions]
    return _beside(sessions), agents[0].stack(agents)


def _beside(sessions: Sequence["Session"]) -> World:
    """The worlds of all sessions, as one."""
    worlds = [session.world for session in sessions]
    return worlds[0] if len(worlds) == 1 else ConcatenatedWorlds(worlds)


def _turns(world: World, agent: Any, sessions: Sequence["Session"]) -> Iterator[Collected]:
    """The turns from here on. The first one begins with the resets that are due, so that a stop
    before it leaves the worlds as they were saved."""
    done = np.concatenate([session.done for session in sessions])
    observation = world.reset(done)
    agent.reset(done)
    new_episode = done if sessions[0].step else None  # at step 0 nobody has perceived anything
    yield from collect(world, agent, True, observation, new_episode)


def _evaluate(sessions: Sequence["Session"], display: Display, stop: Event) -> None:
    """The evaluations that are due, until a stop is asked for; the others stay due."""
    for session in sessions:
        if session.evaluation_due:
            try:
                display.evaluated(session.evaluate(stop))
            except EvaluationStopped:
                return


def _update(agent: Any, sessions: Sequence["Session"]) -> None:
    """One update of each session's agent, on a batch of its own, if there is one."""
    batches = [session.memory.sample(session.config.training.batch_size) for session in sessions]
    if not all(batches):
        return
    results = agent.update(batches) if len(sessions) > 1 else [agent.update(batches[0])]
    for session, result in zip(sessions, results, strict=True):
        session.updated(result)


def _save(sessions: Sequence["Session"]) -> None:
    """Write the checkpoints of all sessions or of none. They stay at the same step, so they can
    continue side by side."""
    with whole_files() as files:
        for session in sessions:
            session.write(files)
    for session in sessions:
        session.saved = session.step
