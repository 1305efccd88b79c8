"""Encrypting, summing and decrypting from file to file, in portions.

The bytes are those of the steps in memory; memory stays bounded; a run that was killed goes on. How
blocks are cut, checked and journaled is tested in C++ (tests/cpp); here it is what a user calls.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import veilsum as vs
from veilsum.api.large_files import journal_path
from veilsum.cli import main
from veilsum.layout.files import read_update, write_update
from veilsum.layout.tensors import BFLOAT16

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage(like=None, *, size=None, clients=3, roster=None, limit=1.0, **plan):
    made = vs.Plan(clients, **plan)
    secret, public = vs.keygen(made)
    options = {"size": size} if like is None else {"like": like}
    rnd = vs.Round(made, public, limit=limit, roster=roster, **options)
    return SimpleNamespace(plan=made, secret=secret, round=rnd)


def state(seed):
    """Tensors of all four dtypes, one a scalar and one empty."""
    rng = np.random.default_rng(seed)
    brain = rng.uniform(-1, 1, 700).astype(np.float32).view(np.uint32) >> 16
    return {
        "weight": rng.uniform(-1, 1, (300, 40)).astype(np.float32),
        "double": rng.uniform(-1, 1, (50, 3, 2)),
        "half": rng.uniform(-1, 1, 5001).astype(np.float16),
        "brain": brain.astype(np.uint16).view(BFLOAT16).reshape(7, 100),
        "scalar": np.array(0.25, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }


def same(a, b):
    """Whether two updates hold the same bits."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- the results -----------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["mapping", "array", "flat"])
@pytest.mark.parametrize("resume", [False, True])
def test_the_steps_on_files_and_in_memory_understand_each_other(folder, kind, signed, resume):
    updates = [state(seed) for seed in range(2)]
    if kind != "mapping":
        updates = [update["weight"] for update in updates]
    suffix = "safetensors" if kind == "mapping" else "npy"
    people = [vs.Identity.generate() for _ in range(2)]
    options = {"size": 12000} if kind == "flat" else {"like": updates[0]}
    here = stage(roster=vs.Roster(people) if signed else None, **options)
    for index, update in enumerate(updates):
        write_update(f"{index}.{suffix}", update)
        made = vs.encrypt_file(
            here.round, f"{index}.{suffix}", f"{index}.up",
            signer=people[index] if signed else None, resume=resume,
        )  # fmt: skip
        loaded = vs.Upload.load(f"{index}.up", here.round)
        assert (loaded.nbytes, loaded.clipped, loaded.client, loaded.digest) == (
            made.nbytes, made.clipped, made.client, made.digest,
        )  # fmt: skip
        assert made.signed == signed
        assert Path(f"{index}.up").stat().st_size == made.nbytes
    total = vs.sum_files(here.round, ["0.up", "1.up"], "total.vs", resume=resume)
    loaded = [vs.Upload.load(f"{index}.up", here.round) for index in range(2)]
    in_memory = vs.weighted_sum(here.round, loaded)
    assert Path("total.vs").read_bytes() == in_memory.to_bytes()
    assert total.opening_request().to_bytes() == in_memory.opening_request().to_bytes()
    total.verify()
    key = vs.open_sum(here.secret, here.round, total)
    for dtype in (None, "float32", "float64"):
        for average in (True, False):
            vs.decrypt_file(
                key, total, f"mean.{suffix}", dtype=dtype, average=average, resume=resume
            )
            mean = vs.decrypt(key, in_memory, dtype=dtype, average=average, output="numpy")
            assert same(read_update(f"mean.{suffix}"), mean)
            write_update(f"expected.{suffix}", mean)
            assert Path(f"mean.{suffix}").read_bytes() == Path(f"expected.{suffix}").read_bytes()
    left = {path.name for path in folder.iterdir()}
    assert not [name for name in left if "journal" in name or "part" in name or "tmp" in name]


