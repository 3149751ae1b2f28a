#!/bin/sh
# The main experiment on 12 agents: five seeds, one after another; more flags are handed on.
set -e
cd "$(dirname "$0")/.."
for seed in 0 1 2 3 4; do
    python experiments/run_multiagent.py --type GLOBAL --name "global-12-seed$seed" --seed "$seed" \
        --num-agents 12 --num-landmarks 12 --num_perceived_agents 3 --num_perceived_landmarks 4 \
        --num-steps 350000 --benchmark "$@"
done
