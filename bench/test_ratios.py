"""The targets of DESIGN.md section 9, as ratios of times taken in interleaved rounds of one run.

One thread everywhere: `threads=1` for Veilsum; OpenSSL, NumPy's maximum and a peer's process with
OMP_NUM_THREADS=1 have one by themselves.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from bench import terms
from bench.measure import Measure, Reported
from bench.openings import Opening
from bench.parties import Parties, answer, endorse, member_step
from bench.peers import environments
from bench.peers.worker import Worker, WorkerError
from bench.profiles import Profile
from bench.results import Ratio, quartiles
from veilsum.lab.compare.aes import Bulk
from veilsum.lab.compare.sums import Sum

CLIENTS = 10
UPLOADS = 10


@pytest.fixture(scope="module")
def ten(profile: Profile) -> Sum:
    """A round of ten clients at 16 bits, with its sum open."""
    made = Sum(profile.ratio_values, clients=CLIENTS, updates=2)
    made.open()
    return made


def test_encrypt_and_decrypt_against_aes(measure: Measure, profile: Profile, ten: Sum) -> None:
    ciphers = {mode: Bulk(mode, ten.updates[0].data) for mode in ("CBC", "GCM")}
    times = measure.interleaved(
        {
            "encrypt": lambda: ten.encrypt(0, threads=1),
            "CBC": ciphers["CBC"].encrypt,
            "GCM": ciphers["GCM"].encrypt,
            "ready pads": lambda: Reported(*ten.encrypt_from_ready_pads(0, threads=1)),
            "decrypt": lambda: ten.decrypt(threads=1),
        },
        profile.ratio_rounds,
    )
    ten.check(ten.decrypt(threads=1))
    check_ready_pads(ten)
    for cipher in ciphers.values():
        cipher.check()
    zen = "AMD" in terms.collect(profile.name)["cpu"]
    for mode, must, goal in (("CBC", 0.32, 0.25), ("GCM", 3.0, 2.4) if zen else ("GCM", 1.6, 1.25)):
        measure.ratio(
            f"encrypt / AES-256-{mode} of the same bytes",
            times["encrypt"],
            times[mode],
            must=must,
            goal=goal,
            note=f"{ten.size:,} fp32 values at {ten.plan.value_bits} bits for {CLIENTS} clients; "
            f"AES in one call, OpenSSL through cryptography, output into ready memory",
        )
    measure.ratio("decrypt / encrypt", times["decrypt"], times["encrypt"], must=1.0, goal=0.9)
    measure.ratio(
        "encrypt from ready pads / AES-256-GCM of the same bytes",
        times["ready pads"],
        times["GCM"],
        must=1.0 if zen else 0.8,
        goal=0.8 if zen else 0.6,
        note="pads made ahead by a background thread, which is not timed; otherwise as above",
    )


def test_against_version_01(measure: Measure, profile: Profile, ten: Sum, tmp_path: Path) -> None:
    """The same update in the version before this one, in an environment of its own, in turn."""
    python, reason = environments.find(environments.VERSION_01)
    if python is None:
        measure.skip(f"encrypt, decrypt / {environments.VERSION_01.title}", reason)
    np.save(tmp_path / "values.npy", ten.updates[0])
    worker = Worker(python, environments.VERSION_01.runner, threads=1)
    try:
        about = worker.call("setup", path=str(tmp_path / "values.npy"), clients=CLIENTS).value
        worker.call("encrypt")
        times = measure.interleaved(
            {
                "encrypt": lambda: ten.encrypt(0, threads=1),
                "encrypt 0.1": lambda: worker.call("encrypt"),
                "decrypt": lambda: ten.decrypt(threads=1),
                "decrypt 0.1": lambda: worker.call("decrypt"),
            },
            profile.ratio_rounds,
        )
        assert worker.call("check").value["error"] <= environments.VERSION_01.tolerance
    except WorkerError as error:
        pytest.fail(str(error))
    finally:
        worker.close()
    for step, must, goal in (("encrypt", 0.82, 0.68), ("decrypt", 0.92, 0.76)):
        measure.ratio(
            f"{step} / {step} of version 0.1",
            times[step],
            times[f"{step} 0.1"],
            must=must,
            goal=goal,
            note=f"commit 8f5e572 at its {about['isa']} level, {ten.size:,} values, one thread",
        )


def check_ready_pads(work: Sum) -> None:
    """Raise AssertionError unless uploads from ready pads sum and open to the right mean."""
    work.uploads = [work.encrypt_from_ready_pads(index)[1] for index in range(len(work.updates))]
    total = work.sum()
    work.uploads = []
    secret, rnd = work.secret, work.round
    # The round was opened for the other uploads, and a round is opened once.
    twin = vs.SecretKey.from_bytes(secret.to_bytes())
    work.check(vs.decrypt(vs.open_sum(twin, rnd, total), total, threads=1))


def test_round_of_federated_averaging(measure: Measure, profile: Profile) -> None:
    """Train as `veilsum train` does; four clouds of flchain, one after another in this process."""
    name = "encrypted FedAvg / plaintext FedAvg, wall time of a round"
    try:
        from bench import federation
    except ImportError as error:
        measure.skip(name, f"needs the extra veilsum[train]: {error}")
    pair = federation.Pair(profile.federated_epochs)
    times = measure.interleaved(
        {"encrypted": pair.encrypted_round, "plaintext": pair.plaintext_round},
        profile.federated_rounds,
    )
    pair.check()
    measure.ratio(
        name,
        times["encrypted"],
        times["plaintext"],
        must=1.05,
        goal=1.02,
        note=pair.describe(),
    )


def test_bytes_a_value(measure: Measure, ten: Sum) -> None:
    """Size, with everything that travels: envelope, sealed key, blocks and check blocks."""
    upload = ten.encrypt()
    measure.interleaved({"to bytes": upload.to_bytes}, 1)
    nbytes = len(upload.to_bytes())
    assert nbytes == upload.nbytes == ten.plan.upload_bytes(ten.size)
    found = nbytes / ten.size
    measure.add_ratio(
        Ratio(
            "upload bytes a value",
            found,
            found,
            found,
            must=2.70,
            note=f"{ten.size:,} values, {ten.plan.value_bits} bits, {CLIENTS} clients; everything "
            f"that travels; no timing",
        )
    )


def test_signed_and_tagged_against_plain(
    measure: Measure, profile: Profile, ten: Sum, tmp_path: Path
) -> None:
    """A roster and a group beside the same sum without: tags take the place of check blocks."""
    tagged = Parties(tmp_path, ten.size, clients=CLIENTS)
    total = tagged.sum()
    key = tagged.open(total)
    uploads = {
        "": [ten.encrypt(index) for index in range(2)],
        ", tagged": [tagged.encrypt(client) for client in range(2)],
    }

    def add(name: str, rnd: vs.Round) -> Reported:
        sum_of_one = vs.Accumulator(rnd)
        sum_of_one.add(uploads[name][0], threads=1)
        start = time.perf_counter()
        sum_of_one.add(uploads[name][1], threads=1)
        return Reported(time.perf_counter() - start)

    times = measure.interleaved(
        {
            "encrypt, tagged": lambda: tagged.encrypt(threads=1),
            "encrypt": lambda: ten.encrypt(0, threads=1),
            "add, tagged": lambda: add(", tagged", tagged.round),
            "add": lambda: add("", ten.round),
            "decrypt, tagged": lambda: tagged.decrypt(key, total, threads=1),
            "decrypt": lambda: ten.decrypt(threads=1),
        },
        profile.ratio_rounds,
    )
    tagged.check(tagged.decrypt(key, total))
    ten.check(ten.decrypt())
    for step, name, must in (
        ("encrypt", "encrypt", 1.15),
        ("add", "add an upload", 1.10),
        ("decrypt", "decrypt", 1.15),
    ):
        measure.ratio(
            f"signed and tagged / plain: {name}",
            times[f"{step}, tagged"],
            times[step],
            must=must,
            goal=1.08,
            note=f"{ten.size:,} values, one key holder; Ed25519, a roster of {CLIENTS}",
        )


def test_opening_ten_clients(measure: Measure, profile: Profile, tmp_path: Path) -> None:
    """By the one key holder, or by a member in both steps; bytes to bytes, ledgers on disk."""
    single = Parties(tmp_path / "single", 1000, clients=CLIENTS)
    committee = Parties(tmp_path / "committee", 1000, clients=CLIENTS, members=4)
    total, shared = single.sum(), committee.sum()
    asked = total.opening_request().to_bytes()
    requests = [vs.request_for(shared, one).to_bytes() for one in committee.members]
    members = [committee.member(k) for k in range(3)]
    words = [
        endorse(one, committee.round, request).value
        for one, request in zip(members, requests[:3], strict=True)
    ]
    certificate = committee.certify(shared, words)

    def opened() -> Reported:
        holder = single.key_holder()
        start = time.perf_counter()
        request = vs.OpeningRequest.from_bytes(asked, single.round)
        key = vs.open_sum(holder, single.round, request).to_bytes()
        return Reported(time.perf_counter() - start, key)

    def both_steps() -> Reported:
        return member_step(committee.member(0), committee.round, certificate, requests[0])

    times = measure.interleaved(
        {"key holder": opened, "member": both_steps}, 3 * profile.ratio_rounds
    )
    key = vs.SumKey.from_bytes(opened().value, single.round)
    single.check(single.decrypt(key, total))
    answers = [both_steps().value]
    answers += [
        answer(one, committee.round, certificate, request).value
        for one, request in zip(members[1:], requests[1:3], strict=True)
    ]
    committee.check(committee.decrypt(committee.combine(certificate, answers, shared), shared))
    for who, series in times.items():
        in_ms(measure, f"open {CLIENTS} clients, ms: {WHO[who]}", series, must=5.0)


WHO = {"key holder": "one key holder", "member": "a member, endorsing and answering"}


def in_ms(measure: Measure, name: str, seconds: list[float], must: float, note: str = "") -> None:
    """File a time that has a target of its own."""
    if seconds:
        low, middle, high = (1000 * value for value in quartiles(seconds))
        measure.add_ratio(
            Ratio(
                name, middle, low, high, must, rounds=len(seconds), numerator_s=middle / 1000,
                note=note,
            )
        )  # fmt: skip


def test_opening_asks_for_no_values(measure: Measure, profile: Profile, tmp_path: Path) -> None:
    """The same keys an upload, and 10 values or 10^9: one work for members, in time and bytes."""
    openings = {}
    for values in (10, 10**9):
        (tmp_path / str(values)).mkdir()
        openings[values] = Opening(tmp_path / str(values), values, clients=CLIENTS)
    short, long = openings[10], openings[10**9]
    assert short.round.upload_keys == long.round.upload_keys
    assert short.member_bytes == long.member_bytes
    times = measure.interleaved(
        {"short": short.member_step, "long": long.member_step}, 3 * profile.ratio_rounds
    )
    for one in openings.values():
        one.check(one.member_step().value)
    measure.ratio(
        "a member's work for 10^9 values / for 10",
        times["long"],
        times["short"],
        must=1.1,
        note=f"{short.round.upload_keys} keys an upload, {CLIENTS} clients, 4 members; "
        f"{short.member_bytes:,} bytes for either",
    )


def test_fixed_bytes(measure: Measure, tmp_path: Path) -> None:
    """What an upload has beside its blocks of values: signed, tagged, one key, n2048."""
    found = {}
    for members in (0, 4, 5):
        work = Parties(tmp_path, 1000, clients=CLIENTS, members=members)
        assert (work.plan.profile, work.round.upload_keys) == ("n2048", 1)
        upload = work.encrypt()
        found[members] = upload.nbytes - value_bytes(work)
    measure.interleaved({"encrypt": work.encrypt}, 1)
    for name, nbytes, must in (
        ("one key holder", found[0], 1600),
        ("each member of a committee", found[5] - found[4], 3600),
    ):
        measure.add_ratio(
            Ratio(f"fixed bytes an upload: {name}", nbytes, nbytes, nbytes, must, note="no timing")
        )


def value_bytes(work: Parties) -> int:
    """Bytes of a round's blocks of values; a tagged round has no others."""
    width = 8 * work.plan.digits
    return -(-work.size // width) * work.plan.field_bits


MODEL = 35_585  # parameters of `veilsum train`'s default model


def test_encrypting_the_default_model(measure: Measure, profile: Profile, tmp_path: Path) -> None:
    """Four clouds that are the committee, as in a training by default."""
    work = Parties(tmp_path, MODEL, clients=4, members=4)
    times = measure.interleaved({"encrypt": work.encrypt}, 5 * profile.ratio_rounds)
    nbytes = len(work.encrypt().to_bytes())
    total = work.sum()
    members = [work.member(k) for k in range(3)]
    requests = [vs.request_for(total, one).to_bytes() for one in work.members[:3]]
    words = [
        endorse(one, work.round, asked).value for one, asked in zip(members, requests, strict=True)
    ]
    certificate = work.certify(total, words)
    answers = [
        answer(one, work.round, certificate, asked).value
        for one, asked in zip(members, requests, strict=True)
    ]
    work.check(work.decrypt(work.combine(certificate, answers, total), total))
    name = f"encrypt {MODEL:,} values, tagged, for four members"
    in_ms(measure, f"{name}, ms", times["encrypt"], must=2.0, note="one thread, sealed and signed")
    measure.add_ratio(
        Ratio(f"{name}, bytes", nbytes, nbytes, nbytes, must=110_000, note="no timing")
    )


def test_sum_against_reading(measure: Measure, profile: Profile) -> None:
    many = Sum(profile.ratio_values, clients=CLIENTS, updates=UPLOADS)
    uploads = many.upload_all()
    copies = [np.frombuffer(upload.to_bytes(), dtype=np.uint8) for upload in uploads]
    words = [copy[: copy.size // 8 * 8].view(np.uint64) for copy in copies]
    largest = [int(word.max()) for word in words]

    def read() -> None:
        # The maximum touches every word and keeps nothing: as fast as memory allows in NumPy.
        assert [int(word.max()) for word in words] == largest

    times = measure.interleaved(
        {"sum": lambda: many.sum(threads=1), "read": read}, profile.ratio_rounds
    )
    many.open()
    many.check(many.decrypt())
    measure.ratio(
        f"weighted sum of {UPLOADS} uploads / reading those bytes once",
        times["sum"],
        times["read"],
        must=1.3,
        goal=1.1,
        note=f"{sum(copy.size for copy in copies):,} bytes; reading is NumPy's maximum over them",
    )


def test_against_openfhe(measure: Measure, profile: Profile, ten: Sum, tmp_path: Path) -> None:
    peer = next(peer for peer in environments.PEERS if peer.name == "openfhe")
    python, reason = environments.find(peer)
    if python is None:
        measure.skip(f"values a second / {peer.title}", reason)
    values = min(profile.peer_values, ten.size)
    np.save(tmp_path / "values.npy", ten.updates[0][:values])
    worker = Worker(python, peer.runner, threads=1)
    try:
        about = worker.call(
            "setup", path=str(tmp_path / "values.npy"), values=values, setting="adds"
        ).value
        worker.call("encrypt")
        worker.call("add")
        times = measure.interleaved(
            {
                "encrypt": lambda: ten.encrypt(0, threads=1),
                "peer encrypt": lambda: worker.call("encrypt"),
                "decrypt": lambda: ten.decrypt(threads=1),
                "peer decrypt": lambda: worker.call("decrypt"),
            },
            max(2, profile.ratio_rounds // 3),
        )
        assert worker.call("check").value["error"] <= peer.tolerance
    except WorkerError as error:
        pytest.fail(str(error))
    finally:
        worker.close()
    scale = ten.size / values
    note = f"{about['version']}: {about['parameters']}; {values:,} values, one thread"
    for step in ("encrypt", "decrypt"):
        measure.ratio(
            f"{step}: values a second / {peer.title}",
            times[f"peer {step}"],
            times[step],
            scale=scale,
            must=480.0 if step == "encrypt" else 220.0,
            goal=600.0 if step == "encrypt" else 300.0,
            at_least=True,
            note=note,
        )
