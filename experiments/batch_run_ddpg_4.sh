#!/bin/sh
# The main experiment on 4 agents, five seeds; flags are handed on. Then: marl compare ddpg_4
cd "$(dirname "$0")/.." && exec python -m marl.cli sweep experiments/ddpg_4.json "$@"
