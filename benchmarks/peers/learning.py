"""Trains BenchMARL's learners, for benchmarks/learning.py.

    python learning.py ippo|mappo|qmix|vdn|iql|isac|masac vmas|spread --frames F --every F --seed S

It runs in an interpreter that has BenchMARL and marl. It prints JSON lines: first
{"versions": text, "settings": {name: value}}, then after every `--every` frames {"frames": steps of
all worlds together, "cpu_seconds": of collecting and learning so far, "return": a number}.

The return is that of greedy play: the sum of an episode's rewards, mean over the agents and over
the same 200 starts each time. Seconds are those of this process and its children on one thread,
without building the experiment and without this play.

The settings are BenchMARL's own (`get_from_yaml`: a perceptron of 256, 256; shared parameters; 6000
frames a batch from 10 worlds; 45 epochs of minibatches of 400, or 1000 updates of 128). Its
logs, and its own evaluations, are off. Its worlds:

vmas    its task VMAS simple_spread as it comes: 3 agents, 100 steps; forces for ippo, mappo, isac
        and masac, nine moves for the others.
spread  marl's exported `parallel_env`, 3 agents, 25 steps, discrete actions, in BenchMARL's class
        for PettingZoo. Its own task of that name needs pettingzoo.mpe, which is gone from
        PettingZoo.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import VmasTask
from benchmarl.environments.pettingzoo.common import PettingZooClass
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from tensordict import TensorDict
from torchrl.envs import EnvBase, PettingZooWrapper
from torchrl.envs.utils import ExplorationType, set_exploration_type

ROWS = ("ippo", "mappo", "qmix", "vdn", "iql", "isac", "masac")
PACKAGES = ("benchmarl", "torchrl", "vmas", "pettingzoo", "torch")
EPISODES = 200  # in each evaluation
STARTS = 1_000_000  # the seed of their starts
SPREAD: dict[str, Any] = {
    "num_agents": 3,
    "agent_density": 3,
    "observation": "everything",
    "reward": "mpe2",
}
SPREAD_STEPS = 25


def spent() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Exported(PettingZooClass):
    """marl's exported spread as a task. BenchMARL steps ten of it one after the other."""

    def __init__(self) -> None:
        super().__init__("SIMPLE_SPREAD", {"max_cycles": SPREAD_STEPS, **SPREAD})

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        import marl

        def make() -> EnvBase:
            return PettingZooWrapper(
                marl.parallel_env("spread", **self.config),
                categorical_actions=True,
                return_state=True,
                device=device,
                seed=seed,
            )

        return make

    def supports_continuous_actions(self) -> bool:
        return False


def play_exported(experiment: Experiment) -> float:
    """The return in marl's spread, all episodes side by side."""
    import marl

    world = marl.make(
        "spread",
        num_worlds=EPISODES,
        seed=STARTS,
        actions="discrete",
        integration="explicit",
        episode_length=SPREAD_STEPS,
        **SPREAD,
    )
    (theirs,) = experiment.group_map
    ((ours, observation),) = world.reset().items()
    total = 0.0
    for _ in range(SPREAD_STEPS):
        seen = {theirs: {"observation": torch.from_numpy(observation)}}
        chosen = experiment.policy(TensorDict(seen, [EPISODES]))[theirs, "action"]
        moves = torch.nn.functional.one_hot(chosen, 5).float().numpy()
        step = world.step({ours: moves})
        observation = step.observation[ours]
        total += float(step.reward[ours].mean())
    return total


def play_vmas(experiment: Experiment) -> float:
    """The return in VMAS's simple_spread, all episodes side by side."""
    with torch.random.fork_rng():  # training goes on as if nobody had played
        experiment.test_env.set_seed(STARTS)
        played = experiment.test_env.rollout(experiment.max_steps, experiment.policy)
    (group,) = experiment.group_map
    rewards = played["next", group, "reward"]  # [episodes, steps, agents, 1]
    return float(rewards.sum(1).mean())


class Curve(Callback):
    """Prints a line of the learning curve every so many frames."""

    def __init__(self, every: int, play: Callable[[Experiment], float]) -> None:
        super().__init__()
        self.every, self.play = every, play
        self.begun = self.left_out = 0.0

    def on_setup(self) -> None:
        self.begun = spent()

    def on_train_end(self, training_td: Any, group: str) -> None:
        before = spent()
        frames = self.experiment.total_frames
        if frames % self.every:
            return
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            value = self.play(self.experiment)
        line = {"frames": frames, "cpu_seconds": before - self.begun - self.left_out}
        answer({**line, "return": value})
        self.left_out += spent() - before


def answer(line: dict[str, Any]) -> None:
    """Print a line of JSON."""
    print(json.dumps(line), file=ANSWERS, flush=True)


def settings(frames: int, folder: str) -> ExperimentConfig:
    """BenchMARL's default settings for so many frames, without logs and evaluations."""
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames = frames
    config.evaluation = config.create_json = config.render = False
    config.evaluation_episodes = EPISODES  # the size of the world in which `play_vmas` plays
    config.loggers = []
    config.save_folder = folder
    return config


def train(row: str, world: str, frames: int, every: int, seed: int) -> None:
    """Train one learner and print its curve. Stops with a sentence if `every` does not fit."""
    algorithm = algorithm_config_registry[row].get_from_yaml()
    task = Exported() if world == "spread" else VmasTask.SIMPLE_SPREAD.get_from_yaml()
    curve = Curve(every, play_exported if world == "spread" else play_vmas)
    with tempfile.TemporaryDirectory() as folder:
        config = settings(frames, folder)
        batch = config.collected_frames_per_batch(algorithm.on_policy())
        if every % batch or frames % every:
            raise SystemExit(
                f"--every should be a multiple of {batch}, and --frames of --every, but they are "
                f"{every} and {frames}"
            )
        model = MlpConfig.get_from_yaml()
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
        answer({"versions": versions, "settings": {**used(config, algorithm), **vars(algorithm)}})
        Experiment(task, algorithm, model, seed, config, callbacks=[curve]).run()


def used(config: ExperimentConfig, algorithm: AlgorithmConfig) -> dict[str, Any]:
    """The settings that decide how this algorithm learns."""
    other = "off_policy" if algorithm.on_policy() else "on_policy"
    shared = ("gamma", "lr", "clip_grad_val", "polyak_tau", "share_policy_params", "max_n_frames")
    own = ("exploration", "on_policy", "off_policy")
    return {
        name: value
        for name, value in vars(config).items()
        if name in shared or (name.startswith(own) and not name.startswith(other))
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("world", choices=("vmas", "spread"))
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.row, options.world, options.frames, options.every, options.seed)


if __name__ == "__main__":
    ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    sys.stdout.flush()
    main()
