#!/bin/sh
# The main experiment on 4 agents: five seeds, one after another; more flags are handed on.
set -e
cd "$(dirname "$0")/.."
for seed in 0 1 2 3 4; do
    python experiments/run_multiagent.py --type SADDPG --name "saddpg-4-seed$seed" --seed "$seed" \
        --num-agents 4 --num-landmarks 4 --num_perceived_agents 3 --num_perceived_landmarks 4 \
        --num-steps 2000000 --benchmark "$@"
done
