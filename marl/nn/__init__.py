"""Networks by name: the values of `agent.network` in a config."""

from marl.nn.layers import MLP
from marl.nn.sets import SetNetwork

NETWORKS = {"mlp": MLP, "set": SetNetwork}
