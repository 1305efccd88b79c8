"""A round is opened for one sum, by its own key, and only for a true one.

The difference of two sums of a round could be one client's update. So a key remembers what it
opened: in memory, beside its file, for other processes and after a restart, in a fork, and however
many threads ask at once. A ledger that cannot be read or written opens nothing. The same sum again
gives the same key or, where that would draw new noise and the first key is gone, nothing; never
another key. An aggregate that is not the sum of the uploads it lists gives nobody a value.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from security import forging
from security.stages import PRELUDE, SIZE, in_child
from veilsum import _core
from veilsum.cli import main

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
forked = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
GONE = "what was made then is gone"


def sums_of(stage, counts=(2, 3), **options):
    """A round, uploads, and the sums of the first so many of them."""
    rnd = stage.round(**options)
    uploads = stage.uploads(rnd, max(counts))
    return rnd, uploads, *(vs.weighted_sum(rnd, uploads[:count]) for count in counts)


def opens_again(stage, rnd, total, uploads, secret, key):
    """The same sum, asked for where the first key is not at hand."""
    if stage.sums_again:
        with pytest.raises(vs.RoundError, match=GONE):
            stage.open(rnd, total, uploads, secret)
    else:
        assert stage.open(rnd, total, uploads, secret).to_bytes() == key.to_bytes()


# --- one sum --------------------------------------------------------------------------------------


def test_a_round_is_opened_for_one_sum(stage):
    """Sums of {0, 1, 2} and {0, 1} would differ by upload 2 alone."""
    rnd, uploads, two, three = sums_of(stage)
    secret = stage.fresh_secret()
    key = stage.open(rnd, three, uploads, secret)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], secret)
    assert stage.open(rnd, three, uploads, secret).to_bytes() == key.to_bytes()
    turned = vs.weighted_sum(rnd, uploads[::-1])
    assert stage.open(rnd, turned, uploads[::-1], secret).to_bytes() == key.to_bytes()
    request = vs.OpeningRequest.from_bytes(stage.request(three, uploads).to_bytes(), rnd)
    if stage.sums_again:
        assert vs.open_sum(secret, rnd, request).to_bytes() == key.to_bytes()
    else:  # that it means the same blocks is its word alone
        with pytest.raises(vs.RoundError, match="as it was the first time"):
            vs.open_sum(secret, rnd, request)
    # The next round of the same key is open to it. Then the first key may be gone.
    other, more, total, _ = sums_of(stage)
    assert stage.open(other, total, more[:2], secret).count == 2
    opens_again(stage, rnd, three, uploads, secret, key)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], secret)


@pytest.mark.parametrize("others", [(2, 3), (3, 2)])
def test_the_memory_survives_a_restart(stage, tmp_path, others):
    rnd, uploads, first, second = sums_of(stage, others)
    path = tmp_path / "authority.key"
    secret = stage.fresh_secret()
    secret.save(path)
    key = stage.open(rnd, first, uploads[: others[0]], secret)
    ledger = tmp_path / "authority.key.opened"
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    line = ledger.read_bytes()
    assert line.startswith(b"VSLEDG1\n\x01") and rnd.id in line
    for _ in range(2):
        loaded = vs.SecretKey.load(path)
        with pytest.raises(vs.RoundError, match="opened before"):
            stage.open(rnd, second, uploads[: others[1]], loaded)
        opens_again(stage, rnd, first, uploads[: others[0]], loaded, key)
        assert ledger.read_bytes() == line


def test_what_was_opened_before_the_first_save_is_remembered_too(stage, tmp_path):
    rnd, uploads, two, three = sums_of(stage)
    secret = stage.fresh_secret()
    key = stage.open(rnd, three, uploads, secret)
    secret.save(tmp_path / "late.key")
    loaded = vs.SecretKey.load(tmp_path / "late.key")
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], loaded)
    opens_again(stage, rnd, three, uploads, loaded, key)


def test_two_holders_of_one_file_share_its_memory(stage, tmp_path):
    rnd, uploads, two, three = sums_of(stage)
    stage.fresh_secret().save(tmp_path / "shared.key")
    one, other = (vs.SecretKey.load(tmp_path / "shared.key") for _ in range(2))
    key = stage.open(rnd, three, uploads, one)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], other)
    opens_again(stage, rnd, three, uploads, other, key)
    # Who opened it still has it.
    assert stage.open(rnd, three, uploads, one).to_bytes() == key.to_bytes()


OPEN = """
key, rnd, request = sys.argv[1:]
rnd = vs.Round.load(rnd)
try:
    vs.open_sum(vs.SecretKey.load(key), rnd, vs.OpeningRequest.load(request, rnd))
    print("opened")
