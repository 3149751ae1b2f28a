#!/bin/sh
# The main experiment on 12 agents, five seeds; flags are handed on. Then: marl compare maddpg_12
cd "$(dirname "$0")/.." && exec python -m marl.cli sweep experiments/maddpg_12.json "$@"
