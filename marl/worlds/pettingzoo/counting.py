"""How many agents an environment of PettingZoo has: the options that say so."""

import re
from collections.abc import Sequence
from math import gcd

COUNTED: dict[str, dict[str, str]] = {
    "pettingzoo.butterfly.knights_archers_zombies": {
        "num_archers": "archer",
        "num_knights": "knight",
    },
    "pettingzoo.butterfly.pistonball": {"n_pistons": "piston"},
    "pettingzoo.sisl.multiwalker": {"n_walkers": "walker"},
    "pettingzoo.sisl.pursuit": {"n_pursuers": "pursuer"},
    "mpe2.collect_treasure": {"num_collectors": "collector", "num_deposits": "deposit"},
    "mpe2.simple_adversary": {"N": "agent"},
    "mpe2.simple_formation": {"N": "agent"},
    "mpe2.simple_line": {"N": "agent"},
    "mpe2.simple_spread": {"N": "agent"},
    "mpe2.simple_tag": {"num_good": "agent", "num_adversaries": "adversary"},
    "mpe2.simple_world_comm": {"num_good": "agent", "num_adversaries": "adversary"},
}
"""By an environment's module without its version: the options that count its agents, each with the
end of the names of the agents that it counts."""


def counts(module: str, names: Sequence[str], count: int) -> dict[str, int]:
    """The options that give the environment of a module `count` agents instead of those with these
    names. Several options keep their ratio; agents that none counts stay. Raises ValueError with
    the end of a sentence if there are no such options or numbers."""
    options = COUNTED.get(re.sub(r"_v\d+$", "", module))
    if options is None:
        raise ValueError(f"has {len(names)} agents, and marl knows no option that changes that")
    kinds = [re.sub(r"_?\d+$", "", name) for name in names]
    now = {option: sum(x.endswith(kind) for x in kinds) for option, kind in options.items()}
    others = len(names) - sum(now.values())
    unit = gcd(*now.values())
    least = sum(now.values()) // unit
    times, rest = divmod(count - others, least)
    if times < 1 or rest:
        several = ", ".join(str(others + least * k) for k in (1, 2, 3))
        shares = " to ".join(str(n // unit) for n in now.values())
        stay = f": {' and '.join(now)} stay {shares}" if len(now) > 1 else ""
        raise ValueError(f"can have {several}, ... agents, not {count}{stay}")
    return {option: n // unit * times for option, n in now.items()}
