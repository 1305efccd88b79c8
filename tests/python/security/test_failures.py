"""What fails says so by a typed error before any work, gives nothing out, and leaves files whole.

NaN and infinities, values beyond the limit, more than a plan holds, work that its progress function
or a signal stops: nothing is encrypted, summed or decrypted then, and an old file stays as it was.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import veilsum as vs
from security.adding import WAYS, sum_by
from security.stages import PRELUDE, SIZE


class EnoughError(Exception):
    """Raised by a progress function."""


def stop(done, total):
    raise EnoughError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(stage, folder, dtype, bad):
    """By the first of them, in the user's terms; nothing is encrypted."""
    size = 5000 if stage.engine != "native" else 2_000_000
    rnd = stage.round(size)
    values = np.zeros(size, dtype)
    first, last = size // 2 + 17, size - 1
    values[[first, last]] = bad
    with pytest.raises(ValueError, match=rf"update at \[{first}\] is not finite"):
        vs.encrypt(rnd, values)
    # By name, place and number, from a file too, which stays as it was.
    update = {"a": np.zeros(3, dtype), "b": np.zeros((2, 4), dtype)}
    rnd = stage.round(like=update)
    update["b"][1, 2] = bad
    with pytest.raises(vs.ParameterError, match=r"'b' at \[1, 2\] is not finite \(value 9"):
        vs.encrypt(rnd, update)
    if dtype != np.float16:
        from veilsum.layout.files import write_update

        write_update("in.safetensors", update)
        (folder / "out").write_text("old")
        with pytest.raises(vs.ParameterError, match=r"'b' at \[1, 2\] is not finite"):
            vs.encrypt_file(rnd, "in.safetensors", "out")
        assert (folder / "out").read_text() == "old"


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # clipped on purpose
def test_values_beyond_the_limit_are_counted_or_refused(stage, folder):
    rnd = stage.round(4, limit=0.5)
    update = np.array([0.5, -0.5, 0.6, -7.0], np.float32)
    upload = vs.encrypt(rnd, update)
    assert upload.clipped == 2
    assert vs.encrypt(rnd, np.array([0.3, 0, 0, 0], np.float32), weight=2.0).clipped == 1
    with pytest.raises(vs.ParameterError, match=r"2 (of 4 values|values or more lie beyond)"):
        vs.encrypt(rnd, update, on_clip="error")
    np.save("a.npy", update)
    with pytest.raises(vs.ParameterError, match=r"2 (of 4 values|values or more lie beyond)"):
        vs.encrypt_file(rnd, "a.npy", "a.up", on_clip="error")
    assert [path.name for path in folder.iterdir()] == ["a.npy"]
    assert vs.encrypt_file(rnd, "a.npy", "a.up").clipped == 2
    uploads = [upload, vs.encrypt(rnd, np.zeros(4, np.float32))]
    for way in WAYS:
        assert sum_by(way, rnd, uploads, folder).clipped == [2, 0]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(stage.open(rnd, total, uploads), total)
    bound = stage.tolerance(2, 0.5)
    assert np.abs(mean - [0.25, -0.25, 0.25, -0.25]).max() <= bound
    with pytest.raises(vs.ParameterError, match="on_clip = 'ignore'"):
        vs.encrypt(rnd, update, on_clip="ignore")


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")
def test_the_largest_values_of_all_clients_fit(stage):
    """Sums at both ends of the range, of whole limits: no carry, no wrap, no false alarm."""
    clients = stage.plan.clients
    for value in (1.0, -1.0, 3e38):
        rnd = stage.round()
        uploads = [vs.encrypt(rnd, np.full(SIZE, value, np.float32)) for _ in range(clients)]
        total = vs.weighted_sum(rnd, uploads)
        mean = vs.decrypt(stage.open(rnd, total, uploads), total, dtype="float64")
        assert np.abs(mean - np.clip(value, -1, 1)).max() <= stage.tolerance(clients)