@pytest.mark.parametrize("how", ["fortran", "swapped"])
def test_an_array_that_cannot_be_streamed_is_read_whole(folder, how):
    rng = np.random.default_rng(1)
    update = rng.uniform(-1, 1, (40, 50)).astype(np.float32)
    odd = np.asfortranarray(update) if how == "fortran" else update.astype(">f4")
    np.save("odd.npy", odd)
    np.save("plain.npy", update)
    here = stage(like=update)
    for index, name in enumerate(["odd", "plain"]):
        vs.encrypt_file(here.round, f"{name}.npy", f"{index}.up")
    total = vs.sum_files(here.round, ["0.up", "1.up"], "total.vs")
    mean = vs.decrypt(
        vs.open_sum(here.secret, here.round, total), vs.Aggregate.load("total.vs", here.round)
    )
    assert np.abs(mean - update).max() <= 0.5 / 32767 + 1e-6
    with pytest.raises(vs.ParameterError, match="Fortran order or of another byte order"):
        vs.encrypt_file(here.round, "odd.npy", "x.up", resume=True)
    assert not Path("x.up").exists()


def test_weights_of_clients_and_aggregator(folder):
    here = stage(size=5000, weight_bits=3)
    update = np.linspace(-1, 1, 5000).astype(np.float32)
    np.save("a.npy", update)
    vs.encrypt_file(here.round, "a.npy", "a.up")
    vs.encrypt_file(here.round, "a.npy", "b.up", weight=0.5)
    total = vs.sum_files(here.round, ["a.up", "b.up"], "total.vs", [3, 5])
    assert (total.weights, total.total_weight, total.count) == ([3, 5], 8, 2)
    key = vs.open_sum(here.secret, here.round, total)
    vs.decrypt_file(key, total, "sum.npy", average=False, dtype="float64")
    expected = 3 * update.astype(float) + 5 * 0.5 * update.astype(float)
    assert np.abs(np.load("sum.npy") - expected).max() <= 8 * 0.5 / 32767 + 1e-9
    with pytest.raises(vs.HeadroomError, match=r"b\.up"):
        vs.sum_files(here.round, ["a.up", "b.up"], "x.vs", [20, 20])
    with pytest.raises(vs.ParameterError, match="weights has 3 numbers for 2 uploads"):
        vs.sum_files(here.round, ["a.up", "b.up"], "x.vs", [1, 2, 3])


# --- what is refused -------------------------------------------------------------------------


