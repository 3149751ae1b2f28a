"""All names that a scenario is written with.

>>> from marl.particles import Body, Part, Scenario, load, store, where
"""

from marl.worlds.particles import *  # noqa: F403 (__all__ there says what)
from marl.worlds.particles import __all__ as __all__
