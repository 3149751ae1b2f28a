"""Train a config with several seeds and keep the run that plays best.

Seeds differ, most of all with more agents than in training. A user who needs one good policy trains
a few. All of them play the same starts. These starts serve no other purpose: they are not those of
evaluations in training, nor those of `marl evaluate`.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from marl.config.model import Config
from marl.evaluation import evaluate, primary_metric
from marl.runs.files import whole_file
from marl.runs.frozen import resolve_frozen
from marl.runs.loading import find_policy
from marl.runs.log import read_log
from marl.runs.run import Run
from marl.sweeps.sweep import Job, Sweep
from marl.values import whole_number

WORTH = 2_000  # agents that each seed plays with each number of agents
LEAST = 25  # episodes
SLOW_LEAST = 20  # likewise in slow worlds, whatever the number of agents
KEPT = ("log.jsonl", "curve.png")  # of a run's statistics


@dataclass(frozen=True)
class Played:
    """The scores of a run of one seed, with several numbers of agents."""

    job: Job
    results: tuple[dict, ...]

    @property
    def score(self) -> float:
        """Mean over the numbers of agents of the first metric, or of the reward if there is no
        metric."""
        return float(np.mean([x[primary_metric(x) or "reward"] for x in self.results]))

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the training."""
        lines = [x["cpu_seconds"] for x in read_log(self.job.stats) if "cpu_seconds" in x]
        return float(lines[-1]) if lines else math.nan


def seed_sweep(config: Config, name: str, count: int) -> Sweep:
    """A run for each of `count` seeds, from the config's own seed on, called NAME-SEED. Raises
    UserError if a run called `name` exists."""
    Run(name).check_free()
    whole_number("the last seed", config.training.seed + count - 1)
    jobs = []
    for seed in range(config.training.seed, config.training.seed + count):
        training = config.training.model_copy(update={"seed": seed})
        own = resolve_frozen(replace(config, training=training))
        jobs.append(Job(f"{name}-{seed}", {}, seed, own))
    return Sweep(name, jobs)


def play(jobs: Sequence[Job]) -> list[Played]:
    """Let finished runs play the same starts, with their number of agents in training and with
    `training.evaluate_agents`. The best run comes first."""
    played = []
    for job in jobs:
        policy = find_policy(job.name)
        starts = int(np.random.SeedSequence([jobs[0].seed, WORTH]).generate_state(1)[0])
        results = []
        for agents in (job.config.world.agent_count, *job.config.training.evaluate_agents):
            world = policy.world_for(agents)
            episodes = SLOW_LEAST if world.slow else max(-(-WORTH // agents), LEAST)
            limit = job.config.evaluation.max_steps
            result = evaluate(policy.policy, world, agents, episodes, starts, max_steps=limit)
            results.append(result)
        played.append(Played(job, tuple(results)))
    return sorted(played, key=lambda x: -x.score)


def keep(best: Job, name: str) -> None:
    """Copy a run's weights and statistics to the name `name`."""
    own = Run(best.name)
    with Run.create(name, best.config) as run:
        for kept in KEPT:
            with whole_file(run.stats / kept) as partial:
                shutil.copyfile(own.stats / kept, partial)
        with whole_file(run.weights) as partial:  # last: with its weights the run is there
            shutil.copyfile(own.weights, partial)