except vs.RoundError as error:
    print("gone" if "is gone" in str(error) else "refused")
"""


def test_the_memory_is_read_by_other_processes(stage, tmp_path):
    rnd, uploads, two, three = sums_of(stage)
    paths = {name: str(tmp_path / name) for name in ("key", "round", "two", "three")}
    stage.fresh_secret().save(paths["key"])
    rnd.save(paths["round"])
    stage.request(two, uploads[:2]).save(paths["two"])
    stage.request(three, uploads).save(paths["three"])

    def run(which):
        out = subprocess.run(
            [sys.executable, "-c", PRELUDE + OPEN, paths["key"], paths["round"], paths[which]],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return out.stdout.strip()

    assert run("three") == "opened"
    assert run("two") == "refused"
    assert run("three") == ("gone" if stage.sums_again else "opened")


@fork
@forked
def test_a_forked_child_has_no_memory_of_its_own(stage, tmp_path):
    # Found in review: parent and child each opened another set of one round, and the difference of
    # the sums was one client's update.
    rnd, uploads, two, three = sums_of(stage)
    memory, saved, untouched = (stage.fresh_secret() for _ in range(3))
    saved.save(tmp_path / "key")
    key = stage.open(rnd, three, uploads, saved)

    def refusal(secret, total, count):
        try:
            made = stage.open(rnd, total, uploads[:count], secret)
        except vs.RoundError as error:
            return str(error)
        return made.to_bytes().hex()

    def child():
        return "\n".join(
            [
                refusal(memory, two, 2),
                refusal(saved, two, 2),
                # What the parent had made came along: it is the same key.
                refusal(saved, three, 3),
                refusal(untouched, three, 3),
            ]
        ).encode()

    said = in_child(child).decode().split("\n")
    assert "forked from" in said[0]
    assert "opened before" in said[1]
    assert said[2] == key.to_bytes().hex()
    assert "forked from" in said[3]
    assert stage.open(rnd, three, uploads, memory).count == 3


@fork
@forked
def test_a_forked_child_records_what_it_opens(stage, tmp_path):
    """With a file, parent and child know of each other."""
    rnd, uploads, two, three = sums_of(stage)
    saved = stage.fresh_secret()
    saved.save(tmp_path / "key")
    made = in_child(lambda: stage.open(rnd, two, uploads[:2], saved).to_bytes())
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, three, uploads, saved)
    key = vs.SumKey.from_bytes(made, rnd)
    opens_again(stage, rnd, two, uploads[:2], saved, key)
    mean = np.mean([stage.update(0), stage.update(1)], axis=0)
    assert np.abs(vs.decrypt(key, two) - mean).max() <= stage.tolerance(2)


@fork
@forked
def test_a_child_forked_while_a_thread_opens_does_not_wait_for_it(stage, tmp_path):
    """No thread of the child will ever let go of what the parent's has locked."""
    rnd, uploads, two, three = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    opened = []
    with (tmp_path / "key.opened").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that the thread waits inside
        thread = threading.Thread(
            target=lambda: opened.append(stage.open(rnd, three, uploads, secret))
        )
        thread.start()
        time.sleep(0.3)

        def child():
            try:
                stage.open(rnd, two, uploads[:2], secret)
            except vs.RoundError as error:
                return str(error).encode()
            return b"opened"

        said = in_child(child, timeout_s=20)
    thread.join()
    assert b"load it here anew" in said
    assert [key.count for key in opened] == [3]


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_threads_that_ask_at_once_get_one_sum(stage, tmp_path, kept):
    rnd, uploads, *totals = sums_of(stage, (2, 3, 4, 5))
    secret = stage.fresh_secret()
    if kept == "file":
        secret.save(tmp_path / "key")
    barrier = threading.Barrier(8)
    got, errors = [], []

    def ask(total):
        barrier.wait()
        try:
            got.append((total.count, stage.open(rnd, total, uploads[: total.count], secret)))
        except vs.RoundError as error:
            errors.append(str(error))
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=ask, args=(total,)) for total in totals * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({count for count, _ in got}) == 1
    assert len({key.to_bytes() for _, key in got}) == 1
    assert len(got) == 2
    assert all("opened before for another" in text for text in errors), errors
    assert len(errors) == 6


