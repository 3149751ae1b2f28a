#!/bin/sh
# The main experiment on 4 agents, five seeds; flags are handed on. Then: marl compare global_4
cd "$(dirname "$0")/.." && exec python -m marl.cli sweep experiments/global_4.json "$@"
