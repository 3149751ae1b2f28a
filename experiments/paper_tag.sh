#!/bin/sh
# Table 3 of the MADDPG paper, predator-prey, three seeds, in all pairings; flags are handed on.
cd "$(dirname "$0")/.." && exec python benchmarks/paper.py tag "$@"