# --- a ledger that is not as it was ---------------------------------------------------------------


def test_a_damaged_memory_opens_nothing(stage, tmp_path):
    """A last record cut short by a crash opened nothing; anything else is not trusted."""
    rnd, uploads, two, three = sums_of(stage)
    fresh, more, total, _ = sums_of(stage)
    path, ledger = tmp_path / "key", tmp_path / "key.opened"
    secret = stage.fresh_secret()
    secret.save(path)
    stage.open(rnd, three, uploads, secret)
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + bytes(50))
    loaded = vs.SecretKey.load(path)
    assert ledger.read_bytes() == whole
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], loaded)
    for damaged in (
        b"x" * len(whole),
        whole.replace(b"VS", b"vs"),
        whole[:-1] + bytes([whole[-1] ^ 1]),
        b"\n" * 130,
        whole[1:],
        b"",
    ):
        time.sleep(0.02)  # more than a tick of the file system's clock
        ledger.write_bytes(damaged)
        with pytest.raises(vs.WireFormatError, match="not a ledger"):
            vs.SecretKey.load(path)
        with pytest.raises(vs.WireFormatError, match="not a ledger"):
            stage.open(fresh, total, more[:2], loaded)
        with pytest.raises((vs.RoundError, vs.WireFormatError)):
            stage.open(rnd, two, uploads[:2], loaded)
        assert ledger.read_bytes() == damaged  # and stays what it is, for who has to look at it
    ledger.write_bytes(whole)
    assert stage.open(fresh, total, more[:2], loaded).count == 2


def test_a_memory_that_others_can_read_or_change_is_refused(stage, tmp_path):
    rnd, uploads, two, _ = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    stage.open(rnd, two, uploads[:2], secret)
    ledger = tmp_path / "key.opened"
    for mode in (0o640, 0o602, 0o666):
        ledger.chmod(mode)
        with pytest.raises(vs.ParameterError, match="chmod 600"):
            vs.SecretKey.load(tmp_path / "key")
        other, more, total, _ = sums_of(stage)
        with pytest.raises(vs.ParameterError, match="chmod 600"):
            stage.open(other, total, more[:2], secret)


def test_a_memory_that_went_missing_opens_nothing(stage, tmp_path):
    """Neither for who has the key in memory, nor for who loads it: nobody knows what was opened."""
    rnd, uploads, two, three = sums_of(stage)
    fresh, more, total, _ = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    stage.open(rnd, three, uploads, secret)
    (tmp_path / "key.opened").rename(tmp_path / "kept")
    for _ in range(2):
        with pytest.raises(vs.RoundError, match="opened before"):
            stage.open(rnd, two, uploads[:2], secret)
        with pytest.raises(FileNotFoundError, match="put it back beside its key"):
            stage.open(fresh, total, more[:2], secret)
        with pytest.raises(FileNotFoundError, match=r"key\.opened .* is missing"):
            vs.SecretKey.load(tmp_path / "key")
    assert not (tmp_path / "key.opened").exists()
    (tmp_path / "kept").rename(tmp_path / "key.opened")
    assert stage.open(fresh, total, more[:2], secret).count == 2


def test_an_older_memory_is_noticed_by_who_knows_better(stage, tmp_path):
    rnd, uploads, two, three = sums_of(stage)
    fresh, more, total, _ = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    old = (tmp_path / "key.opened").read_bytes()
    stage.open(rnd, three, uploads, secret)
    (tmp_path / "key.opened").write_bytes(old)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], secret)
    with pytest.raises(vs.RoundError, match="exchanged for an older"):
        stage.open(fresh, total, more[:2], secret)


