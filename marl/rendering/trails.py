"""Trails: small fading discs at past positions, below the discs of a scene."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from marl.worlds.scene import Scene

LENGTH = 25  # scenes
SIZE = 0.3  # share of the radius of the moving disc
NEAR = 0.01  # world units: a disc that moved less leaves no trail


class Trails:
    """Remembers the last scenes, also while trails are not drawn."""

    def __init__(self) -> None:
        self._past: deque[np.ndarray] = deque(maxlen=LENGTH)

    def note(self, scene: Scene) -> None:
        """Remember a shown scene."""
        if self._past and self._past[-1].shape != scene.positions.shape:
            self._past.clear()
        self._past.append(scene.positions)

    def below(self, scene: Scene) -> Scene:
        """The scene with the trails of moving discs."""
        parts = []
        for age, positions in enumerate(reversed(self._past)):
            gone = np.hypot(*(positions - scene.positions).T) > NEAR  # False where not finite
            colours = scene.colours[gone].copy()
            colours[:, 3] = colours[:, 3] * (1 - age / LENGTH) * 0.5
            parts.append((positions[gone], SIZE * scene.radii[gone], colours))
        own = (scene.positions, scene.radii, scene.colours)
        positions, radii, colours = map(np.concatenate, zip(*parts[::-1], own, strict=True))
        return replace(scene, positions=positions, radii=radii, colours=colours)


def trailed(scenes: Iterable[Scene]) -> Iterator[Scene]:
    """Scenes with trails."""
    trails = Trails()
    for scene in scenes:
        trails.note(scene)
        yield trails.below(scene)