def test_refusals_name_the_thing_and_leave_the_old_file(folder):
    update = {"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float32)}
    here = stage(like=update)
    Path("out.up").write_text("old")

    def refused(error, match, tensors, **options):
        write_update("in.safetensors", tensors)
        with pytest.raises(error, match=match):
            vs.encrypt_file(here.round, "in.safetensors", "out.up", **options)
        assert Path("out.up").read_text() == "old"
        assert sorted(p.name for p in folder.iterdir()) == ["in.safetensors", "out.up"]

    bad = {**update, "a": np.zeros((3, 5), np.float32)}
    bad["a"][2, 1] = np.nan
    for resume in (False, True):
        refused(vs.ParameterError, r"tensor 'a' at \[2, 1\] is not finite", bad, resume=resume)
    refused(vs.ParameterError, "no tensor 'b'", {"a": update["a"]})
    refused(vs.ParameterError, "shape", {**update, "b": np.zeros(8, np.float32)})
    refused(vs.ParameterError, "dtype", {**update, "b": np.zeros(7)})
    refused(vs.ParameterError, "weight", update, weight=float("inf"))
    refused(vs.ParameterError, "rounding", update, rounding="up")
    refused(vs.ParameterError, "threads", update, threads=0)
    big = {**update, "b": np.full(7, 3, np.float32)}
    refused(vs.ParameterError, "7 of 22 values", big, on_clip="error", resume=True)
    refused(vs.ParameterError, "no roster", update, signer=vs.Identity.generate())
    assert vs.encrypt_file(here.round, "in.safetensors", "out.up").clipped == 0


def test_no_output_replaces_its_own_input(folder):
    here = stage(size=1000)
    np.save("a.npy", np.zeros(1000, np.float32))
    for name in ("a", "b"):
        vs.encrypt_file(here.round, "a.npy", f"{name}.up")
    total = vs.sum_files(here.round, ["a.up", "b.up"], "total.npy")
    key = vs.open_sum(here.secret, here.round, total)
    os.link("b.up", "c.part")
    Path("d").symlink_to("a.up")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(vs.ParameterError, match=r"output a\.npy is also an input"):
        vs.encrypt_file(here.round, "a.npy", "./a.npy")
    for target in ("a.up", folder / "b.up", "c", "d"):
        with pytest.raises(vs.ParameterError, match="is also an input"):
            vs.sum_files(here.round, ["a.up", "b.up"], target, resume=True)
    with pytest.raises(vs.ParameterError, match="is also an input"):
        vs.decrypt_file(key, total, "total.npy")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("engine", ["native", "openfhe", "identity"])
def test_no_output_replaces_a_secret_key(folder, engine):
    here = stage(size=1000)
    np.save("a.npy", np.zeros(1000, np.float32))
    if engine == "identity":
        vs.Identity.generate().save("key")
    else:
        try:
            secret, _ = vs.keygen(vs.Plan(3, engine=engine))
        except vs.BackendUnavailableError:
            pytest.skip("OpenFHE is not available here")
        secret.save("key")
    before = Path("key").read_bytes()
    with pytest.raises(vs.ParameterError, match="key is a secret key"):
        vs.encrypt_file(here.round, "a.npy", "key")
    assert Path("key").read_bytes() == before


def test_damaged_files_are_refused_and_named(folder):
    here = stage(size=60_000)
    np.save("a.npy", np.zeros(60_000, np.float32))
    for name in ("a", "b"):
        vs.encrypt_file(here.round, "a.npy", f"{name}.up")
    total = vs.sum_files(here.round, ["a.up", "b.up"], "total.vs")
    key = vs.open_sum(here.secret, here.round, total)
    good_upload, good_total = Path("a.up").read_bytes(), Path("total.vs").read_bytes()
    rng = np.random.default_rng(3)
    for trial in range(30):
        for name, good in (("a.up", good_upload), ("total.vs", good_total)):
            damaged = bytearray(good)
            place = int(rng.integers(len(good))) if trial > 6 else trial * 8
            damaged[place] ^= 1 << int(rng.integers(8))
            if trial % 5 == 4:
                damaged = damaged[: int(rng.integers(len(good)))]
            Path(name).write_bytes(damaged)
            with pytest.raises((vs.WireFormatError, vs.RoundError)) as caught:
                if name == "a.up":
                    vs.sum_files(here.round, ["a.up", "b.up"], "x.vs", resume=bool(trial % 2))
                else:
                    vs.decrypt_file(key, vs.AggregateFile("total.vs", here.round), "x.npy")
            if name == "a.up":
                assert "a.up" in str(caught.value)
        assert sorted(p.name for p in folder.iterdir()) == ["a.npy", "a.up", "b.up", "total.vs"]
        Path("a.up").write_bytes(good_upload)
        Path("total.vs").write_bytes(good_total)


def test_a_file_of_a_kind_that_the_values_have_not(folder):
    here = stage(size=100)
    np.save("a.npy", np.zeros(100, np.float32))
    for name in "ab":
        vs.encrypt_file(here.round, "a.npy", f"{name}.up")
    total = vs.sum_files(here.round, ["a.up", "b.up"], "total.vs")
    key = vs.open_sum(here.secret, here.round, total)
    with pytest.raises(vs.ParameterError, match=r"\.npy"):
        vs.decrypt_file(key, total, "x.safetensors")


# --- going on after a stop ---------------------------------------------------------------------

VALUES = 40_000_000

RUN = """
import sys, time, veilsum as vs
step, folder, hold = sys.argv[1], sys.argv[2], float(sys.argv[3])
rnd = vs.Round.load(f"{folder}/round.vs")
def progress(done, total):
    print(done, flush=True)
    time.sleep(hold)
options = dict(resume=True, progress=progress)
if step == "encrypt":
    vs.encrypt_file(rnd, f"{folder}/in.npy", f"{folder}/out", **options)
elif step == "sum":
    vs.sum_files(rnd, [f"{folder}/a.up", f"{folder}/b.up"], f"{folder}/out", **options)
else:
    key = vs.SumKey.load(f"{folder}/sum.key", rnd)
    total = vs.AggregateFile(f"{folder}/total.vs", rnd)
    vs.decrypt_file(key, total, f"{folder}/out.npy", **options)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A round of several portions, with everything that its steps need."""
    where = tmp_path_factory.mktemp("large")
    here = stage(size=VALUES)
    here.round.save(where / "round.vs")
    values = np.resize(np.random.default_rng(2).uniform(-1, 1, 1 << 20).astype(np.float32), VALUES)
    np.save(where / "in.npy", values)
    for name in ("a", "b"):
        vs.encrypt_file(here.round, where / "in.npy", where / f"{name}.up")
    total = vs.sum_files(here.round, [where / "a.up", where / "b.up"], where / "total.vs")
    here.key = vs.open_sum(here.secret, here.round, total)
    here.key.save(where / "sum.key")
    vs.decrypt_file(here.key, total, where / "mean.npy")
    here.folder, here.values = where, values
    yield here
    shutil.rmtree(where)


def start(step, where, hold):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, step, str(where), str(hold)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
def test_killed_in_the_middle_it_goes_on_and_gives_the_same_bytes(large, step):
    out = large.folder / ("out.npy" if step == "decrypt" else "out")
    with start(step, large.folder, 60) as first:
        assert first.stdout.readline().strip().isdigit()  # one portion is done, the next waits
        first.kill()
    assert first.returncode == -signal.SIGKILL
    journal = journal_path(out)
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(f"{out}.part").stat().st_mode) == 0o600
    assert not out.exists()
    before = Path(f"{out}.part").stat().st_ino
    with start(step, large.folder, 0) as second:
        portions = second.stdout.read().split()
    assert second.returncode == 0
    assert int(portions[-1]) == VALUES
    assert out.stat().st_ino == before  # the file that the first run began
    assert not journal.exists()
    if step == "sum":
        assert out.read_bytes() == (large.folder / "total.vs").read_bytes()
    elif step == "decrypt":
        assert out.read_bytes() == (large.folder / "mean.npy").read_bytes()
    else:
        vs.sum_files(large.round, [out, large.folder / "a.up"], large.folder / "t2").verify()
        key = vs.open_sum(
            fresh(large), large.round, vs.AggregateFile(large.folder / "t2", large.round)
        )
        vs.decrypt_file(
            key, vs.AggregateFile(large.folder / "t2", large.round), large.folder / "m2.npy"
        )
        assert (large.folder / "m2.npy").read_bytes() == (large.folder / "mean.npy").read_bytes()
        (large.folder / "t2").unlink()
    out.unlink()


