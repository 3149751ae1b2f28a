#!/bin/sh
# Table 2 of the MADDPG paper, cooperative navigation with 3 and 6 agents, five seeds; flags are handed on.
cd "$(dirname "$0")/.." && exec python benchmarks/paper.py navigation "$@"
