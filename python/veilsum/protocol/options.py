"""How updates become one step of the model, what of them is encrypted, and who opens the sums."""

from __future__ import annotations

from dataclasses import dataclass

from veilsum.options import Rule, above, at_least, below, between, each, one_of, option, share


@dataclass(frozen=True)
class AggregationOptions:
    """How the clouds' updates become one step of the global model."""

    weights: str = option(
        "samples",
        "weight of a cloud, applied by the cloud before it encrypts; dynamic: by loss, rows, link",
        one_of("samples", "uniform", "dynamic"),
    )
    dynamic_form: str = option(
        "text",
        "dynamic: rows * bandwidth^alpha / loss as the paper's text means, or its printed inverse",
        one_of("text", "printed"),
    )
    bandwidth_exponent: float = option(
        0.5, "dynamic: alpha, the effect of the bandwidth; 0: none", between(0, 4)
    )
    bandwidths_bps: tuple[float, ...] = option(
        (),
        "bits a second of each cloud's link; []: measured where a network is, else all equal",
        each(above(0)),
    )
    max_share: float = option(
        1.0, "no cloud counts more than this share of a round; 1: no cap", share()
    )
    refuse_above: float = option(
        0.8,
        "a cloud encrypts no update that would count more than this share of the opened total of "
        "weights: such a sum is nearly its own update",
        share(),
    )
    min_clients: int = option(
        0,
        "fewest clouds whose sum may be opened; 0: all that take part in a round",
        between(0, 8192),
    )
    server_optimiser: str = option(
        "fedavg",
        "from the mean update to the global step",
        one_of("fedavg", "fedavgm", "fedadam", "fedyogi"),
    )
    server_learning_rate: float = option(
        0.0,
        "factor on the global step; 0: 1 for fedavg and fedavgm, 0.01 for fedadam and fedyogi",
        at_least(0),
    )
    server_momentum: float = option(0.9, "beta1 of fedavgm, fedadam and fedyogi", below(0, 1))
    server_second_moment: float = option(0.99, "beta2 of fedadam and fedyogi", below(0, 1))
    server_adaptivity: float = option(
        0.001, "tau of fedadam and fedyogi: smaller adapts more", above(0)
    )


@dataclass(frozen=True)
class EncryptionOptions:
    """The plan of the sums, and the codec's ranges."""

    value_bits: int = option(16, "bits a value is rounded to", between(2, 32))
    security: int = option(128, "bits of security", one_of(128, 192, 256))
    optimise: str = option("speed", "what the planner prefers", one_of("speed", "size"))
    profile: str = option("auto", 'ring; "auto": the planner chooses')
    engine: str = option("native", "implementation of the scheme", one_of("native", "openfhe"))
    authority: str = option(
        "clouds",
        "who opens sums; clouds: they themselves, together; committee: members of their own, for "
        "the clouds; single: one key holder, who could open every upload",
        one_of("clouds", "committee", "single"),
    )
    members: int = option(0, "of a committee of their own; 0: as many as clouds", between(0, 1024))
    threshold: int = option(
        0, "members who must agree; 0: two thirds of them and one more", between(0, 1024)
    )
    rounding: str = option(
        "stochastic",
        "onto the grid of values; stochastic: unbiased, from the run's seed",
        one_of("stochastic", "nearest"),
    )
    on_clip: str = option(
        "count", "what happens to values beyond their range", one_of("count", "error")
    )
    range: str = option(
        "adaptive",
        "of a tensor's values; adaptive: follows the last opened mean; fixed: always `limit`",
        one_of("adaptive", "fixed"),
    )
    limit: float = option(
        0.25, "range of the first round (adaptive) or of every round (fixed)", above(0)
    )
    range_margin: float = option(
        8.0, "adaptive: range over the largest value of the last opened mean", at_least(1)
    )
    clip_tolerance: float = option(
        0.0, "adaptive: share of clipped values above which all ranges double", below(0, 1)
    )
    pads_ahead: bool = option(
        True, "prepare encryptions in the background while the clouds train; the same results"
    )
    pad_budget_mib: int = option(
        256,
        "memory for what a cloud prepares, in MiB; the rest is made afterwards",
        between(1, 2**20),
    )


@dataclass(frozen=True)
class HybridOptions:
    """Which values are encrypted; all of them unless this section says otherwise."""

    fraction: float = option(
        1.0, "share of the values that is encrypted, the most sensitive ones; 1: all", share()
    )
    steer: str = option(
        "fixed",
        "fixed: always `fraction`; budget: by loss, rows and link against `budget_s`",
        one_of("fixed", "budget"),
    )
    budget_s: float = option(
        0.0, "budget: seconds that a cloud's upload may take on its link", at_least(0)
    )
    floor: float = option(0.1, "budget: the fraction never falls below this", share())
    sensitivity: str = option(
        "magnitude",
        "of a coordinate: size of its update, root of its squared gradient or Fisher diagonal",
        one_of("magnitude", "gradient", "fisher"),
    )
    renew_every: int = option(
        5, "rounds until sensitivities are summed again, under encryption", at_least(1)
    )
    always: tuple[str, ...] = option((), "tensors that are always encrypted, as shell patterns")
    never: tuple[str, ...] = option((), "tensors that are never encrypted, as shell patterns")
    plain_dtype: str = option(
        "bfloat16", "of the plain values on the wire", one_of("bfloat16", "float32")
    )
    plain_noise_multiplier: float = option(
        0.0,
        "Gaussian noise on the plain part, over `plain_clip`; 0: none",
        Rule("0, or between 1e-6 and 1e6", lambda value: value == 0 or 1e-6 <= value <= 1e6),
    )
    plain_clip: float = option(1.0, "largest L2 norm of a noisy plain part", above(0))
