#!/bin/sh
# Table 5 of the MADDPG paper, covert communication, five seeds, in all pairings; flags are handed on.
cd "$(dirname "$0")/.." && exec python benchmarks/paper.py crypto "$@"
