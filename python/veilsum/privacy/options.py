"""How much privacy noise gives, and where it is added."""

from __future__ import annotations

from dataclasses import dataclass

from veilsum.options import above, between, one_of, option, strictly_between


@dataclass(frozen=True)
class PrivacyOptions:
    """Differential privacy: of the DP-FL baseline, and of Veilsum's own sums where it is on."""

    clip: float = option(1.0, "largest L2 norm of a cloud's update; longer ones shrink", above(0))
    noise_multiplier: float = option(
        1.0, "standard deviation of the noise in the sum, over the clip", between(1e-6, 1e6)
    )
    delta: float = option(1e-5, "probability with which epsilon may fail", strictly_between(0, 1))
    baseline_noise: str = option(
        "central",
        "of DP-FL: added by a trusted server, or all of it by each cloud",
        one_of("central", "local"),
    )
    distributed: bool = option(
        False, "add a discrete Gaussian share of each cloud inside Veilsum's encrypted sums"
    )
    colluders: int = option(
        1, "distributed: clouds whose noise may be known to the curious", between(0, 8190)
    )
    noise_tail: float = option(
        10.0, "distributed: standard deviations of noise that ranges have room for", between(4, 40)
    )
