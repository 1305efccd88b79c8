"""How much a run measures: `full` (make bench), `quick` (make bench-quick), `smoke` (the tests).

The cases are the same in all of them; sizes, repetitions and time budgets differ. Only a full run
is written to bench/results.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True)
class Profile:
    """Sizes and budgets of a run.

    Attributes
    ----------
    name : str
        What `--profile` takes.
    ratio_values : int
        Values of an update in the ratios.
    ratio_rounds : int
        Interleaved rounds of each ratio.
    federated_rounds, federated_epochs : int
        Interleaved rounds of federated training, and passes over each cloud's rows in each.
    budget_s : float
        Seconds for the rounds of one case, beyond the least number of rounds.
    min_rounds, max_rounds : int
        Bounds on the rounds of one case.
    records : tuple of int
        Record counts of the paper's table.
    row_records : tuple of int
        The same for records of 32 values.
    per_record_limit : int
        Per-record AES is measured in full up to so many records.
    per_record_sample : int
        A larger case is measured on so many records and scaled, and says so.
    peer_values : int
        Values of an update for the peers that encrypt vectors.
    paillier_values : int
        Values for python-paillier, which encrypts one at a time.
    scaling_values : tuple of int
        Vector lengths of the scaling curve.
    slow_values : tuple of int
        Lengths that are marked slow.
    scaling_clients : tuple of int
        Numbers of clients of the scaling curve.
    clients_values : int
        Values of an update in it.
    committees : tuple of (int, int)
        Clients and members of the committees that open.
    threads_values : int
        Values of an update in the curve over threads.
    file_values : int
        Values of the vectors that are worked on from file to file.
    kernel_s : float
        Seconds that one round of a kernel takes.
    """

    name: str
    ratio_values: int
    ratio_rounds: int
    federated_rounds: int
    federated_epochs: int
    budget_s: float
    min_rounds: int
    max_rounds: int
    records: tuple[int, ...]
    row_records: tuple[int, ...]
    per_record_limit: int
    per_record_sample: int
    peer_values: int
    paillier_values: int
    scaling_values: tuple[int, ...]
    slow_values: tuple[int, ...]
    scaling_clients: tuple[int, ...]
    clients_values: int
    committees: tuple[tuple[int, int], ...]
    threads_values: int
    file_values: int
    kernel_s: float


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="full",
            ratio_values=10_000_000,
            ratio_rounds=21,
            federated_rounds=21,
            federated_epochs=2,
            budget_s=2.0,
            min_rounds=3,
            max_rounds=50,
            records=(100_000, 1_000_000, 10_000_000),
            row_records=(100_000, 1_000_000, 10_000_000),
            per_record_limit=1_000_000,
            per_record_sample=100_000,
            peer_values=1 << 20,
            paillier_values=128,
            scaling_values=tuple(10**k for k in range(3, 9)),
            slow_values=(10**9,),
            scaling_clients=(2, 3, 10, 30, 100, 300, 1000),
            clients_values=1_000_000,
            committees=((10, 4), (10, 10), (100, 10), (1000, 10), (1000, 100)),
            threads_values=10_000_000,
            file_values=100_000_000,
            kernel_s=0.02,
        ),
        Profile(
            name="quick",
            ratio_values=10_000_000,
            ratio_rounds=5,
            federated_rounds=5,
            federated_epochs=2,
            budget_s=0.2,
            min_rounds=2,
            max_rounds=5,
            records=(100_000, 1_000_000),
            row_records=(100_000,),
            per_record_limit=20_000,
            per_record_sample=20_000,
            peer_values=1 << 16,
            paillier_values=8,
            scaling_values=(10**3, 10**5, 10**6, 10**7),
            slow_values=(),
            scaling_clients=(2, 10, 1000),
            clients_values=100_000,
            committees=((10, 4), (100, 10)),
            threads_values=1_000_000,
            file_values=10_000_000,
            kernel_s=0.002,
        ),
        Profile(
            name="smoke",
            ratio_values=20_000,
            ratio_rounds=2,
            federated_rounds=2,
            federated_epochs=1,
            budget_s=0.0,
            min_rounds=1,
            max_rounds=1,
            records=(1_000, 2_000),
            row_records=(100,),
            per_record_limit=1_000,
            per_record_sample=500,
            peer_values=1 << 13,
            paillier_values=2,
            scaling_values=(10**3, 10**4),
            slow_values=(),
            scaling_clients=(2, 20),
            clients_values=1_000,
            committees=((3, 3), (5, 4)),
            threads_values=10_000,
            file_values=100_000,
            kernel_s=0.0,
        ),
    )
}