def fresh(here):
    """The same key without a memory of what it opened."""
    return vs.SecretKey.from_bytes(here.secret.to_bytes())


def test_two_processes_do_not_write_one_output(large):
    with start("sum", large.folder, 60) as first:
        first.stdout.readline()
        uploads = [large.folder / "a.up", large.folder / "b.up"]
        with pytest.raises(vs.ParameterError, match="another process is at work"):
            vs.sum_files(large.round, uploads, large.folder / "out", resume=True)
        first.kill()
    with pytest.raises(vs.ParameterError, match=r"--resume.*delete.*out\.journal"):
        vs.sum_files(large.round, uploads, large.folder / "out")
    journal_path(large.folder / "out").unlink()
    (large.folder / "out.part").unlink()


def test_an_interrupt_keeps_the_journal_and_says_so(large, monkeypatch, capsys):
    monkeypatch.chdir(large.folder)
    words = ["sum", "round.vs", "a.up", "b.up", "--out", "cli.vs"]

    def interrupt(self, done, total):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("veilsum.cli.progress.Progress.__call__", interrupt)
        assert main(words) == 130  # without --resume nothing is left
        assert not list(large.folder.glob("cli*"))
        assert capsys.readouterr().err == "veilsum: interrupted\n"
        assert main([*words, "--resume"]) == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert main(words) == 3
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert Path("cli.vs").read_bytes() == Path("total.vs").read_bytes()
    assert [path.name for path in large.folder.glob("cli*")] == ["cli.vs"]
    Path("cli.vs").unlink()


