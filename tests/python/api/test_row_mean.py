"""The mean weighted by rows: exact weights, limits that hold, nobody's rows in the clear."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum.api.decrypting import decrypt_sum
from veilsum.api.encrypting import encrypt_update
from veilsum.api.row_mean import is_row_mean
from veilsum.cli import main
from veilsum.layout.structures import flatten

PLANS = {bits: vs.Plan(4, bits) for bits in (3, 4, 8, 16, 32)}
KEYS = {bits: vs.keygen(plan) for bits, plan in PLANS.items()}


def job_for(bits=16, **options):
    return vs.RowMean.new(PLANS[bits], KEYS[bits][1], **options)


def opened(job, uploads, bits=16, **options):
    total = vs.weighted_sum(job.round, uploads)
    return job.decrypt(vs.open_sum(KEYS[bits][0], job.round, total), total, **options)


def raw_sum(key, total):
    """What the sum holds, rows and all."""
    plain = dict.fromkeys(("threads", "progress"))
    return decrypt_sum(key, total, average=False, dtype="float64", output="numpy", **plain)


def raw_upload(rnd, parts):
    """An upload by somebody who leaves the class out."""
    plain = dict.fromkeys(("signer", "group", "threads", "progress", "pads"))
    return encrypt_update(rnd, parts, weight=1.0, rounding="nearest", on_clip="count", **plain)


def uniform(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([3, 4, 8, 16, 32]),
    st.integers(1, 10**9),
    st.lists(st.integers(1, 10**9), min_size=2, max_size=4),
)
def test_the_mean_is_weighted_by_rows(bits, most, rows):
    """The number of rows in the sum is exact, at any resolution of the values.

    Each weighted value is off by half a step at most, so the mean by as many times clients / 2 *
    step * most_rows / rows in all.
    """
    rows = [1 + number % most for number in rows]
    job = job_for(bits, size=20, limit=1.0, most_rows=most)
    updates = [uniform(20, seed) for seed in range(len(rows))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vs.VeilsumWarning)  # few rows of many round to 0
        uploads = [job.encrypt(update, n) for update, n in zip(updates, rows, strict=True)]
    assert all(upload.clipped == 0 for upload in uploads)
    total = vs.weighted_sum(job.round, uploads)
    key = vs.open_sum(KEYS[bits][0], job.round, total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vs.VeilsumWarning)
        mean = job.decrypt(key, total, dtype="float64")
        digits = raw_sum(key, total)["rows"]
    levels = 2 ** (bits - 1) - 1
    assert sum(int(digit) * levels**power for power, digit in enumerate(digits)) == sum(rows)
    assert (digits == np.rint(digits)).all()
    exact = np.average(np.array(updates, np.float64), axis=0, weights=rows)
    bound = len(rows) / levels / 2 * most / sum(rows)
    assert np.abs(mean - exact).max() <= bound + 1e-9


@pytest.mark.parametrize(
    ("there", "exact"),
    [((0, 1, 2), -50 / 450), ((0, 1), -100 / 400), ((0, 2), 100 / 150), ((1, 2), -100 / 350)],
)
def test_clients_that_drop_out_are_no_trouble(there, exact):
    job = job_for(size=3, most_rows=1000)
    rows, values = (100, 300, 50), (0.5, -0.5, 1.0)
    uploads = [job.encrypt(np.full(3, values[i], np.float32), rows[i]) for i in there]
    slack = 3 * 0.5 / 32767 * 1000 / 150
    np.testing.assert_allclose(opened(job, uploads), exact, rtol=0, atol=slack)


NESTED = {
    "params": {"kernel": uniform((3, 2), 1), "bias": uniform(2, 2, "float64")},
    "list": [uniform(2, 3, "float16"), np.float32(0.5)],
}
NAMED = {"w": uniform((3, 2), 1), "empty": np.zeros((0, 2), np.float32), "b": uniform(2, 2)}


@pytest.mark.parametrize(
    "update", [NESTED, NAMED, uniform((4, 3), 1)], ids=["tree", "dict", "array"]
)
def test_updates_of_every_structure(update):
    job = job_for(like=update, limit=1.0, most_rows=10)
    again = vs.RowMean(vs.Round.from_bytes(job.round.to_bytes()))
    assert again.layout == job.layout == vs.Layout.like(update)
    assert again.most_rows == 10
    mean = opened(again, [again.encrypt(update, 3), again.encrypt(update, 7)])
    if not isinstance(update, dict):
        mean, update = {"x": mean}, {"x": update}
    for (path, exact), (other, value) in zip(flatten(update), flatten(mean), strict=True):
        assert path == other
        assert (value.dtype, value.shape) == (exact.dtype, exact.shape)
        np.testing.assert_allclose(value, exact, rtol=0, atol=1 / 32767 + 2e-3)


def test_torch_state_dicts():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    state = {"w": torch.ones(2, 3), "h": torch.full((2,), 0.5, dtype=torch.bfloat16)}
    job = job_for(like=state, most_rows=10)
    mean = opened(job, [job.encrypt(state, 3), job.encrypt(state, 7)])
    assert {name: (part.dtype, part.shape) for name, part in mean.items()} == {
        name: (part.dtype, part.shape) for name, part in state.items()
    }
    torch.testing.assert_close(mean, state, rtol=0, atol=5e-3)


def test_a_limit_that_holds_the_updates_holds_the_weighted_ones():
    update = {"a": np.full(100, 3.0, np.float32), "b": np.full(100, -0.125, np.float32)}
    job = job_for(like=update, limit={"a": 3.0, "b": 0.125}, most_rows=50_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uploads = [job.encrypt(update, n, on_clip="error") for n in (1000, 50_000, 20_000)]
        mean = opened(job, uploads)
    np.testing.assert_allclose(mean["a"], 3.0, atol=3 * 3 / 32767)
    np.testing.assert_allclose(mean["b"], -0.125, atol=3 * 0.125 / 32767)


@pytest.mark.parametrize("rows", [0, -1, 101, 1.5, "7", None, True])
def test_rows_out_of_range(rows):
    job = job_for(size=2, most_rows=100)
    with pytest.raises(vs.ParameterError, match="rows is"):
        job.encrypt(np.zeros(2, np.float32), rows)
    job.encrypt(np.zeros(2, np.float32), 1)
    job.encrypt(np.zeros(2, np.float32), 100)


@pytest.mark.parametrize("most", [0, -1, 2**53, 1.5, None])
def test_most_rows_out_of_range(most):
    with pytest.raises(vs.ParameterError, match="most_rows"):
        job_for(size=2, most_rows=most)
    for good in (1, 2**53 - 1):
        assert job_for(size=2, most_rows=good).most_rows == good


def test_two_bits_have_no_room_for_rows():
    plan = vs.Plan(2, 2)
    with pytest.raises(vs.ParameterError, match="value_bits = 2"):
        vs.RowMean.new(plan, vs.keygen(plan)[1], size=2, most_rows=5)


def test_other_rounds_are_refused():
    rnd = vs.Round(PLANS[16], KEYS[16][1], size=5)
    with pytest.raises(
        vs.ParameterError, match=r"does not weigh by rows; make one with RowMean\.new"
    ):
        vs.RowMean(rnd)
    with pytest.raises(vs.ParameterError, match="rnd is an int, but must be a Round"):
        vs.RowMean(7)
    look = {"update": np.zeros(2, np.float32), "rows": np.zeros(1)}
    assert not is_row_mean(vs.Layout.like(look))


def test_calls_that_weigh_nothing_are_refused(tmp_path):
    """The mean of what they made, or gave out, would be wrong by itself."""
    job = job_for(like=NAMED, most_rows=10)
    total = vs.weighted_sum(job.round, [job.encrypt(NAMED, n) for n in (3, 7)])
    key = vs.open_sum(KEYS[16][0], job.round, total)
    total.save(tmp_path / "total.vs")
    stored = vs.AggregateFile(tmp_path / "total.vs", job.round)
    np.save(tmp_path / "update.npy", uniform(3, 1))
    encrypting = r"call RowMean\(rnd\)\.encrypt\(update, rows=\.\.\.\)"
    decrypting = r"call RowMean\(rnd\)\.decrypt\(key, total\)"
    for call, remedy in (
        (lambda: vs.encrypt(job.round, NAMED), encrypting),
        (lambda: vs.encrypt(job.round, {"update": NAMED, "rows": np.zeros(1)}), encrypting),
        (
            lambda: vs.encrypt_file(job.round, tmp_path / "update.npy", tmp_path / "a.up"),
            encrypting,
        ),
        (lambda: vs.decrypt(key, total), decrypting),
        (lambda: vs.decrypt(key, stored), decrypting),
        (lambda: vs.decrypt_file(key, stored, tmp_path / "mean.safetensors"), decrypting),
    ):
        with pytest.raises(vs.ParameterError, match=f"weighs by rows.*{remedy}"):
            call()
    assert {path.name for path in tmp_path.iterdir()} == {"total.vs", "update.npy"}
    np.testing.assert_allclose(job.decrypt(key, total)["b"], NAMED["b"], atol=1e-3)


def test_warnings_name_the_callers_line():
    job = job_for(size=300, limit=0.5, most_rows=10)
    with pytest.warns(vs.VeilsumWarning, match="beyond the round's limit") as found:
        uploads = [job.encrypt(np.ones(300, np.float32), 10) for _ in range(2)]
    with pytest.warns(vs.VeilsumWarning, match="were clipped") as after:
        opened(job, uploads)
    assert {one.filename for one in [*found, *after]} == {__file__}


def test_a_roster_and_a_signer():
    people = [vs.Identity.generate() for _ in range(2)]
    job = job_for(size=2, most_rows=10, roster=vs.Roster(people))
    with pytest.raises(vs.RoundError, match="must be signed"):
        job.encrypt(np.ones(2, np.float32), 5)
    uploads = [job.encrypt(np.ones(2, np.float32), 5, signer=one) for one in people]
    np.testing.assert_allclose(opened(job, uploads), 1, atol=1e-4)


def test_sums_without_rows_are_refused():
    """Whoever makes an upload up can leave the rows out; then there is no mean."""
    job = job_for(size=2, most_rows=10)
    empty = {"update": np.zeros(2, np.float32), "rows": np.zeros(1)}
    uploads = [raw_upload(job.round, empty) for _ in range(2)]
    with (
        pytest.warns(vs.VeilsumWarning, match="are 0"),
        pytest.raises(vs.RoundError, match="hold no rows"),
    ):
        opened(job, uploads)


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        np.save(f"{index}.npy", uniform((4, 3), index))
    for words in (
        "plan --clients 3 --out plan.vs",
        "keygen --plan plan.vs --out authority",
        "round --plan plan.vs --public authority.pub --like 0.npy --most-rows 5000 --out round.vs",
    ):
        assert main(words.split()) == 0


def test_the_command_line_weighs_by_rows(study, capsys):
    rows = [1200, 5000, 300]
    for index, number in enumerate(rows):
        words = f"encrypt round.vs {index}.npy --rows {number} --out {index}.up"
        assert main(words.split()) == 0
    assert main(["sum", "round.vs", "0.up", "1.up", "2.up", "--out", "total.vs"]) == 0
    assert main(["open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key"]) == 0
    assert main(["decrypt", "sum.key", "round.vs", "total.vs", "--out", "mean.npy"]) == 0
    assert "mean by rows of 3 uploads, 12 values" in capsys.readouterr().out
    exact = np.average([np.load(f"{index}.npy") for index in range(3)], axis=0, weights=rows)
    slack = 3 * 0.5 / 32767 * 5000 / sum(rows) + 1e-6
    np.testing.assert_allclose(np.load("mean.npy"), exact, rtol=0, atol=slack)
    for option in ("--sum", "--resume"):
        words = f"decrypt sum.key round.vs total.vs --out other.npy {option}"
        assert main(words.split()) == 3
        assert "weighs by rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "say how many the update has with --rows N"),
        ("--rows 0", "from 1 to the round's most_rows, 5000"),
        ("--rows 5001", "from 1 to the round's most_rows, 5000"),
        ("--rows 10 --weight 2", "leave --weight out"),
        ("--rows 10 --resume", "leave out --resume"),
    ],
)
def test_options_that_do_not_fit(study, capsys, options, words):
    assert main(f"encrypt round.vs 0.npy --out a.up {options}".split()) == 3
    assert words in capsys.readouterr().err


def test_rows_for_another_round(study, capsys):
    words = "round --plan plan.vs --public authority.pub --like 0.npy --out plain.vs"
    assert main(words.split()) == 0
    assert main(["encrypt", "plain.vs", "0.npy", "--rows", "10", "--out", "a.up"]) == 3
    assert "make the round with --most-rows N" in capsys.readouterr().err
