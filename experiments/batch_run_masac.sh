#!/bin/sh
# MPE's cooperative navigation, five seeds; flags are handed on. Then: marl compare masac
cd "$(dirname "$0")/.." && exec python -m marl.cli sweep experiments/masac.json "$@"
