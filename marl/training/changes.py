"""Settings that `resume` cannot change: they are read only when a run begins, so a new value would
stand in the config without any effect on the restored state."""

import re

from marl.config.model import Config
from marl.errors import UserError

READ_AT_THE_START = {
    r"training\.seed": "all random streams continue from where they are",
    r"training\.staggered": "only first episodes are staggered",
    r"training\.num_worlds": "the worlds continue from where they are, as many as there are",
    r"agents\.[^.]+\.frozen": "the weights of frozen groups are read when a run begins",
}
"""{pattern of dotted keys: the reason}"""


def check_changes(before: Config, after: Config, step: int) -> None:
    """Raise UserError for a change of settings that has no effect on a run at this step."""
    old, new = before.flat(), after.flat()
    for key, value in new.items():
        for pattern, reason in READ_AT_THE_START.items():
            if re.fullmatch(pattern, key) and key in old and value != old[key]:
                raise UserError(
                    f"{key} cannot be changed from {old[key]!r} to {value!r} in a run that has "
                    f"begun: {reason}"
                )
    if after.training.steps < step:
        raise UserError(
            f"training.steps is {after.training.steps}, but the run is at step {step} already"
        )
