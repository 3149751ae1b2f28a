"""Imports that take seconds, for the processes of `forks`: what any of marl's commands needs.

Nothing is computed here that starts threads, since forks have none but the one that forks.
"""

import matplotlib.backends.backend_agg
import matplotlib.figure
import matplotlib.ticker  # noqa: F401
import torch
import torch._dynamo  # the first optimiser imports it

import marl
import marl.cli.main
import marl.studies.comparison
import marl.studies.crossplay
import marl.studies.scale
import marl.sweeps.best_seed
import marl.sweeps.progress
import marl.sweeps.runner
import marl.training.loop

torch.set_num_threads(1)
marl.make("spread").reset()  # its kernels
