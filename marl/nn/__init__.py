"""Networks by name: what `agent.network` in a config may be."""

from marl.nn.layers import MLP
from marl.nn.sets import SetNetwork

NETWORKS = {"mlp": MLP, "set": SetNetwork}
