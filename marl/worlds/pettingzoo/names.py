"""Games of PettingZoo and MPE2 that marl has itself, by their names there."""

import re

MPE2 = {
    "simple": "simple",
    "simple_adversary": "adversary",
    "simple_crypto": "crypto",
    "simple_push": "push",
    "simple_reference": "reference",
    "simple_speaker_listener": "speaker_listener",
    "simple_spread": "spread",
    "simple_tag": "tag",
    "simple_world_comm": "world_comm",
}
"""MPE2's names of our scenarios; a version such as _v3 may follow."""

REMOVED = {
    "butterfly/prison": "prison",
    "butterfly/prospector": None,
    "sisl/waterworld": "waterworld",
}
"""Games that PettingZoo has no more, and our scenario for each."""

ORIGINALS = {
    "pettingzoo:butterfly/cooperative_pong_v6": "cooperative_pong",
    "pettingzoo:butterfly/knights_archers_zombies_v11": "kaz",
    "pettingzoo:butterfly/pistonball_v6": "real_pistonball",
    "pettingzoo:sisl/multiwalker_v9": "multiwalker",
    "pettingzoo:sisl/pursuit_v5": "real_pursuit",
}
"""PettingZoo's own games behind the observations of a scenario of ours."""


def gone(name: str) -> str:
    """What became of a game that PettingZoo has no more ("sisl/waterworld_v4"), and our scenario
    that replaces it, as the end of a sentence; empty if it is no such game."""
    package, _, full = name.rpartition("/")
    game = re.sub(r"_v\d+$", "", full)
    if package == "mpe":
        ours = f"marl's scenario {MPE2[game]!r} is that game, and so is " if game in MPE2 else ""
        return f"has moved out of PettingZoo: {ours}pettingzoo:mpe2/{full}"
    if f"{package}/{game}" not in REMOVED:
        return ""
    scenario = REMOVED[f"{package}/{game}"]
    ours = f"marl's scenario {scenario!r} is that game" if scenario else "marl has none like it"
    return f"was removed from PettingZoo: {ours}"
