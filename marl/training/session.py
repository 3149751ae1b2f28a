"""Session: a run in memory, with its checkpoints, statistics and evaluations."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from marl.agents import Policy
from marl.config.model import Config
from marl.errors import UserError
from marl.evaluation import cut_off, evaluate, primary_metric
from marl.learning.memory import Memory
from marl.policies.epsilon_greedy import epsilon_greedy
from marl.rollout import look
from marl.runs.checkpoint import Checkpoint, as_tensors, is_finite, write_checkpoint
from marl.runs.files import WholeFiles
from marl.runs.frozen import freeze
from marl.runs.log import Log
from marl.runs.run import Run
from marl.training.means import Means
from marl.training.reward_sharing import RewardSharing
from marl.worlds.base import Step, World

EVALUATION_EPISODES = 200  # in each evaluation of training, on starts that nothing else uses; with
# other numbers of agents, episodes times agents stays the same
SLOW_EVALUATION_EPISODES = 20  # the same for slow worlds
MISFIT = (KeyError, ValueError, RuntimeError, IndexError, TypeError)  # what a foreign state raises
LAST = 100  # training episodes in the average of outcomes


class NotFinite(UserError):
    """A number of this run is no longer finite."""

    def __init__(self, run: str, sentence: str) -> None:
        super().__init__(sentence)
        self.run = run


class Session:
    """A run in memory: world, agent, experience, checkpoints, statistics and evaluations."""

    def __init__(self, run: Run, config: Config, checkpoint: Checkpoint | None) -> None:
        t = config.training
        self.run, self.config = run, config
        streams = np.random.SeedSequence(t.seed).generate_state(4)
        self._world_seed, agent_seed, replay_seed, self._evaluation_seed = map(int, streams)
        step = 0 if checkpoint is None else checkpoint.step
        self.world = config.make_training_world(self._world_seed, step)
        self.agent = config.make_agent(self.world.groups, agent_seed, self.world)
        for key in ("num_agents", "evaluate_agents"):
            if getattr(t, key) and not self.agent.size_invariant:
                raise UserError(
                    f"training.{key} has no place here: the agent {config.agent_name!r} is "
                    "tied to one number of agents, world.num_agents"
                )
        evaluated_with = config.evaluation_world.agent_count
        if evaluated_with != config.world.agent_count and not self.agent.size_invariant:
            raise UserError(
                f"evaluation.world has {evaluated_with} agents, but the agent "
                f"{config.agent_name!r} is tied to the {config.world.agent_count} of training"
            )
        if config.evaluation_world != config.world:
            evaluated = config.make_agent(config.evaluation_world.groups, agent_seed)
            try:
                evaluated.load_weights(self.agent.weights())
            except ValueError as error:
                raise UserError(f"evaluation.world does not fit the agent: {error}") from error
        self.shared = RewardSharing(t, self.world.groups)
        if not self.agent.columns(self.world.groups):
            raise UserError("nobody learns: `agents` has all groups played by others")
        generator = torch.Generator().manual_seed(replay_seed)
        try:
            self.memory = Memory(self.world.groups, self.agent, t, generator)
        except ValueError as error:
            raise UserError(str(error)) from error
        self.step = self.updates = 0
        self.done = np.zeros(t.num_worlds, bool)  # worlds to be reset before the next turn
        self.episodes = 0  # finished ones
        self.last: dict[str, deque[float]] = {  # outcomes of the last episodes
            name: deque(maxlen=LAST) for name in sorted(self.world.outcomes)
        }
        self.best: dict[str, Tensor] = {}  # training.publish "best": the weights of ...
        self.results: list[dict[str, Any]] = []  # results of the last evaluation
        self.best_score: float | None = None  # ... the evaluation with the highest first metric
        self.evaluation_due = False  # of this step; a stop may come before its end
        self._means = {kind: Means() for kind in ("reward", "losses", "metrics")}
        self._since = 0, 0.0  # step and wall seconds of this process at the last line of the log
        self._seconds_before = {"cpu_seconds": 0.0, "wall_seconds": 0.0}
        if checkpoint is None:
            freeze(self.agent, config)
            look(self.world, self.agent, self.world.reset(), explore=True)  # or it cannot be played
            self.agent.reset()
            for stage in t.curriculum:  # a fault is told now, not when the stage begins
                self._world_at(stage.until).close()
        else:
            self._restore(checkpoint)
        self.new = checkpoint is None
        self.saved = self.step
        self.share = 1.0  # of this process's time, if several runs train side by side

    def __enter__(self) -> "Session":
        self._log = Log(self.run.stats, self.step, self.evaluation_due)
        self._log.write_settings(self.step, self.config)
        self._begun = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self.world.close()

    def next_stage(self) -> None:
        """Go on in the world of the stage of this step."""
        before, self.world = self.world, self._world_at(self.step)
        before.close()

    def _world_at(self, step: int) -> World:
        """The world of the stage of a step, in the state of the present one. Raises UserError if
        that does not fit."""
        world = self.config.make_training_world(self._world_seed, step)
        try:
            world.load_state_dict(self.world.state_dict())
        except MISFIT as error:
            world.close()
            raise UserError(
                f"training.curriculum: the world from step {step} on cannot go on from the state "
                f"of the one before: {error}"
            ) from error
        return world

    def advance(self, step: Step, count: int) -> Callable[[int], int]:
        """Count a turn. Returns a function: how often a period (0: never) ended in this turn."""
        before, self.step = self.step, self.step + count
        self.done = step.done
        self.episodes += int(step.done.sum())
        for name, last in self.last.items():
            last.extend(step.metrics[name][step.done].tolist())
        for g, reward in step.reward.items():
            self._means["reward"].add(f"reward_{g}", reward)
        for name, values in step.metrics.items():
            counted = step.done if name in self.world.outcomes else slice(None)
            self._means["metrics"].add(name, values[counted])
        return lambda every: self.step // every - before // every if every else 0

    def updated(self, result: dict[str, Tensor]) -> None:
        self.updates += 1
        for name, value in result.items():
            self._means["losses"].add(name, value)

    # ---------------------------------------------------------------------------------- statistics

    def log(self) -> float:
        """Log the means since the last line; return environment steps per second."""
        reward, losses, metrics = (means.by_name() for means in self._means.values())
        self._check({**losses, **reward, **metrics, **self.agent.state_dict()})
        step, seconds = self._since
        passed = time.perf_counter() - self._begun[1]
        speed = (self.step - step) / max(passed - seconds, 1e-9)
        last = {name: float(np.mean(x)) for name, x in self.last.items() if len(x) == LAST}
        self._log.write(
            {
                "step": self.step,
                **self._seconds(),
                "episodes": self.episodes,
                "updates": self.updates,
                "reward": float(np.mean(list(reward.values()))),
                **(reward if len(reward) > 1 else {}),
                "losses": dict(sorted(losses.items())),
                "metrics": metrics,
                **({"last_100": last} if last else {}),
                "steps_per_second": speed,
            }
        )
        for means in self._means.values():
            means.clear()
        self._since = self.step, passed
        return speed

    def evaluate(self, stop: Event) -> list[dict[str, Any]]:
        """Play the same few episodes as in each evaluation, with the trained number of agents and
        with `training.evaluate_agents`. Log the results and return them. Raises EvaluationStopped
        as soon as `stop` is set; the evaluation is then still due."""
        weights = self.agent.weights()

        def copy(world: World, seed: int) -> Policy:
            agent = self.config.make_agent(world.groups, seed, world)
            agent.load_weights(weights)
            return epsilon_greedy(agent, world.groups, self.config.evaluation.epsilon, seed)

        def played(agents: int) -> dict[str, Any]:
            episodes = -(-EVALUATION_EPISODES * trained_with // agents)
            episodes = SLOW_EVALUATION_EPISODES if world.slow else episodes
            limit = self.config.evaluation.max_steps
            seed = self._evaluation_seed
            return evaluate(copy, world, agents, episodes, seed, max_steps=limit, stop=stop)

        t, world = self.config.training, self.config.evaluation_world
        trained_with = world.agent_count
        result = played(trained_with)
        others = {f"evaluation_{n}": played(n) for n in t.evaluate_agents}
        self._log.write({"step": self.step, **self._seconds(), "evaluation": result, **others})
        self.results = [result, *others.values()]
        score = float(np.mean([x[primary_metric(x) or "reward"] for x in self.results]))
        best = math.isfinite(score) and (self.best_score is None or score >= self.best_score)
        if t.publish == "best" and best:
            self.best, self.best_score = weights, score
        self.evaluation_due = False
        return self.results

    def shortfalls(self) -> list[str]:
        """A sentence for each number of agents whose last evaluation was cut off, or is below
        `evaluation.expected`, the usual result of this config."""
        sentences = cut_off(self.results)
        for result in self.results:
            name, agents = primary_metric(result), result["agents"]
            expected = self.config.evaluation.expected.get(agents)
            if name is not None and expected is not None and result[name] < expected:
                sentences.append(
                    f"With {agents} agents this run has {name} {result[name]:.3f}; runs of this "
                    f"config reach {expected:g} or more. Train another seed, or measure this one "
                    f"with more episodes: marl evaluate {self.run.name} --agents {agents}"
                )
        return sentences

    def _seconds(self) -> dict[str, float]:
        """Seconds since the run began, summed over all its processes."""
        passed = {
            "cpu_seconds": time.process_time() - self._begun[0],
            "wall_seconds": time.perf_counter() - self._begun[1],
        }
        before = self._seconds_before
        return {name: before[name] + self.share * value for name, value in passed.items()}

    def _check(self, numbers: Mapping[str, Any]) -> None:
        """Raise NotFinite unless all of these numbers, arrays and tensors are finite."""
        for name, number in numbers.items():
            if not is_finite(np.asarray(number)):
                self._stop(name)

    def _stop(self, name: str) -> NoReturn:
        raise NotFinite(
            self.run.name,
            f"{name} is no longer a finite number at step {self.step}; the last good checkpoint, "
            f"of step {self.saved}, is kept in {self.run.models}",
        )

    # --------------------------------------------------------------------------------- checkpoints

    def write(self, files: WholeFiles) -> None:
        """Write the checkpoint: first the state, from which a run resumes, then the weights. Raises
        NotFinite, before anything is written, if a number in it is not finite."""
        state = self.checked_state()
        counters = {
            "episodes": self.episodes,
            "updates": self.updates,
            "best_score": self.best_score,
            "evaluation_due": self.evaluation_due,
            "means": {kind: means.state() for kind, means in self._means.items()},
            "since_step": self._since[0],
            "since_seconds": time.perf_counter() - self._begun[1] - self._since[1],
            **self._seconds(),
        }
        write_checkpoint(
            self.run.state, "state", self.config, self.step, state, files, counters=counters
        )
        weights = self.best or self.agent.weights()
        due = {"evaluation_due": True} if self.evaluation_due else {}
        write_checkpoint(self.run.weights, "weights", self.config, self.step, weights, files, **due)

    def checked_state(self) -> dict[str, Any]:
        """All tensors and arrays of the state, by name. Raises NotFinite, which names the number,
        if one of them is not finite, or one that the next line of the log needs."""
        parts = {
            "agent": self.agent.state_dict(),
            "replay": self.memory.state_dict(),
            "world": self.world.state_dict(),
            "loop": {"done": self.done},
            "last": {name: np.array(values) for name, values in self.last.items()},
            "best": self.best,
        }
        state = {f"{part}.{k}": v for part, values in parts.items() for k, v in values.items()}
        for means in self._means.values():
            self._check(means.by_name())
        self._check(state)
        return state

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays = checkpoint.tensors
        try:
            self.agent.load_state_dict(as_tensors(arrays, "agent."))
            self.memory.load_state_dict(as_tensors(arrays, "replay."))
            world = {
                k.removeprefix("world."): v for k, v in arrays.items() if k.startswith("world.")
            }
            self.world.load_state_dict(world)
            if arrays["loop.done"].shape != self.done.shape:
                raise ValueError("loop.done is not one for each world")
            self.done = arrays["loop.done"].astype(bool)
            for name, last in self.last.items():
                last.extend(arrays[f"last.{name}"].tolist())
            counters = checkpoint.extra["counters"]
            self.episodes = int(counters["episodes"])
            self.updates = int(counters["updates"])
            best = counters["best_score"]
            self.best_score = None if best is None else float(best)
            if self.config.training.publish == "best":
                self.best = as_tensors(arrays, "best.")
            self.evaluation_due = bool(counters["evaluation_due"])
            for kind, means in self._means.items():
                means.load(counters["means"][kind])
            self._since = int(counters["since_step"]), -float(counters["since_seconds"])
            self._seconds_before = {name: float(counters[name]) for name in self._seconds_before}
        except MISFIT as error:
            raise UserError(
                f"{self.run.state} does not fit its config: {' '.join(str(error).split())}"
            ) from error
        self.step = checkpoint.step