# --- a ledger is the key's, not a name's ----------------------------------------------------------


def found_through(folder: Path, how: str) -> Path:
    """Another way to the key `folder`/key, which was used."""
    key = folder / "key"
    if how == "symbolic link":
        (folder / "other").symlink_to(key)
    elif how == "link to the folder":
        (folder / "away").symlink_to(folder)
        return folder / "away" / "key"
    elif how == "relative name":
        os.chdir(folder)
        return Path("key")
    elif how == "moved with its ledger":
        (folder / "away").mkdir()
        key.rename(folder / "away" / "other")
        (folder / "key.opened").rename(folder / "away" / "other.opened")
        return folder / "away" / "other"
    elif how == "saved elsewhere":
        vs.SecretKey.load(key).save(folder / "other")
    return folder / "other"


@pytest.mark.parametrize(
    "how",
    [
        "symbolic link",
        "link to the folder",
        "relative name",
        "moved with its ledger",
        "saved elsewhere",
    ],
)
def test_a_used_key_is_known_whatever_name_leads_to_it(stage, tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)  # and back, whatever the test does
    rnd, uploads, two, three = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    key = stage.open(rnd, three, uploads, secret)
    loaded = vs.SecretKey.load(found_through(tmp_path, how))
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], loaded)
    opens_again(stage, rnd, three, uploads, loaded, key)
    fresh, more, total, other = sums_of(stage)
    assert stage.open(fresh, total, more[:2], loaded).count == 2
    if how != "moved with its ledger":
        with pytest.raises(vs.RoundError, match="opened before"):
            stage.open(fresh, other, more, secret)


@pytest.mark.parametrize("how", ["moved", "copied", "hard link", "another's ledger"])
def test_a_used_key_without_its_ledger_is_refused(stage, tmp_path, how):
    rnd, uploads, _, three = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    stage.open(rnd, three, uploads, secret)
    key, other = tmp_path / "key", tmp_path / "other"
    refusal = FileNotFoundError, r"other\.opened .* is missing"
    if how == "moved":
        key.rename(other)
    elif how == "copied":
        other.write_bytes(key.read_bytes())
        other.chmod(0o600)
    elif how == "hard link":
        os.link(key, other)
        refusal = vs.ParameterError, r"2 names \(hard links\)"
    else:
        vs.keygen(stage.plan)[0].save(other)
        other.write_bytes(key.read_bytes())
        refusal = vs.KeyMismatchError, "ledger of opened rounds of another key"
    before = sorted(path.name for path in tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(refusal[0], match=refusal[1]):
            vs.SecretKey.load(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # no ledger was made


def test_a_change_of_the_working_folder_loses_no_ledger(stage, tmp_path, monkeypatch):
    rnd, uploads, two, three = sums_of(stage)
    monkeypatch.chdir(tmp_path)
    secret = stage.fresh_secret()
    secret.save("key")
    loaded = vs.SecretKey.load("key")
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    stage.open(rnd, three, uploads, secret)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], loaded)
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], vs.SecretKey.load(tmp_path / "key"))
    assert not list((tmp_path / "away").iterdir())


def test_saving_elsewhere_takes_no_ledger_along(stage, tmp_path):
    rnd, uploads, two, three = sums_of(stage)
    fresh, more, total, other = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "first")
    stage.open(rnd, three, uploads, secret)
    secret.save(tmp_path / "second")
    stage.open(fresh, total, more[:2], secret)
    for name in ("first", "second"):
        loaded = vs.SecretKey.load(tmp_path / name)
        with pytest.raises(vs.RoundError, match="opened before"):
            stage.open(rnd, two, uploads[:2], loaded)
        with pytest.raises(vs.RoundError, match="opened before"):
            stage.open(fresh, other, more, loaded)
    (tmp_path / "first.opened").unlink()
    with pytest.raises(FileNotFoundError, match=r"first\.opened .* is missing"):
        vs.SecretKey.load(tmp_path / "second")


