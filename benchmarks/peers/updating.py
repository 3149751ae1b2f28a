"""Times another library's MADDPG updates, for benchmarks/updates.py.

    python updating.py benchmarl

It runs in an interpreter that has that library, without marl. It prints {"versions": text} or
{"missing": why}. Then it answers each line {"agents": N, "batch": B, "seconds": S} on standard
input with the CPU seconds of one update of all N agents.
"""

import atexit
import tempfile

from stepping import Run, serve

HIDDEN = [128, 64, 32, 32]


def benchmarl(agents: int, batch: int) -> Run:
    """BenchMARL's MADDPG on VMAS's simple_spread: its own `_optimizer_loop` (loss, backward,
    clipping, Adam, target networks), only that it gets the same batch each time instead of sampling
    one. Every agent has an actor and a critic of its own, which is not its default but our MADDPG;
    the rest of its defaults stay. Its actor loss refreshes all agents' actions, ours only the own;
    it has no target actors, we do.
    """
    import torch
    from benchmarl.algorithms import MaddpgConfig
    from benchmarl.environments import VmasTask
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig

    torch.set_num_threads(1)
    config = ExperimentConfig.get_from_yaml()
    config.share_policy_params = False
    config.off_policy_n_envs_per_worker = 16
    config.off_policy_collected_frames_per_batch = 16 * batch
    config.off_policy_train_batch_size = batch
    config.off_policy_memory_size = 16 * batch
    config.evaluation = config.create_json = False
    config.loggers = []
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    config.save_folder = folder.name
    algorithm = MaddpgConfig.get_from_yaml()
    algorithm.share_param_critic = False
    task = VmasTask.SIMPLE_SPREAD.get_from_yaml()
    task.config["n_agents"] = agents
    model = MlpConfig(HIDDEN, torch.nn.Linear, torch.nn.LeakyReLU)
    experiment = Experiment(task, algorithm, model, 0, config, critic_model_config=model)

    group = "agents"
    frames = next(iter(experiment.collector)).exclude(*experiment._get_excluded_keys(group))
    frames = experiment.algorithm.process_batch(group, frames).reshape(-1)
    experiment.replay_buffers[group].extend(frames)
    fixed = experiment.replay_buffers[group].sample()
    experiment.replay_buffers[group].sample = fixed.copy

    def run(updates: int) -> None:
        for _ in range(updates):
            experiment._optimizer_loop(group)

    run(1)
    return run


PEERS = {"benchmarl": (benchmarl, ("benchmarl", "torchrl", "vmas", "torch"))}
"""How to build each peer, and the packages whose versions matter."""


if __name__ == "__main__":
    serve(PEERS)
