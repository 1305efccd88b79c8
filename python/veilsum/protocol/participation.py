"""Who takes part in a round.

Protocol. Clouds are drawn from the training's seed, so everybody knows who is to take part and
nobody can pick.
"""

from __future__ import annotations

from veilsum.learning.seeds import numpy_generator
from veilsum.protocol.terms import Terms


def participants(terms: Terms, number: int) -> tuple[int, ...]:
    """Return the clouds that are drawn for a round, in order.

    Parameters
    ----------
    terms : Terms
        Seed, number of clouds and participation count.
    number : int
        The round, from 1.
    """
    clouds, count = terms.clouds, terms.participants
    if count >= clouds:
        return tuple(range(clouds))
    generator = numpy_generator(terms.seed, "participants", number)
    return tuple(sorted(int(i) for i in generator.choice(clouds, count, replace=False)))