def test_a_key_pair_that_replaces_another_keeps_what_that_one_opened(stage, tmp_path, monkeypatch):
    if stage.engine != "native":
        pytest.skip("the command is the same for all engines")
    monkeypatch.chdir(tmp_path)
    rnd, uploads, _, three = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save("a.key")
    stage.open(rnd, three, uploads, secret)
    ledger = Path("a.key.opened").read_bytes()
    other, _ = vs.keygen(stage.plan)
    with pytest.raises(vs.ParameterError, match="cannot be made again"):
        other.save("a.key")
    assert vs.SecretKey.load("a.key").id == secret.id
    for number in (1, 2):
        assert main(["keygen", "--clients", "3", "--out", "a", "--force"]) == 0
        assert vs.SecretKey.load("a.key").id != secret.id
        assert Path(f"a.key.opened.{number}").exists()
    assert Path("a.key.opened.1").read_bytes() == ledger


# --- what cannot be recorded ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["folder", "read-only"])
def test_what_cannot_be_recorded_is_not_opened(stage, tmp_path, how):
    if how == "read-only" and os.geteuid() == 0:
        pytest.skip("root writes where it likes")
    rnd, uploads, two, three = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    ledger, kept = tmp_path / "key.opened", tmp_path / "kept"
    if how == "folder":
        ledger.rename(kept)
        ledger.mkdir()
    else:
        ledger.chmod(0o400)
        vs.SecretKey.load(tmp_path / "key")  # to look at
    for _ in range(2):
        with pytest.raises(OSError, match=r"key\.opened"):
            stage.open(rnd, three, uploads, secret)
    if how == "folder":
        ledger.rmdir()
        kept.rename(ledger)
    else:
        ledger.chmod(0o600)
    assert stage.open(rnd, two, uploads[:2], secret).count == 2  # nothing was opened before


