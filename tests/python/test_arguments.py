"""Arguments of a wrong type: a typed error that names the mistake and never shows a value."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.arguments import check_number, check_values, check_whole, counted, type_name

SECRET_VALUE = 0.4711


@pytest.fixture(scope="module")
def parts():
    """One of each object of a small sum, by the name that a test gives."""
    plan = vs.Plan(clients=3)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=8, limit=1.0)
    uploads = [vs.encrypt(rnd, np.full(8, SECRET_VALUE, np.float32)) for _ in range(3)]
    total = vs.weighted_sum(rnd, uploads)
    return {
        "plan": plan,
        "secret": secret,
        "public": public,
        "rnd": rnd,
        "uploads": uploads,
        "total": total,
        "key": vs.open_sum(secret, rnd, total),
        "update": np.full(8, SECRET_VALUE, np.float32),
    }


def wrong(function, *arguments, **options):
    """Call what must refuse its arguments; returns the message."""
    with pytest.raises(vs.ParameterError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert "Invoked with" not in text
    assert "0.471" not in text  # no value of an update
    assert len(text) < 400
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return text


def test_swapped_arguments_are_named_with_the_call(parts):
    plan, public, rnd = parts["plan"], parts["public"], parts["rnd"]
    secret, total, key = parts["secret"], parts["total"], parts["key"]
    said = wrong(vs.encrypt, parts["update"], rnd)
    assert said == "rnd is an ndarray, but must be a Round: call encrypt(rnd, update)"
    assert "Round(plan, public" in wrong(vs.Round, public, plan, size=8)
    assert "authority is a tuple" in wrong(vs.Round, plan, vs.keygen(plan), size=8)
    assert "authority is a SecretKey" in wrong(vs.Round, plan, secret, size=8)
    assert "rnd is a list" in wrong(vs.weighted_sum, parts["uploads"], rnd)
    assert "must be a list" in wrong(vs.weighted_sum, rnd, parts["uploads"][0])
    assert "secret is a Round" in wrong(vs.open_sum, rnd, secret, total)
    assert "secret is a PublicKey" in wrong(vs.open_sum, public, rnd, total)
    assert "total is a list" in wrong(vs.open_sum, secret, rnd, parts["uploads"])
    assert "key is an Aggregate" in wrong(vs.decrypt, total, key)
    assert "total is an Upload" in wrong(vs.decrypt, key, parts["uploads"][0])
    assert "rnd is a Plan" in wrong(vs.PadStore, plan, budget_bytes=1)
    assert "rnd is a Plan" in wrong(vs.Accumulator, plan)
    assert "upload is bytes" in wrong(vs.Accumulator(rnd).add, parts["uploads"][0].to_bytes())


def test_bytes_in_an_objects_place_are_not_printed(parts):
    raw = [upload.to_bytes() for upload in parts["uploads"]]
    said = wrong(vs.weighted_sum, parts["rnd"], raw)
    assert said.startswith("upload 0 is bytes, but must be an Upload")


def test_an_aggregate_on_disk_says_which_function_decrypts_it(parts, tmp_path):
    parts["total"].save(tmp_path / "total.vs")
    total = vs.AggregateFile(tmp_path / "total.vs", parts["rnd"])
    assert "decrypt_file(key, total, path)" in wrong(vs.decrypt, parts["key"], total)
    assert "total is a str" in wrong(vs.decrypt_file, parts["key"], "total.vs", "mean.npy")


@pytest.mark.parametrize("weight", ["1", np.full(8, SECRET_VALUE), None, [1.0]], ids=type_name)
def test_a_weight_that_is_no_number(parts, weight):
    assert "weight is a" in wrong(vs.encrypt, parts["rnd"], parts["update"], weight=weight) or (
        weight is None
    )


@pytest.mark.parametrize("weight", [1, np.float32(0.5), np.int64(1), np.array(0.5)], ids=type_name)
def test_a_weight_that_is_one(parts, weight):
    vs.encrypt(parts["rnd"], parts["update"], weight=weight)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rounding": 3}, "rounding = 3 is unknown"),
        ({"on_clip": None}, "on_clip = None is unknown"),
        ({"progress": 1}, "progress is 1; it must be a function of"),
        ({"pads": "store"}, "pads is a str, but must be a PadStore"),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_options_of_encrypt_that_are_something_else(parts, options, says):
    assert says in wrong(vs.encrypt, parts["rnd"], parts["update"], **options)


def test_a_signer_that_is_a_path(parts):
    me = [vs.Identity.generate() for _ in range(2)]
    rnd = vs.Round(parts["plan"], parts["public"], size=8, roster=vs.Roster(me))
    assert "Identity.load(path)" in wrong(vs.encrypt, rnd, parts["update"], signer="me.key")


def test_the_bytes_of_a_secret_key_stay_out_of_errors(parts):
    secret = parts["secret"].to_bytes()
    for arguments in [(secret, 1), (secret, None), (secret, secret)]:
        said = wrong(vs.SecretKey.from_bytes, *arguments)
        assert secret[20:40].hex() not in said
        assert repr(secret[20:30])[2:-1] not in said
    assert wrong(vs.SecretKey.from_bytes, "VSUM").endswith("a str; its parameters are data")


@pytest.mark.parametrize("name", ["Upload", "Aggregate", "OpeningRequest", "SumKey"])
def test_objects_of_a_round_ask_for_it(parts, name, tmp_path):
    raw = parts["total"].to_bytes()
    kind = getattr(vs, name)
    assert ": bytes; its parameters are data, round" in wrong(kind.from_bytes, raw)
    assert "; its parameters are path, round" in wrong(kind.load, tmp_path / "x")
    assert ": bytes, a Plan; its parameters are" in wrong(kind.from_bytes, raw, parts["plan"])


def test_another_kind_of_object_is_named(parts, tmp_path):
    path = tmp_path / "total.vs"
    parts["total"].save(path)
    with pytest.raises(vs.WireFormatError) as caught:
        vs.Round.load(path)
    assert str(caught.value) == (
        f"{path}: this is an aggregate, but a round is needed; are two arguments swapped?"
    )
    path.write_bytes(b"rubbish" * 5)
    with pytest.raises(vs.WireFormatError, match=r"total\.vs: round: .*not a Veilsum object"):
        vs.Round.load(path)
    with pytest.raises(vs.WireFormatError, match="this is a round, but a secret key is needed"):
        vs.SecretKey.from_bytes(parts["rnd"].to_bytes())


def test_a_public_key_in_the_place_of_a_secret_one_is_no_leak(parts, tmp_path):
    path = tmp_path / "authority.pub"
    parts["public"].save(path)
    path.chmod(0o644)
    with pytest.raises(vs.WireFormatError, match="this is a public key, but a secret key"):
        vs.SecretKey.load(path)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((10.0,), {}, "clients is 10.0; it must be a whole number"),
        ((True,), {}, "clients is True"),
        ((10**30,), {}, "far outside"),
        ((10,), {"engine": None}, "engine is None"),
        ((), {"clients": "10", "engine": "openfhe"}, "clients is '10'"),
    ],
    ids=str,
)
def test_plans(arguments, options, says):
    assert says in wrong(vs.Plan, *arguments, **options)


def test_a_plan_has_an_ordinary_signature():
    names = list(inspect.signature(vs.Plan).parameters)
    assert names == [
        "clients", "value_bits", "weight_bits", "security", "optimise", "profile", "engine",
        "parties",
    ]  # fmt: skip
    assert list(inspect.signature(vs.Round).parameters)[:4] == [
        "plan",
        "authority",
        "size",
        "like",
    ]
    for arguments, options in (((), {}), ((10, 16, 0), {}), ((10,), {"bits": 16})):
        with pytest.raises(TypeError):
            vs.Plan(*arguments, **options)


def test_numbers_that_are_none(parts):
    rnd = parts["rnd"]
    assert "budget_bytes is '1G'" in wrong(vs.PadStore, rnd, budget_bytes="1G")
    assert "budget_bytes is 1.5; it must be a whole" in wrong(vs.PadStore, rnd, budget_bytes=1.5)
    add = vs.Accumulator(rnd).add
    assert "weight is 0.5; it must be a whole" in wrong(add, parts["uploads"][0], weight=0.5)


def test_a_roster_is_a_list_of_paths():
    assert "give a list with the file of each client" in wrong(vs.Roster.load, "clinic.pub")


@pytest.mark.parametrize("words", [["plan", "--clients", "3"], ["keygen", "--plan", "plan.vs"]])
def test_a_wrong_instruction_set_is_an_error_and_no_crash(words, tmp_path):
    vs.Plan(3).save(tmp_path / "plan.vs")
    done = subprocess.run(
        [sys.executable, "-m", "veilsum", *words], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "VEILSUM_ISA": "avx9"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("veilsum: error: VEILSUM_ISA: unknown instruction set level")


def test_the_source_folder_says_that_it_is_not_installed(tmp_path):
    package = tmp_path / "veilsum"
    package.mkdir()
    shutil.copy(Path(vs.__file__), package / "__init__.py")
    done = subprocess.run(
        [sys.executable, "-c", "import veilsum"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"ImportError: {package} has no compiled core" in done.stderr
    assert "pip install ." in done.stderr


@pytest.mark.parametrize(
    "values", [b"12", "12", [[1], [1, 2]], [None, "x"], object()], ids=type_name
)
def test_values_that_are_no_numbers(values):
    said = wrong(check_values, "values", values)
    assert said == f"values is {type_name(values)}; it must be an array of numbers"


def test_numbers():
    assert check_whole("n", np.int64(3)) == 3
    assert check_number("x", 3) == 3.0
    assert type_name(None) == "None"
    assert type_name(np.zeros(1)) == "an ndarray"


def test_flags_and_callbacks_are_named(parts, tmp_path):
    key, total, rnd = parts["key"], parts["total"], parts["rnd"]
    total.save(tmp_path / "total.vs")
    stored = vs.AggregateFile(tmp_path / "total.vs", rnd)
    np.save(tmp_path / "u.npy", parts["update"])
    files = (tmp_path / "u.npy", tmp_path / "a.up")
    flag = "; it must be True or False"
    assert wrong(vs.decrypt, key, total, average="yes") == "average is 'yes'" + flag
    assert wrong(vs.decrypt_file, key, stored, "m.npy", average=2) == "average is 2" + flag
    assert wrong(vs.decrypt_file, key, stored, "m.npy", resume="no") == "resume is 'no'" + flag
    assert wrong(vs.encrypt_file, rnd, *files, resume=None) == "resume is None" + flag
    assert wrong(vs.sum_files, rnd, ["a"], "t", resume="x") == "resume is 'x'" + flag
    assert wrong(vs.open_sum, parts["secret"], rnd, total, export="n") == "export is 'n'" + flag
    for call in (
        lambda **more: vs.encrypt(rnd, parts["update"], **more),
        lambda **more: vs.encrypt_file(rnd, *files, **more),
        lambda **more: vs.sum_files(rnd, ["a"], "t", **more),
        lambda **more: vs.decrypt(key, total, **more),
        lambda **more: vs.decrypt_file(key, stored, "m.npy", **more),
    ):
        assert wrong(call, progress="yes").startswith("progress is 'yes'; it must be a function")
    mean = np.mean([parts["update"]], axis=0)
    for one in (True, 1, np.True_):
        np.testing.assert_allclose(vs.decrypt(key, total, average=one), mean, atol=1e-4)


def test_paths_that_are_none(parts, tmp_path):
    rnd, update, key = parts["rnd"], parts["update"], parts["key"]
    parts["total"].save(tmp_path / "total.vs")
    stored = vs.AggregateFile(tmp_path / "total.vs", rnd)
    assert wrong(vs.encrypt_file, rnd, update, "a.up") == (
        "source is an ndarray, but must be the path of a file: call encrypt_file(rnd, source, "
        "target); encrypt(rnd, update) takes what is in memory"
    )
    assert "target is an ndarray" in wrong(vs.encrypt_file, rnd, "u.npy", update)
    for one in ("one/path", tmp_path, b"one", 7):
        said = wrong(vs.sum_files, rnd, one, "total.vs")
        assert "but must be a list of paths: call sum_files(rnd, [path, path, ...], target)" in said
    assert "upload 0 is an Upload" in wrong(vs.sum_files, rnd, parts["uploads"], "total.vs")
    assert "target is None" in wrong(vs.sum_files, rnd, ["a.up"], None)
    assert "target is an int" in wrong(vs.decrypt_file, key, stored, 3)


@pytest.mark.parametrize("threads", [0, -1, 4097, 10_000, 1.5, True, "2"])
def test_threads_out_of_range(parts, threads):
    said = wrong(vs.encrypt, parts["rnd"], parts["update"], threads=threads)
    assert said.startswith("threads is ")
    assert said.endswith("; it must be a whole number of at least 1, and at most 4096")


def test_as_many_threads_as_the_core_takes(parts):
    vs.encrypt(parts["rnd"], parts["update"], threads=4096)
    vs.Accumulator(parts["rnd"]).add(parts["uploads"][0], threads=4096)
    assert "4096" in wrong(vs.Accumulator(parts["rnd"]).add, parts["uploads"][0], threads=4097)


def test_counted():
    assert [counted(n, "value") for n in (0, 1, 2)] == ["0 values", "1 value", "2 values"]
    plan, public = vs.Plan(3), vs.keygen(vs.Plan(3))[1]
    one, two = (vs.Round(plan, public, size=size) for size in (1, 2))
    assert "has 1 value (shape [1]), " in wrong(vs.encrypt, two, np.zeros(1, np.float32))
    assert "pass 1 value or make" in wrong(vs.encrypt, one, np.zeros(2, np.float32))
    me = vs.Identity.generate()
    assert "names 1 client, fewer" in wrong(vs.Round, plan, public, size=1, roster=[me])


def test_a_round_does_not_change(parts):
    rnd = parts["rnd"]
    for name in ("limit", "size", "plan", "min_clients", "anything"):
        with pytest.raises(AttributeError, match=f"a round does not change, so {name} cannot"):
            setattr(rnd, name, 7)
    assert rnd.size == 8


def test_a_pad_budget_says_what_helps(parts):
    rnd = parts["rnd"]
    said = wrong(vs.PadStore, rnd, budget_bytes=1)
    assert f"a whole upload takes {rnd.pad_bytes} (the round's pad_bytes): give that" in said


@pytest.mark.parametrize(("version", "which"), [(1, "the older"), (3, "the newer")])
def test_another_wire_version_says_what_helps(parts, version, which):
    raw = bytearray(parts["rnd"].to_bytes())
    raw[4:6] = version.to_bytes(2, "little")
    with pytest.raises(vs.WireFormatError, match=f"make it anew .* or read it with {which} one"):
        vs.Round.from_bytes(bytes(raw))


def test_texts_of_objects_have_one_style(parts, tmp_path):
    """`<veilsum.Name ...: facts>`, but for what can be typed again as it stands."""
    parts["total"].save(tmp_path / "total.vs")
    np.save(tmp_path / "u.npy", parts["update"])
    rnd = parts["rnd"]
    name = rnd.id.hex()[:16]
    accumulator = vs.Accumulator(rnd)
    accumulator.add(parts["uploads"][0])
    upload = vs.encrypt_file(rnd, tmp_path / "u.npy", tmp_path / "a.up")
    of_round = f"of round {name}: "
    for thing, text in (
        (parts["secret"], f"<veilsum.SecretKey {parts['public'].id.hex()}>"),
        (parts["public"], f"<veilsum.PublicKey {parts['public'].id.hex()}>"),
        (rnd, f"<veilsum.Round {name}: 8 values>"),
        (parts["uploads"][0], f"<veilsum.Upload {of_round}{upload.nbytes} bytes, unsigned>"),
        (
            upload,
            f"<veilsum.UploadFile {of_round}{upload.nbytes} bytes, unsigned, in {upload.path}>",
        ),
        (accumulator, f"<veilsum.Accumulator {of_round}1 upload>"),
        (parts["total"], f"<veilsum.Aggregate {of_round}3 uploads, total weight 3>"),
        (
            vs.AggregateFile(tmp_path / "total.vs", rnd),
            f"<veilsum.AggregateFile {of_round}3 uploads, total weight 3, in {tmp_path}/total.vs>",
        ),
        (parts["total"].opening_request(), f"<veilsum.OpeningRequest {of_round}3 uploads>"),
        (parts["key"], f"<veilsum.SumKey {of_round}3 uploads>"),
    ):
        assert repr(thing) == text
