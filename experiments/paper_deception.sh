#!/bin/sh
# Table 4 of the MADDPG paper, physical deception with 2 and 4 agents, five seeds, in all pairings; flags are handed on.
cd "$(dirname "$0")/.." && exec python benchmarks/paper.py deception "$@"