@pytest.mark.filterwarnings("ignore::veilsum.VeilsumWarning")  # lost in a step, or all 0
def test_values_of_any_smallness_are_values(stage):
    """Found with OpenFHE, which encodes no block of which nothing is left but dust."""
    for tiny in (5e-324, 1e-300, 1e-38, 1e-18, 2e-16, 3e-15, 1e-14, 1e-13, 1e-12, 1e-9):
        alone, alternating = np.zeros(SIZE), np.full(SIZE, tiny)
        alone[7], alternating[::2] = tiny, -tiny
        for update in (alone, np.full(SIZE, -tiny), alternating):
            rnd = stage.round(limit=1.0)
            uploads = [vs.encrypt(rnd, update), vs.encrypt(rnd, np.zeros(SIZE))]
            total = vs.weighted_sum(rnd, uploads)
            mean = vs.decrypt(stage.open(rnd, total, uploads), total, dtype="float64")
            assert np.abs(mean - update / 2).max() <= stage.tolerance(2)


def test_updates_that_do_not_fit_the_round(stage):
    rnd = stage.round(like={"w": np.zeros((3, 2), np.float32)})
    for wrong in (
        {"w": np.zeros((4, 2), np.float32)},
        {"v": np.zeros((3, 2), np.float32)},
        {"w": np.zeros((3, 2), np.int64)},
        {},
        {"w": np.zeros((3, 2), np.float32), "v": np.zeros(1, np.float32)},
        np.zeros(7, np.float32),
        "update",
        None,
    ):
        with pytest.raises(vs.ParameterError):
            vs.encrypt(rnd, wrong)


# --- before any work ------------------------------------------------------------------------------


def test_too_much_weight_is_refused_before_any_work(stage, folder):
    """Uploads that would take the rest of the day are not read first."""
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    paths = []
    for k, upload in enumerate(uploads):
        paths.append(folder / f"{k}.up")
        upload.save(paths[-1])
    calls = []
    with pytest.raises(vs.HeadroomError, match="weight_bits"):
        vs.sum_files(rnd, paths, "total", [1, 2], progress=lambda *at: calls.append(at))
    with pytest.raises(vs.HeadroomError, match="weight_bits"):  # even if there is no such file
        vs.sum_files(rnd, ["none.up", "neither.up"], "total", [1, 2])
    assert not calls
    assert not (folder / "total").exists()


# --- stopped on the way ---------------------------------------------------------------------------


def test_an_exception_in_progress_cancels(stage, folder):
    rnd = stage.round()
    with pytest.raises(EnoughError):
        vs.encrypt(rnd, stage.update(0), progress=stop)
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    key = stage.open(rnd, total, uploads)
    out = np.ones(SIZE, np.float32)
    for _ in range(2):
        with pytest.raises(EnoughError):
            vs.decrypt(key, total, progress=stop, out=out)
    # And leaves what it stopped as it was.
    mean = np.mean([stage.update(client) for client in range(2)], axis=0)
    assert np.abs(vs.decrypt(key, total) - mean).max() <= stage.tolerance(2)
    np.save("a.npy", stage.update(0))
    for path in ("a.up", "b.up", "mean.npy", "total"):
        (folder / path).write_text("old")
    with pytest.raises(EnoughError):
        vs.encrypt_file(rnd, "a.npy", "a.up", progress=stop)
    for k, upload in enumerate(uploads):
        upload.save(f"{k}.up")
    with pytest.raises(EnoughError):
        vs.sum_files(rnd, ["0.up", "1.up"], "total", progress=stop)
    total.save("good")
    with pytest.raises(EnoughError):
        vs.decrypt_file(key, vs.AggregateFile("good", rnd), "mean.npy", progress=stop)
    for path in ("a.up", "b.up", "mean.npy", "total"):
        assert (folder / path).read_text() == "old"
    left = {path.name for path in folder.iterdir()}
    assert left == {"a.npy", "a.up", "b.up", "mean.npy", "total", "0.up", "1.up", "good"}


def test_progress_counts_up_to_all(stage, folder):
    rnd = stage.round()
    np.save("a.npy", stage.update(0))
    seen = []

    def watch(done, total):
        seen.append((done, total))

    def counted():
        assert seen
        assert {total for _, total in seen} == {SIZE}
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (SIZE, SIZE)
        seen.clear()

    uploads = [vs.encrypt(rnd, stage.update(k), progress=watch) for k in range(2)]
    assert seen.count((SIZE, SIZE)) == 2
    seen.clear()
    vs.encrypt_file(rnd, "a.npy", "a.up", progress=watch)
    counted()
    for k, upload in enumerate(uploads):
        upload.save(f"{k}.up")
    total = vs.sum_files(rnd, ["0.up", "1.up"], "total", progress=watch)
    counted()
    key = stage.open(rnd, total, uploads)
    vs.decrypt(key, vs.Aggregate.load("total", rnd), progress=watch)
    counted()
    vs.decrypt_file(key, total, "mean.npy", progress=watch)
    counted()


