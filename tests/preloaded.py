"""Imports that take seconds, for the processes of `forks`: what marl's commands need, and what its
libraries import when they are first used.

Nothing is computed here that starts threads: a fork would not have them.
"""

from importlib import import_module

for name in (
    "forks",
    "marl.cli.main",
    "marl.studies.comparison",
    "marl.studies.crossplay",
    "marl.studies.scale",
    "marl.sweeps.best_seed",
    "marl.sweeps.progress",
    "marl.sweeps.runner",
    "marl.training.loop",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "torch._dynamo",
):
    import_module(name)

import_module("torch").set_num_threads(1)
import_module("marl").make("spread").reset()  # loads its compiled kernels
