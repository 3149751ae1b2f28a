"""Crypto, covert communication: Alice tells Bob a secret with a key that both have; Eve listens,
without the key, and is not to understand."""

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from marl.worlds.particles import (
    Body,
    Group,
    Part,
    Scenario,
    anywhere_in_square,
    choice,
    full_like,
    inline,
    load,
    maximum,
    put_message,
    put_one_of,
    steps,
    store,
    where,
)

SIZE = 4  # numbers in a message, a secret and a key
EVE, BOB, ALICE = 0, 1, 2


class Crypto(Scenario):
    """MPE2's simple_crypto. Secret and key are one-hot; with e(x) the squared distance of what x
    says from the secret, 0 if x is silent,

    Eve         -e(Eve)
    Bob, Alice  e(Eve) - e(Bob)
    """

    metrics: ClassVar[tuple[str, ...]] = ("bob_right", "eve_right")
    sides: ClassVar[tuple[tuple[str, ...], ...]] = (("eve",), ("bob", "alice"))

    episode_length: int = steps(25)
    num_secrets: int = Field(2, ge=2, le=SIZE, description="how many secrets and keys there are")

    @cached_property
    def groups(self) -> dict[str, Group]:
        secret, key, heard = (Part(name, scalars=SIZE) for name in ("secret", "key", "heard"))
        seen = {"eve": (heard,), "bob": (key, heard), "alice": (secret, key)}
        return {
            name: self.group(
                [f"{name}_0"],
                parts,
                moves=False,
                speaks=True,
                team="bad" if name == "eve" else "good",
            )
            for name, parts in seen.items()
        }

    @property
    def agents(self) -> list[Body]:
        eve = Body(collides=False, movable=False, colour=(191, 64, 64, 255))
        return [eve] + [eve.model_copy(update={"colour": (64, 64, 64, 255)})] * 2

    @property
    def landmarks(self) -> list[Body]:
        return [Body(collides=False, colour=(150, 150, 150, 255))] * self.num_secrets

    @property
    def message_size(self) -> int:
        return SIZE

    @property
    def num_goals(self) -> int:
        return 2

    def reset(self, world, random):
        """A secret and a key; where everything is does not matter."""
        anywhere_in_square(world.agents, random, 1.0)
        anywhere_in_square(world.landmarks, random, 1.0)
        store(world.goals, (0, 0), choice(random, self.num_secrets))
        store(world.goals, (1, 0), choice(random, self.num_secrets))

    def observe(self, world, i, out):
        """Alice: secret and key. Bob: the key, and what Alice says. Eve: what Alice says."""
        at = 0
        if i == ALICE:
            at = put_one_of(out, at, load(world.goals, (0, 0)), SIZE, 0.0, 1.0)
        if i != EVE:
            at = put_one_of(out, at, load(world.goals, (1, 0)), SIZE, 0.0, 1.0)
        if i != ALICE:
            put_message(out, at, world.messages, ALICE)

    def score(self, world, reward, metrics):
        """The rewards above; is the loudest number of Bob's message the secret, and of Eve's."""
        secret = load(world.goals, (0, 0))
        eve, bob = _error(world.messages, EVE, secret), _error(world.messages, BOB, secret)
        store(reward, EVE, -eve)
        store(reward, BOB, eve - bob)
        store(reward, ALICE, eve - bob)
        store(metrics, 0, _right(world.messages, BOB, secret))
        store(metrics, 1, _right(world.messages, EVE, secret))


@inline
def _error(messages, i, secret):
    """Squared distance of what agent i says from the secret; 0 if it says nothing."""
    total, loud = full_like(secret, 0.0), full_like(secret, 0.0)
    for c in range(SIZE):
        said = load(messages, (i, c))
        wrong = said - where((secret >= c) & (secret <= c), 1.0, 0.0)
        total = total + wrong * wrong
        loud = maximum(loud, maximum(said, -said))
    return where(loud > 0.0, total, 0.0)


@inline
def _right(messages, i, secret):
    """1.0 where the largest number that agent i says is the secret's."""
    most, which = load(messages, (i, 0)), full_like(secret, 0.0)
    for c in range(1, SIZE):
        said = load(messages, (i, c))
        which = where(said > most, full_like(secret, c), which)
        most = maximum(most, said)
    return where((which >= secret) & (which <= secret), 1.0, 0.0)
