#!/bin/sh
# The main experiment on 12 agents, five seeds; flags are handed on. Then: marl compare global_12
cd "$(dirname "$0")/.." && exec python -m marl.cli sweep experiments/global_12.json "$@"