KILLED = """
import os, signal, time
step, *paths = sys.argv[1:]
rnd, key, source, first, second, total, target = paths
rnd = vs.Round.load(rnd)
def wait(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "encrypt":
    vs.encrypt_file(rnd, source, target, progress=wait)
elif step == "sum":
    vs.sum_files(rnd, [first, second], target, progress=wait)
else:
    vs.decrypt_file(vs.SumKey.load(key, rnd), vs.AggregateFile(total, rnd), target, progress=wait)
"""


@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
def test_killed_on_the_way_the_old_file_is_whole(stage, folder, step):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    np.save("in.npy", stage.update(0))
    names = ("round", "key", "in.npy", "0.up", "1.up", "total", "out.npy")
    for made, name in (
        (rnd, "round"), (stage.open(rnd, total, uploads), "key"), (uploads[0], "0.up"),
        (uploads[1], "1.up"), (total, "total"),
    ):  # fmt: skip
        made.save(name)
    (folder / "out.npy").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + KILLED, step, *names], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (folder / "out.npy").read_text() == "old"
    # The same again, by whoever comes next, with what was left lying there.
    if step == "encrypt":
        vs.encrypt_file(rnd, "in.npy", "out.npy")
        assert vs.Upload.load("out.npy", rnd).round_id == rnd.id
    elif step == "sum":
        vs.sum_files(rnd, ["0.up", "1.up"], "out.npy")
        assert (folder / "out.npy").read_bytes() == (folder / "total").read_bytes()
    else:
        vs.decrypt_file(vs.SumKey.load("key", rnd), vs.AggregateFile("total", rnd), "out.npy")
        mean = np.mean([stage.update(client) for client in range(2)], axis=0)
        assert np.abs(np.load("out.npy") - mean).max() <= stage.tolerance(2)


FULL = """
import resource, signal
step, *paths = sys.argv[1:]
rnd, key, source, first, second, total, target = paths
rnd = vs.Round.load(rnd)
key = vs.SumKey.load(key, rnd)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    if step == "encrypt":
        vs.encrypt_file(rnd, source, target)
    elif step == "sum":
        vs.sum_files(rnd, [first, second], target)
    else:
        vs.decrypt_file(key, vs.AggregateFile(total, rnd), target)
    print("written")
except OSError:
    print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses RLIMIT_FSIZE")
def test_on_a_full_disk_the_old_file_is_whole(stage, folder):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    np.save("in.npy", stage.update(0))
    names = ("round", "key", "in.npy", "0.up", "1.up", "total", "out.npy")
    for made, name in (
        (rnd, "round"), (stage.open(rnd, total, uploads), "key"), (uploads[0], "0.up"),
        (uploads[1], "1.up"), (total, "total"),
    ):  # fmt: skip
        made.save(name)
    (folder / "out.npy").write_text("old")
    before = names_in(folder)
    for step in ("encrypt", "sum", "decrypt"):
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + FULL, step, *names],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.split() == ["refused"], done.stderr
        assert (folder / "out.npy").read_text() == "old"
        assert names_in(folder) == before


def test_only_what_can_be_resumed_is(stage, folder):
    """Elsewhere it is said before any work."""
    if stage.engine == "native":
        pytest.skip("the native engine's work on files can be resumed: test_large_files.py")
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    total.save("total")
    np.save("a.npy", stage.update(0))
    with pytest.raises(vs.ParameterError, match="only the native engine"):
        vs.encrypt_file(rnd, "a.npy", "a.up", resume=True)
    key = stage.open(rnd, total, uploads)
    with pytest.raises(vs.ParameterError, match="only the native engine"):
        vs.decrypt_file(key, vs.AggregateFile("total", rnd), "mean.npy", resume=True)
    assert names_in(folder) == ["a.npy", "total"]