def test_ctrl_c_stops_even_without_a_progress_function(large):
    code = (
        "import signal, sys, veilsum as vs\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup\n"
        "f = sys.argv[1]; rnd = vs.Round.load(f + '/round.vs')\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    while True: vs.encrypt_file(rnd, f + '/in.npy', f + '/c.up')\n"
        "except KeyboardInterrupt: sys.exit(9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(large.folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 9
    assert not list(large.folder.glob("c.up.*"))
    (large.folder / "c.up").unlink(missing_ok=True)


def test_a_changed_input_is_not_encrypted_with_the_journals_seeds(folder):
    here = stage(size=VALUES)
    np.save("in.npy", np.zeros(VALUES, np.float32))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True, progress=stop)
    journal = Path("out.journal").read_bytes()
    changed = np.load("in.npy", mmap_mode="r+")
    changed[-1] = 0.5
    changed.flush()
    os.utime("in.npy")
    with pytest.raises(vs.ParameterError, match=r"changed since.*delete out\.journal"):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True)
    assert Path("out.journal").read_bytes() == journal
    assert not Path("out").exists()


def edit_and_put_time_back(path):
    """Change the last value; whoever looks at size and time of modification sees nothing."""
    times = Path(path).stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    changed = np.load(path, mmap_mode="r+")
    changed[-1] = 0.5
    changed.flush()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Path(path).stat().st_mtime_ns == times.st_mtime_ns


@pytest.mark.parametrize("how", ["copied", "hard links", "put back in its place", "moved"])
def test_a_journal_gives_one_upload_whatever_is_done_to_its_files(folder, how):
    """Found in review: copies of both, and an edit whose time was put back, gave two."""
    here = stage(size=VALUES)
    np.save("in.npy", np.zeros(VALUES, np.float32))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True, progress=stop)
    name = "out" if how == "put back in its place" else "second"
    for end in (".journal", ".part"):
        if how == "hard links":
            os.link("out" + end, "second" + end)
        elif how == "moved":
            Path("out" + end).rename("second" + end)
        else:
            Path("kept" + end).write_bytes(Path("out" + end).read_bytes())
            Path("kept" + end).chmod(0o600)
    if how != "moved":
        vs.encrypt_file(here.round, "in.npy", "out", resume=True)
    if how in ("copied", "put back in its place"):
        for end in (".journal", ".part"):
            Path("kept" + end).rename(name + end)
    for edited in (False, True):
        if edited:
            edit_and_put_time_back("in.npy")
        with pytest.raises(vs.ParameterError, match=r"moved or copied|not a journal"):
            vs.encrypt_file(here.round, "in.npy", name, resume=True)
    assert not Path("second").exists()


