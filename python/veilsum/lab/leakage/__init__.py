"""What an aggregator can learn from what it holds: attacks, and how much they recover.

Above the federated loop and the crypto API, below `veilsum.lab.compare`. An honest-but-curious
aggregator is modelled by a `View` of one upload: the numbers in it that can be read, and nothing
else. `attack` turns a view into guesses of training records, `leakage_rate` says how many records
were found, and `membership` attacks the released model, which no encryption of updates changes.
Nothing here ever receives a key.
"""

from __future__ import annotations

from veilsum.lab.leakage.attack import Attack, attack
from veilsum.lab.leakage.measure import TOLERANCE, LeakageRate, leakage_rate, random_guesses
from veilsum.lab.leakage.membership import Membership, membership
from veilsum.lab.leakage.probes import ProbeBatch, choose_probes
from veilsum.lab.leakage.victim import Victim
from veilsum.lab.leakage.view import View

__all__ = [
    "TOLERANCE",
    "Attack",
    "LeakageRate",
    "Membership",
    "ProbeBatch",
    "Victim",
    "View",
    "attack",
    "choose_probes",
    "leakage_rate",
    "membership",
    "random_guesses",
]