FULL = """
import resource, signal
key, rnd, request, before = sys.argv[1:]
rnd = vs.Round.load(rnd)
secret = vs.SecretKey.load(key)
request = vs.OpeningRequest.load(request, rnd)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(before) + 40, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        vs.open_sum(secret, rnd, request)
        print("opened")
    except OSError as error:
        print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(vs.open_sum(secret, rnd, request).count)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses RLIMIT_FSIZE")
def test_a_full_disk_opens_nothing(stage, tmp_path):
    """Half a record was written: no opening, and the next one starts where it must."""
    rnd, uploads, _, three = sums_of(stage)
    other, more, total, _ = sums_of(stage)
    secret = stage.fresh_secret()
    secret.save(tmp_path / "key")
    stage.open(other, total, more[:2], secret)
    before = (tmp_path / "key.opened").stat().st_size
    rnd.save(tmp_path / "round")
    stage.request(three, uploads).save(tmp_path / "request")
    out = subprocess.run(
        [sys.executable, "-c", PRELUDE + FULL, tmp_path / "key", tmp_path / "round",
         tmp_path / "request", str(before)], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.split() == ["refused", "refused", "3"]
    assert (tmp_path / "key.opened").stat().st_size == 48 + 2 * (before - 48)
    vs.SecretKey.load(tmp_path / "key")


# --- by its own key -------------------------------------------------------------------------------


def test_another_authoritys_key(stage):
    rnd, uploads, total, _ = sums_of(stage)
    stranger, _ = vs.keygen(stage.plan)
    secret = stage.fresh_secret()
    # A right secret under a wrong name, where that can be, and the other way round.
    swapped = [stranger]
    if stage.sums_again:
        swapped.append(vs.SecretKey(b"\1" * 96, stranger.public_key))
    for wrong in swapped:
        with pytest.raises(vs.KeyMismatchError, match="does not open round"):
            stage.open(rnd, total, uploads[:2], wrong)
    assert stage.open(rnd, total, uploads[:2], secret).count == 2


def test_a_sum_key_of_another_sum(stage, tmp_path):
    """Of the same round: it opens the sum of the uploads that it was made for."""
    rnd, uploads, two, three = sums_of(stage)
    key = stage.open(rnd, three, uploads)
    others = {"fewer": two, "others": vs.weighted_sum(rnd, [*uploads[:2], stage.upload(rnd, 3)])}
    for name, other in others.items():
        out = np.ones(SIZE, np.float32)
        with pytest.raises(vs.KeyMismatchError, match="another set of uploads"):
            vs.decrypt(key, other, out=out)
        assert (out == 1).all()
        other.save(tmp_path / name)
        with pytest.raises(vs.KeyMismatchError, match="another set of uploads"):
            vs.decrypt_file(key, vs.AggregateFile(tmp_path / name, rnd), tmp_path / "mean.npy")
        assert not (tmp_path / "mean.npy").exists()


# --- only a true sum ------------------------------------------------------------------------------


def lies(stage, rnd, uploads):
    """Aggregates whose blocks are not the sum of the uploads that they list, and those uploads."""
    raw = [forging.RawSum.of(vs.weighted_sum(rnd, uploads[:count]), rnd) for count in (2, 3)]
    two, three = raw
    stranger = stage.upload(rnd, 3)
    exchanged = forging.RawSum.of(vs.weighted_sum(rnd, [*uploads[:2], stranger]), rnd)
    alone = [forging.RawUpload.of(upload, rnd).blocks for upload in uploads]
    bit = bytearray(three.blocks)
    bit[-1] ^= 0x40
    yield "one left out", replace(three, entries=two.entries), uploads[:2]
    yield "one invented", replace(two, entries=three.entries), uploads
    yield "one exchanged", replace(three, entries=exchanged.entries), [*uploads[:2], stranger]
    yield "the victim's alone", replace(three, blocks=alone[0]), uploads
    yield "nothing", replace(three, blocks=bytes(len(three.blocks))), uploads
    yield "a bit", replace(three, blocks=bytes(bit)), uploads
    yield "ones", replace(three, blocks=b"\xff" * len(three.blocks)), uploads


@pytest.mark.parametrize("signed", [False, True])
def test_an_aggregate_that_is_not_the_sum_of_its_uploads(stage, signed):
    """The native key opens no other sum; other engines' key holders sum for themselves."""
    rnd = stage.round(signed=signed)
    uploads = stage.uploads(rnd, 3)
    holder = stage.fresh_secret()
    for lie, claimed, listed in lies(stage, rnd, uploads):
        total = claimed.read(rnd)
        if stage.sums_again:
            with pytest.raises(vs.RoundError, match="not the sum of its uploads"):
                stage.open(rnd, total, listed, holder)
            continue
        key = stage.open(rnd, total, listed)
        out = np.full(SIZE, 0.25, np.float32)
        with pytest.raises(vs.TamperedSumError, match="no value is given out"):
            vs.decrypt(key, total, out=out)
        assert not out.any(), lie
    total = vs.weighted_sum(rnd, uploads)
    key = stage.open(rnd, total, uploads, holder)  # nothing was opened, or remembered
    mean = np.mean([stage.update(client) for client in range(3)], axis=0)
    assert np.abs(vs.decrypt(key, total) - mean).max() <= stage.tolerance(3)


def test_a_key_is_no_oracle_for_other_blocks(stage):
    """The right list over other blocks, after the sum was opened."""
    rnd, uploads, _, three = sums_of(stage)
    key = stage.open(rnd, three, uploads)
    refusal = vs.KeyMismatchError if stage.sums_again else vs.TamperedSumError
    for lie, claimed, listed in lies(stage, rnd, uploads):
        if [head for _, head in claimed.entries] != [
            head for _, head in forging.RawSum.of(three, rnd).entries
        ]:
            continue
        out = np.full(SIZE, 0.25, np.float32)
        with pytest.raises(refusal):
            vs.decrypt(key, claimed.read(rnd), out=out)
        assert not out.any() or refusal is vs.KeyMismatchError, (lie, len(listed))


