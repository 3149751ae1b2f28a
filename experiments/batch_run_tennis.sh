#!/bin/sh
# All three with five seeds, then SADDPG in the original's game (legacy); flags are handed on.
# Then: python benchmarks/tennis.py --trained
cd "$(dirname "$0")/.." &&
    python -m marl.cli sweep experiments/tennis.json "$@" &&
    exec python -m marl.cli sweep experiments/tennis_legacy.json "$@"