def test_an_edit_whose_time_is_put_back_is_seen(folder):
    here = stage(size=VALUES)
    np.save("in.npy", np.zeros(VALUES, np.float32))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True, progress=stop)
    edit_and_put_time_back("in.npy")
    with pytest.raises(vs.ParameterError, match=r"changed since.*delete out\.journal"):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True)
    assert not Path("out").exists()


def test_zeros_that_a_crash_left_at_the_end_of_a_journal_do_not_count(folder):
    here = stage(size=30_000_000)
    np.save("in.npy", np.zeros(30_000_000, np.float32))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True, progress=stop)
    with Path("out.journal").open("ab") as journal:
        journal.write(bytes(4096))
    vs.encrypt_file(here.round, "in.npy", "out", resume=True)
    assert sorted(path.name for path in folder.iterdir()) == ["in.npy", "out"]


def test_a_journal_that_is_damaged_in_the_middle_is_not_continued(folder):
    # Forgetting the digests of what was encrypted would let a changed input pass unseen.
    here = stage(size=30_000_000)
    np.save("in.npy", np.zeros(30_000_000, np.float32))

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vs.encrypt_file(here.round, "in.npy", "out", resume=True, progress=stop)
    whole = Path("out.journal").read_bytes()
    first = 8 + 12 + int.from_bytes(whole[8:12], "little")  # magic, frame, seeds
    for at in (8, 10, 12, 20, first, first + 2, first + 4, first + 100, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        Path("out.journal").write_bytes(damaged)
        with pytest.raises(vs.ParameterError, match=r"out\.journal is damaged"):
            vs.encrypt_file(here.round, "in.npy", "out", resume=True)
    Path("out.journal").write_bytes(whole[:-5])  # a record that a crash cut short
    vs.encrypt_file(here.round, "in.npy", "out", resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("step", ["encrypt", "sum"])
def test_a_forked_child_neither_goes_on_nor_touches_the_parents_files(folder, step, resume):
    # Encrypting, there would be two processes under one key, whose input may differ by then.
    size = 20_000_000
    here = stage(size=size)
    np.save("in.npy", np.zeros(size, np.float32))
    for name in ("a", "b"):
        vs.encrypt_file(here.round, "in.npy", f"{name}.up")
    child = None

    def fork(done, total):
        nonlocal child
        if child is None:
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0

    options = {"progress": fork, "resume": resume, "threads": 1}
    refused = False
    try:
        if step == "encrypt":
            vs.encrypt_file(here.round, "in.npy", "out", **options)
        else:
            vs.sum_files(here.round, ["a.up", "b.up"], "out", **options)
    except vs.RoundError as error:
        refused = "forked" in str(error)
    finally:
        if child == 0:
            os._exit(0 if refused else 1)
    assert not refused
    if step == "encrypt":
        vs.sum_files(here.round, ["out", "a.up"], "total").verify()
        Path("total").unlink()
    else:
        vs.AggregateFile("out", here.round).verify()
    assert sorted(path.name for path in folder.iterdir()) == ["a.up", "b.up", "in.npy", "out"]


# --- memory ----------------------------------------------------------------------------------

PEAK = """
import json, sys
import veilsum as vs
step, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
from pathlib import Path
def field(name):
    text = Path("/proc/self/status").read_text()
    return int(text.split(name + ":")[1].split()[0]) * 1024
rnd = vs.Round.load(f"{folder}/round.vs")
key = vs.SumKey.load(f"{folder}/sum.key", rnd) if step == "decrypt" else None
try:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
except OSError:
    pass
base = field("VmRSS")
if step.startswith("encrypt"):
    vs.encrypt_file(rnd, f"{folder}/in.npy", f"{folder}/" + step[7:], threads=threads,
                    resume=step.endswith("b.up"))
elif step == "sum":
    paths = sys.argv[4:]
    vs.sum_files(rnd, [f"{folder}/{path}" for path in paths], f"{folder}/total.vs", threads=threads)
else:
    vs.decrypt_file(key, vs.AggregateFile(f"{folder}/total.vs", rnd), f"{folder}/mean.npy",
                    threads=threads)
print(json.dumps(field("VmHWM") - base))
"""


def peak_of(step, where, *paths, threads=4):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, step, str(where), str(threads), *paths],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def end_to_end(where, size):
    """Every step on `size` values in a process of its own; returns the peaks of extra memory."""
    here = stage(size=size, clients=10)
    here.round.save(where / "round.vs")
    pattern = np.random.default_rng(5).uniform(-1.01, 1.01, 1 << 20).astype(np.float32)
    target = np.lib.format.open_memmap(where / "in.npy", mode="w+", dtype=np.float32, shape=(size,))
    for at in range(0, size, pattern.size):
        target[at : at + pattern.size] = pattern[: size - at]
    target.flush()
    del target
    peaks = {name: peak_of(f"encrypt{name}.up", where) for name in ("a", "b")}
    (where / "in.npy").unlink()
    peaks["sum"] = peak_of("sum", where, "a.up", "b.up")
    (where / "a.up").unlink()
    (where / "b.up").unlink()
    total = vs.AggregateFile(where / "total.vs", here.round)
    beyond = int((np.abs(pattern) > 1).sum()) * (size // pattern.size)
    beyond += int((np.abs(pattern[: size % pattern.size]) > 1).sum())
    assert total.clipped == [beyond, beyond]
    vs.open_sum(here.secret, here.round, total).save(where / "sum.key")
    peaks["decrypt"] = peak_of("decrypt", where)
    mean = np.load(where / "mean.npy", mmap_mode="r")
    assert mean.shape == (size,)
    bound = 0.5 / 32767 + 2.0**-23  # half a step, and rounding to float32
    for at in [*range(0, size, max(pattern.size, size // 40) // pattern.size * pattern.size)]:
        part = np.asarray(mean[at : at + pattern.size])
        assert np.abs(part - np.clip(pattern[: part.size], -1, 1)).max() <= bound
    return peaks


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_is_bounded_at_20_million_values(tmp_path):
    peaks = end_to_end(tmp_path, 20_000_000)
    assert max(peaks.values()) <= 100 * MIB, peaks  # as files they are 64 to 80 MB each
    # What the vector's size adds is nothing but one checksum a span.
    small = tmp_path / "small"
    small.mkdir()
    assert max(end_to_end(small, 6_000_000).values()) <= 100 * MIB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_does_not_grow_with_the_number_of_clients(tmp_path):
    size, clients = 2_000_000, 64
    here = stage(size=size, clients=clients)
    here.round.save(tmp_path / "round.vs")
    np.save(tmp_path / "in.npy", np.full(size, 0.5, np.float32))
    names = [f"{index}.up" for index in range(clients)]
    for name in names:
        made = vs.encrypt_file(here.round, tmp_path / "in.npy", tmp_path / name)
    few = peak_of("sum", tmp_path, *names[:8])
    many = peak_of("sum", tmp_path, *names)
    # The manifest keeps every sealed key; of the blocks no more than a step of each thread.
    assert many - few <= 3 * clients * 1_300 + 16 * MIB
    assert many <= 64 * MIB < clients * made.nbytes


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_a_billion_values_within_64_mib(tmp_path):
    needed = 12 * 10**9
    free = shutil.disk_usage(tmp_path).free
    if free < needed + 2 * 10**9:
        pytest.skip(
            f"needs {needed / 1e9:.0f} GB on the disk of {tmp_path}, {free / 1e9:.0f} are free"
        )
    try:
        peaks = end_to_end(tmp_path, 10**9)
        print({name: f"{peak / MIB:.0f} MiB" for name, peak in peaks.items()})
        assert max(peaks.values()) <= 64 * MIB, peaks
    finally:
        for path in tmp_path.iterdir():
            path.unlink()