def test_uploads_are_shown_as_the_sum_lists_them(stage):
    """In its order, each once, and the very ones; the native key holder is shown none."""
    rnd = stage.round()
    uploads = stage.uploads(rnd, 3)
    total = vs.weighted_sum(rnd, uploads)
    if not stage.sums_again:
        with pytest.raises(vs.ParameterError, match="uploads is for"):
            vs.open_sum(stage.fresh_secret(), rnd, total, uploads=uploads)
        assert vs.open_sum(stage.fresh_secret(), rnd, total).count == 3
        return
    secret = stage.fresh_secret()
    for wrong in (
        uploads[:2],
        uploads[::-1],
        [*uploads, stage.upload(rnd, 3)],
        [uploads[0], uploads[0], uploads[2]],
        [*uploads[:2], stage.upload(rnd, 2)],
        [*uploads[:2], stage.upload(stage.round(), 2)],
    ):
        with pytest.raises(vs.RoundError, match=r"not the 3 that the aggregate lists"):
            vs.open_sum(secret, rnd, total, uploads=wrong)
    for none in (None, []):
        with pytest.raises(vs.RoundError, match="summing the uploads itself"):
            vs.open_sum(secret, rnd, total, uploads=none)
    # Requests that say it themselves: other blocks than the heads name, or no blocks.
    raw = forging.RawSum.of(total, rnd)
    blocks = [forging.RawUpload.of(upload, rnd).blocks for upload in uploads]
    for shown, words in (
        (blocks[::-1], "not the ones its head names"),
        ([blocks[0]] * 3, "not the ones its head names"),
    ):
        with pytest.raises(vs.RoundError, match=words):
            vs.open_sum(secret, rnd, replace(raw, shown=shown).request(rnd))
    with pytest.raises(vs.WireFormatError):
        replace(raw, shown=blocks[:2]).request(rnd)
    bare = forging.seal(forging.OPENING_REQUEST, raw._manifest() + bytes([forging.NO_EVIDENCE]))
    with pytest.raises(vs.RoundError, match="without the uploads"):
        vs.open_sum(secret, rnd, vs.OpeningRequest.from_bytes(bare, rnd))
    request = stage.request(total, uploads)
    with pytest.raises(vs.ParameterError, match="has all that opening needs"):
        vs.open_sum(secret, rnd, request, uploads=uploads)
    assert vs.open_sum(secret, rnd, request).count == 3


def test_uploads_may_be_files(stage, tmp_path):
    rnd = stage.round(signed=True)
    uploads = stage.uploads(rnd, 3)
    paths = [tmp_path / f"{k}.up" for k in range(3)]
    for upload, path in zip(uploads, paths, strict=True):
        upload.save(path)
    total = vs.sum_files(rnd, paths, tmp_path / "total")
    key = stage.open(rnd, total, paths)
    vs.decrypt_file(key, total, tmp_path / "mean.npy")
    mean = np.mean([stage.update(client) for client in range(3)], axis=0)
    assert np.abs(np.load(tmp_path / "mean.npy") - mean).max() <= stage.tolerance(3)


# --- an aggregator that is trusted ----------------------------------------------------------------


def as_shown(total, rnd):
    """A request that shows the aggregate alone."""
    raw = forging.RawSum.of(total, rnd)
    evidence = bytes([forging.AGGREGATE_SHOWN]) + forging.digest_of(raw.blocks) + raw.blocks
    return forging.seal(forging.OPENING_REQUEST, raw._manifest() + evidence)


def test_an_aggregator_is_trusted_only_where_the_round_says_so(stage):
    if not stage.sums_again:
        with pytest.raises(vs.ParameterError, match="native one opens sealed keys"):
            stage.round(trust_aggregator=True)
        rnd, _, total, _ = sums_of(stage)
        with pytest.raises(vs.WireFormatError, match="evidence"):
            vs.OpeningRequest.from_bytes(as_shown(total, rnd), rnd)
        return
    rnd, uploads, total, _ = sums_of(stage)
    secret = stage.fresh_secret()
    with pytest.raises(vs.RoundError, match="without the uploads"):
        vs.open_sum(secret, rnd, vs.OpeningRequest.from_bytes(as_shown(total, rnd), rnd))
    assert stage.open(rnd, total, uploads[:2], secret).count == 2
    trusting, _, total, _ = sums_of(stage, trust_aggregator=True)
    received = vs.Aggregate.from_bytes(total.to_bytes(), trusting)
    key = vs.open_sum(secret, trusting, received)
    mean = np.mean([stage.update(client) for client in range(2)], axis=0)
    assert np.abs(vs.decrypt(key, total) - mean).max() <= stage.tolerance(2)
    assert vs.Round.from_bytes(trusting.to_bytes()).id == trusting.id


