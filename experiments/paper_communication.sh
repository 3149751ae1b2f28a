#!/bin/sh
# Table 1 of the MADDPG paper, cooperative communication, five seeds; flags are handed on.
cd "$(dirname "$0")/.." && exec python benchmarks/paper.py communication "$@"