def test_trust_in_the_aggregator_waives_no_other_rule(stage):
    if not stage.sums_again:
        pytest.skip("the native engine's key holder trusts no aggregator")
    options = {"trust_aggregator": True, "signed": True, "min_clients": 3}
    rnd, uploads, three, four = sums_of(stage, (3, 4), **options)
    secret = stage.fresh_secret()
    few = forging.RawSum.made(rnd, uploads[:2]).read(rnd)
    with pytest.raises(vs.RoundError, match="at least 3"):
        vs.open_sum(secret, rnd, few)
    unsigned = forging.RawSum.of(three, rnd)
    weight, head = unsigned.entries[0]
    unsigned.entries[0] = (weight, replace(head, signature=None))
    with pytest.raises(vs.RoundError, match="not signed"):
        vs.open_sum(secret, rnd, unsigned.read(rnd))
    key = vs.open_sum(secret, rnd, three)
    # Two aggregates of one list are two sums, and of one round one is opened.
    changed = bytearray(forging.RawSum.of(three, rnd).blocks)
    changed[0] ^= 1
    other = replace(forging.RawSum.of(three, rnd), blocks=bytes(changed)).read(rnd)
    for again in (four, other):
        with pytest.raises(vs.RoundError, match="opened before for another"):
            vs.open_sum(secret, rnd, again)
    with pytest.raises(vs.KeyMismatchError):
        vs.decrypt(key, other)
    # Uploads that are shown are summed all the same.
    fresh = stage.fresh_secret()
    with pytest.raises(vs.RoundError, match="not the sum of its uploads"):
        vs.open_sum(fresh, rnd, other, uploads=uploads[:3])


# --- what fails gives nothing out -----------------------------------------------------------------


def test_a_refused_opening_is_not_remembered(stage):
    """A forged request must not use up the round."""
    rnd = stage.round(signed=True)
    uploads = stage.uploads(rnd, 3)
    raw = forging.RawSum.made(rnd, uploads)
    secret = stage.fresh_secret()
    (weight, head), *rest = raw.entries
    broken = replace(head, part=bytes([head.part[0] ^ 1]) + head.part[1:])
    for entries in ([(weight, broken), *rest], [(weight, replace(head, clipped=1)), *rest]):
        with pytest.raises(vs.RoundError):
            vs.open_sum(secret, rnd, replace(raw, entries=entries).request(rnd))
    total = vs.weighted_sum(rnd, uploads[:2])
    assert stage.open(rnd, total, uploads[:2], secret).count == 2


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_an_opener_that_fails_fails_the_opening(stage, tmp_path, kept):
    """Its exception travels out, nothing is given out, and the same sum may be opened again."""
    rnd, uploads, two, three = sums_of(stage)
    request = stage.request(three, uploads)
    right = rnd.plan.cipher.opener(rnd, rnd.plan.parameters)
    secret = stage.fresh_secret()
    if kept == "file":
        secret.save(tmp_path / "key")

    def broken(*_):
        raise LookupError("no such key")

    for _ in range(2):
        with pytest.raises(LookupError, match="no such key"):
            _core.open_sum(secret, rnd, request, open=broken)
    for answer in ("a text", 7, *((None,) if stage.sums_again else ())):
        with pytest.raises(vs.ParameterError, match="must return bytes"):
            _core.open_sum(secret, rnd, request, open=lambda *_, seed=answer: seed)
    key = _core.open_sum(secret, rnd, request, open=right)
    mean = np.mean([stage.update(client) for client in range(3)], axis=0)
    assert np.abs(vs.decrypt(key, three) - mean).max() <= stage.tolerance(3)
    assert (
        _core.open_sum(secret, rnd, request, open=broken if stage.sums_again else right).count == 3
    )
    with pytest.raises(vs.RoundError, match="opened before"):
        stage.open(rnd, two, uploads[:2], secret)
