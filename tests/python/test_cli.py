"""The command line: the steps on files, exit codes, one-line errors, and what it never does."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import veilsum as vs
from veilsum.cli import main
from veilsum.cli.dispatch import _COMMANDS, EXIT_CODES
from veilsum.cli.progress import Progress
from veilsum.layout.files import read_update, write_update
from veilsum.layout.tensors import BFLOAT16

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; gives code, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VEILSUM_TRACEBACK", raising=False)

    def command(*words, expect=0):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert code == expect, captured.err
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return command


def fail(run, code, *words):
    """Run a command that must fail; returns its one line."""
    done = run(*words, expect=code)
    assert done.err.startswith("veilsum: error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert done.out == ""
    return done.err.removeprefix("veilsum: error: ").strip()


@pytest.fixture
def study(run):
    """A plan, keys, a round like a .npy file, and three updates."""
    updates = [
        np.random.default_rng(seed).uniform(-1, 1, (20, 5)).astype(np.float32) for seed in range(3)
    ]
    for index, update in enumerate(updates):
        np.save(f"update{index}.npy", update)
    run("plan", "--clients", 3, "--out", "plan.vs")
    run("keygen", "--plan", "plan.vs", "--out", "authority")
    run(
        "round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "update0.npy",
        "--limit", "1.0", "--out", "round.vs",
    )  # fmt: skip
    return updates


@pytest.fixture
def summed(run, study):
    for index in range(3):
        run("encrypt", "round.vs", f"update{index}.npy", "--out", f"{index}.up")
    run("sum", "round.vs", "0.up", "1.up", "2.up", "--out", "total.vs")
    return study


# --- the steps -----------------------------------------------------------------------------------


def test_the_steps_on_npy_files(run, summed):
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    done = run("decrypt", "sum.key", "round.vs", "total.vs", "--out", "mean.npy")
    assert "mean of 3 uploads" in done.out
    mean = np.load("mean.npy")
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.mean(summed, axis=0), rtol=0, atol=0.5 / 32767 + 1e-6)
    run("decrypt", "sum.key", "round.vs", "total.vs", "--out", "sum.npy", "--sum",
        "--dtype", "float64", "--threads", 1)  # fmt: skip
    whole = np.load("sum.npy")
    assert whole.dtype == np.float64
    np.testing.assert_allclose(whole, np.sum(summed, axis=0), rtol=0, atol=1.5 / 32767 + 1e-6)
    leftovers = list(Path().glob("*.tmp")) + list(Path().glob(".*.tmp"))
    assert leftovers == []


def test_the_steps_on_safetensors_files(run):
    states = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        states.append(
            {
                "layer=1.weight": rng.uniform(-1, 1, (4, 3)).astype(np.float32),
                "scale": np.array(rng.uniform(-1, 1)),
                "half": rng.uniform(-1, 1, 5).astype(np.float16),
                "brain": np.array([0x3F80, 0xBF00, 0], np.uint16).view(BFLOAT16),
                "empty": np.zeros((0, 2), np.float32),
            }
        )
        write_update(f"{seed}.safetensors", states[seed])
    run("keygen", "--clients", 2)
    run("plan", "--clients", 2, "--out", "plan.vs")
    run(
        "round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "0.safetensors",
        "--limit", "1.5", "--limit", "layer=1.weight=1.0", "--out", "round.vs",
    )  # fmt: skip
    limits = dict(vs.Round.load("round.vs").segments)
    assert limits[12] == 1.0
    assert limits[5] == 1.5
    for seed in range(2):
        run("encrypt", "round.vs", f"{seed}.safetensors", "--out", f"{seed}.up",
            "--rounding", "stochastic")  # fmt: skip
    run("sum", "round.vs", "0.up", "1.up", "--out", "total.vs")
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    run("decrypt", "sum.key", "round.vs", "total.vs", "--out", "mean.safetensors")
    mean = read_update("mean.safetensors")
    assert mean.keys() == states[0].keys()
    step = 1.5 / 32767
    for name, first in states[0].items():
        assert mean[name].dtype == first.dtype
        assert mean[name].shape == first.shape
        if first.dtype == BFLOAT16:
            np.testing.assert_array_equal(mean[name].view(np.uint16), first.view(np.uint16))
        else:
            exact = np.mean([state[name].astype(np.float64) for state in states], axis=0)
            slack = step + np.finfo(first.dtype).eps
            np.testing.assert_allclose(mean[name].astype(np.float64), exact, rtol=0, atol=slack)


def test_a_signed_round(run, study):
    for name in ("a", "b", "c"):
        shown = run("identity", "new", name).out
        told = run("identity", "show", f"{name}.pub").out
        assert told.splitlines()[0] in shown
        assert "signs with Ed25519\n" in told
        assert run("identity", "show", f"{name}.key").out == told
    run(
        "round", "--plan", "plan.vs", "--public", "authority.pub", "--size", 100, "--roster",
        "a.pub", "b.pub", "--out", "signed.vs",
    )  # fmt: skip
    line = fail(run, 6, "encrypt", "signed.vs", "update0.npy", "--out", "0.up")
    assert "roster of 2 clients" in line
    line = fail(
        run, 5, "encrypt", "signed.vs", "update0.npy", "--out", "0.up", "--identity", "c.key"
    )
    assert "not one of the 2" in line
    assert not Path("0.up").exists()
    for index, name in enumerate("ab"):
        facts = json.loads(
            run("encrypt", "signed.vs", f"update{index}.npy", "--out", f"{name}.up",
                "--identity", f"{name}.key", "--json").out
        )  # fmt: skip
        assert facts["client"] == index
        assert facts["signed"] is True
    run("sum", "signed.vs", "b.up", "a.up", "--out", "total.vs")
    run("open", "--key", "authority.key", "signed.vs", "total.vs", "--out", "sum.key")


def test_a_mixed_roster(run, study):
    run("identity", "new", "a")
    made = json.loads(run("identity", "new", "b", "--post-quantum", "--json").out)
    assert made["post_quantum"] is True
    assert "signs with Ed25519 and ML-DSA-65" in run("identity", "show", "b.pub").out
    facts = json.loads(
        run("round", "--plan", "plan.vs", "--public", "authority.pub", "--size", 100, "--roster",
            "a.pub", "b.pub", "--out", "signed.vs", "--json").out
    )  # fmt: skip
    assert facts["roster"][1] == made["id"]
    for index, name in enumerate("ab"):
        run("encrypt", "signed.vs", f"update{index}.npy", "--out", f"{name}.up",
            "--identity", f"{name}.key")  # fmt: skip
    assert Path("b.up").stat().st_size == Path("a.up").stat().st_size + 3309
    run("sum", "signed.vs", "b.up", "a.up", "--out", "total.vs")
    run("open", "--key", "authority.key", "signed.vs", "total.vs", "--out", "sum.key")
    # A secret where the public half is due, one identity twice, and an option without its action.
    words = ["round", "--plan", "plan.vs", "--public", "authority.pub", "--size", 100, "--roster"]
    assert "b.key: this is a secret identity" in fail(
        run, 4, *words, "a.pub", "b.key", "--out", "x.vs"
    )
    assert "clients 0 and 1 of the roster have the same Ed25519 key" in fail(
        run, 3, *words, "a.pub", "a.pub", "--out", "x.vs"
    )
    assert "identity new NAME" in fail(run, 3, "identity", "show", "b.pub", "--post-quantum")
    assert not Path("x.vs").exists()


def test_weights_of_the_aggregator(run):
    np.save("ones.npy", np.ones(10, np.float32))
    np.save("zeros.npy", np.zeros(10, np.float32))
    run("plan", "--clients", 2, "--weight-bits", 4, "--out", "plan.vs")
    run("keygen", "--plan", "plan.vs")
    run("round", "--plan", "plan.vs", "--public", "authority.pub", "--size", 10, "--out", "r.vs")
    for name in ("ones", "zeros"):
        run("encrypt", "r.vs", f"{name}.npy", "--out", f"{name}.up")
    done = run("sum", "r.vs", "ones.up", "zeros.up", "--out", "t.vs", "--weights", "3,1")
    assert "do not hold the uploads" in done.err
    line = fail(run, 6, "open", "--key", "authority.key", "r.vs", "t.vs", "--out", "sum.key")
    assert not Path("sum.key").exists()
    assert "weight" in line
    run("open", "--key", "authority.key", "r.vs", "t.vs", "--out", "sum.key", "--export")
    run("decrypt", "sum.key", "r.vs", "t.vs", "--out", "mean.npy")
    np.testing.assert_allclose(np.load("mean.npy"), 0.75, atol=1e-4)
    assert "3 numbers for 2 uploads" in fail(
        run, 3, "sum", "r.vs", "ones.up", "zeros.up", "--out", "x.vs", "--weights", "1,2,3"
    )
    assert "'x' is not a number" in fail(
        run, 3, "sum", "r.vs", "ones.up", "zeros.up", "--out", "x.vs", "--weights", "1,x"
    )


def test_clipping_is_noted_or_refused(run, study):
    np.save("loud.npy", np.full((20, 5), 2, np.float32))
    done = run("encrypt", "round.vs", "loud.npy", "--out", "loud.up")
    assert "100 of 100 values" in done.err
    assert "100 clipped" in done.out
    line = fail(run, 3, "encrypt", "round.vs", "loud.npy", "--out", "no.up", "--refuse-clipping")
    assert "100 of 100" in line
    assert not Path("no.up").exists()


# --- help and facts ------------------------------------------------------------------------------


def test_help_reads_like_a_tool(run):
    text = run("--help").out
    assert text == run("help").out == run("-h").out
    assert text.splitlines()[0] == "usage: veilsum COMMAND [options]"
    for name, command in _COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.help)}$", text, re.M)
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^  {code} +{re.escape(meaning)}$", text, re.M)
    assert "Example" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert main([]) == 2


def test_the_example_of_the_help_runs(run):
    """Every line of the example, as printed, with only the files it presupposes."""
    for name in ("update", "update-a", "update-b", "update-c"):
        np.save(f"{name}.npy", np.zeros(10, np.float32))
    text = run("--help").out
    example = text.split("Example")[1].split("Exit codes")[0]
    lines = [line.split("#")[0].split() for line in example.splitlines() if "veilsum " in line]
    assert len(lines) == 7
    for line in lines:
        if line[1] == "sum":
            for name in ("b", "c"):
                run("encrypt", "round.vs", f"update-{name}.npy", "--out", f"{name}.up")
        run(*line[1:])
    assert Path("mean.npy").exists()


@pytest.mark.parametrize("name", [name for name in _COMMANDS if name != "train"])
def test_each_command_explains_itself(run, name):
    text = run(name, "--help").out
    assert text == run("help", name).out
    assert text.startswith(f"usage: veilsum {name}")
    for option in ("--quiet", "--threads", "--traceback"):
        assert option in text


def test_exit_codes_are_documented(run):
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
    for name in _COMMANDS:
        assert f"`veilsum {name}" in page


def test_version(run):
    assert run("--version").out == f"veilsum {vs.__version__}\n"


def test_plan_explains_and_gives_facts(run):
    text = run("plan", "--clients", 10, "--bits", 16, "--size", 1_000_000).out
    plan = vs.Plan(10, 16)
    assert plan.explain().rstrip() in text
    assert "An upload of 1,000,000 values" in text
    facts = json.loads(
        run("plan", "--clients", 10, "--bits", 16, "--size", 1_000_000, "--json").out
    )
    assert facts["ring_degree"] == plan.ring_degree
    assert facts["upload_bytes"] == plan.upload_bytes(1_000_000)
    assert int(facts["delta"]) == plan.delta
    assert facts["failure_probability"] == 0
    assert facts["id"] == plan.id.hex()


def test_doctor_tells_and_never_fails(run):
    text = run("doctor").out
    for word in ("veilsum", "python", "isa", "aes", "threads", "native", "openfhe", "gpu"):
        assert word in text
    facts = json.loads(run("doctor", "--json").out)
    assert facts["isa_level"] in facts["isa_levels"]
    assert facts["isa_levels"][0] == "scalar"
    assert facts["threads"] == vs.max_threads()
    assert facts["engines"]["native"] == "built in"
    assert "OpenFHE" in facts["engines"]["openfhe"]


def test_doctor_lists_what_train_needs(run, monkeypatch):
    from veilsum.cli.commands import doctor

    wanted = [text for text in requires("veilsum") if re.search(r"extra == .(cli|train)\b", text)]
    names = {re.match(r"[\w-]+", text).group() for text in wanted} - {"veilsum"}
    assert {*doctor._TRAIN, "tomli"} == names
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "rich" else "1.0")
    out = run("doctor").out
    assert "lacks rich; install it with: pip install '.[train]' in Veilsum's repository" in out
    assert json.loads(run("doctor", "--json").out)["train_lacks"] == ["rich"]
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0")
    assert "has all that it needs" in run("doctor").out


@pytest.mark.parametrize("level", ["avx9", "AVX2"])
def test_doctor_works_under_a_wrong_instruction_set(tmp_path, level):
    words = [sys.executable, "-m", "veilsum", "doctor"]
    environment = {**os.environ, "VEILSUM_ISA": level}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "VEILSUM_ISA: unknown instruction set level" in done.stdout
    assert "unset it, or no other command will work" in done.stdout
    words.append("--json")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    facts = json.loads(done.stdout)
    assert facts["isa_level"] is None
    assert "the levels are scalar, avx2 or avx512" in facts["isa_error"]


@pytest.mark.parametrize(
    ("module", "words"),
    [(None, "torch is not installed"), (object(), "torch fails to load")],
)
def test_doctor_without_a_working_torch(run, monkeypatch, module, words):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: module if name == "torch" else find(name, *a)
    )
    monkeypatch.setitem(sys.modules, "torch", None)
    assert words in run("doctor").out


# --- exit codes and messages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["encript"], "there is no command 'encript'; did you mean 'encrypt'?"),
        (["frobnicate"], "there is no command 'frobnicate'"),
        (["--threads", "2", "doctor"], "--threads must come after a command"),
        (["encrypt"], "the following arguments are required"),
        (["plan", "--clients", "ten"], "invalid int value: 'ten'"),
        (["plan", "--clients", "2", "--security", "100"], "invalid choice: 100"),
        (["round", "--plan", "p", "--public", "k", "--out", "r"], "one of the arguments --size"),
        (["identity", "destroy", "x"], "invalid choice: 'destroy'"),
    ],
)
def test_wrong_usage_is_2(run, words, says):
    line = fail(run, 2, *words)
    assert says in line
    assert "--help" in line


def test_mistake_too_many_clients_names_a_plan_that_fits(run):
    """The first of three mistakes: headroom."""
    request = ["plan", "--clients", 1_000_000, "--bits", 32]
    line = fail(run, 3, *request, "--weight-bits", 1)
    assert "the sum of 1000000 clients at 32 bits with 1-bit weights" in line  # thing and value
    assert "total weight 2000000 is above 1048576" in line  # the rule
    assert line.rstrip().endswith("nearest plan that fits: 1000000 clients at 32 bits")
    line = fail(run, 3, *request, "--profile", "n2048")
    assert "profile n2048 does not hold the sum of 1000000 clients at 32 bits" in line
    assert "need more bits than the ring has" in line
    assert 'leave profile at "auto"' in line
    run(*request)  # both remedies


def test_mistake_the_wrong_file(run, study):
    """The second: a key where a round belongs, an .npz, text, nothing."""
    line = fail(run, 4, "encrypt", "authority.pub", "update0.npy", "--out", "x.up")
    assert "round" in line
    assert "public key" in line
    Path("notes.npy").write_text("hello")
    assert "notes.npy is not a .npy file" in fail(
        run, 4, "encrypt", "round.vs", "notes.npy", "--out", "x.up"
    )
    np.savez("many.npz", a=np.zeros(3))
    line = fail(run, 3, "encrypt", "round.vs", "many.npz", "--out", "x.up")
    assert "many.npz ends in '.npz'" in line
    assert ".npy and .safetensors" in line
    line = fail(run, 4, "encrypt", "round.vs", "absent.npy", "--out", "x.up")
    assert "absent.npy" in line
    assert "No such file" in line
    assert "nowhere.vs" in fail(run, 4, "encrypt", "nowhere.vs", "update0.npy", "--out", "x.up")
    assert not Path("x.up").exists()


def test_mistake_opening_a_sum_of_one(run, study):
    """The third: a sum of one upload is that upload."""
    run("encrypt", "round.vs", "update0.npy", "--out", "0.up")
    line = fail(run, 6, "sum", "round.vs", "0.up", "--out", "total.vs")
    assert "1" in line
    assert "--min-clients" in line or "at least 2" in line


def test_parameters_are_3(run, study):
    assert "clients" in fail(run, 3, "plan", "--clients", 1)
    assert "clients is -4" in fail(run, 3, "plan", "--clients", -4)
    assert "--size is 0" in fail(run, 3, "plan", "--clients", 2, "--size", 0)
    assert "--threads is 0" in fail(
        run, 3, "encrypt", "round.vs", "update0.npy", "--out", "x.up", "--threads", 0
    )
    base = ["round", "--plan", "plan.vs", "--public", "authority.pub", "--out", "r.vs"]
    assert "limit is -1.0" in fail(run, 3, *base, "--size", 5, "--limit=-1")
    assert "'x' is not a number" in fail(run, 3, *base, "--size", 5, "--limit", "x")
    assert "given twice" in fail(run, 3, *base, "--size", 5, "--limit", "1", "--limit", "2")
    assert "needs --like" in fail(run, 3, *base, "--size", 5, "--limit", "w=2")
    assert "size is 0" in fail(run, 3, *base, "--size", 0)
    assert "--min-clients = 9" in fail(run, 3, *base, "--size", 5, "--min-clients", 9)
    np.save("counts.npy", np.zeros(5, np.int32))
    assert "int32" in fail(run, 3, *base, "--like", "counts.npy")
    np.save("nan.npy", np.full((20, 5), np.nan, np.float32))
    line = fail(run, 3, "encrypt", "round.vs", "nan.npy", "--out", "x.up")
    assert "[0, 0] is not finite" in line
    np.save("small.npy", np.zeros(3, np.float32))
    assert "expects [20, 5]" in fail(run, 3, "encrypt", "round.vs", "small.npy", "--out", "x.up")
    assert "--plan FILE or --clients" in fail(run, 3, "keygen", "--out", "other")
    assert "--plan FILE or --clients" in fail(
        run, 3, "keygen", "--plan", "plan.vs", "--clients", 2, "--out", "other"
    )


def test_limits_by_name(run):
    write_update("m.safetensors", {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})
    run("plan", "--clients", 2, "--out", "plan.vs")
    run("keygen", "--plan", "plan.vs")
    base = ["round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "m.safetensors"]
    run(*base, "--limit", "a=1", "--limit", "b=2", "--out", "r.vs")
    assert sorted(vs.Round.load("r.vs").segments) == [(2, 1.0), (3, 2.0)]
    assert "no --limit for tensor 'b'" in fail(run, 3, *base, "--limit", "a=1", "--out", "x.vs")
    assert "no tensor 'c'" in fail(run, 3, *base, "--limit", "1", "--limit", "c=1", "--out", "x.vs")


def test_file_content_is_4(run, summed):
    for name, command in {
        "0.up": ["sum", "round.vs", "0.up", "1.up", "--out", "x.vs"],
        "total.vs": ["open", "--key", "authority.key", "round.vs", "total.vs", "--out", "x.key"],
        "round.vs": ["encrypt", "round.vs", "update0.npy", "--out", "x.up"],
        "authority.key": [
            "open", "--key", "authority.key", "round.vs", "total.vs", "--out", "x.key",
        ],
    }.items():  # fmt: skip
        good = Path(name).read_bytes()
        flipped = good[:40] + bytes([good[40] ^ 0xFF]) + good[41:]
        for damaged in (good[:-7], flipped, good + b"x", b""):
            Path(name).write_bytes(damaged)
            fail(run, 4, *command)
        Path(name).write_bytes(good)
    assert fail(run, 4, "sum", "round.vs", "0.up", "round.vs", "--out", "x.vs").startswith(
        "round.vs: "
    )


def test_the_wrong_key_is_5(run, summed):
    run("keygen", "--plan", "plan.vs", "--out", "other")
    line = fail(run, 5, "open", "--key", "other.key", "round.vs", "total.vs", "--out", "sum.key")
    assert not Path("sum.key").exists()
    assert "key" in line


def test_rules_are_6(run, summed):
    line = fail(run, 6, "sum", "round.vs", "0.up", "0.up", "--out", "x.vs")
    assert line.startswith("0.up: ")
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    run("sum", "round.vs", "0.up", "1.up", "--out", "fewer.vs")
    line = fail(run, 6, "open", "--key", "authority.key", "round.vs", "fewer.vs", "--out", "x.key")
    assert "opened before" in line
    run("round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "update0.npy",
        "--out", "round2.vs")  # fmt: skip
    fail(run, 6, "sum", "round2.vs", "0.up", "1.up", "--out", "x.vs")


def test_a_missing_engine_is_7(run, monkeypatch):
    from veilsum.engines.openfhe import backend

    backend._load.cache_clear()
    monkeypatch.setitem(sys.modules, "veilsum._openfhe", None)
    monkeypatch.delattr(vs, "_openfhe", raising=False)
    monkeypatch.setitem(sys.modules, "openfhe", None)
    monkeypatch.delitem(sys.modules, "veilsum.engines.openfhe.wheel", raising=False)
    monkeypatch.delattr("veilsum.engines.openfhe.wheel", raising=False)
    line = fail(run, 7, "plan", "--clients", 778, "--engine", "openfhe")
    backend._load.cache_clear()
    assert "OpenFHE" in line
    assert "native" in line


def test_a_missing_extra_is_7(run, monkeypatch):

    def without_torch(name):
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr("veilsum.cli.dispatch.importlib.import_module", without_torch)
    line = fail(run, 7, "train")
    assert "veilsum train needs the Python package 'torch'" in line
    assert "pip install '.[train]' in Veilsum's repository" in line


def test_an_interrupt_is_130(run, study, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(vs, "encrypt_file", interrupted)
    done = run("encrypt", "round.vs", "update0.npy", "--out", "x.up", expect=130)
    assert done.err == "veilsum: interrupted\n"
    assert not Path("x.up").exists()


def test_the_unexpected_is_1_and_asks_for_a_report(run, study, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(vs, "encrypt_file", broken)
    words = ["encrypt", "round.vs", "update0.npy", "--out", "x.up"]
    line = fail(run, 1, *words)
    assert "unexpected ZeroDivisionError: two lines" in line
    assert "--traceback" in line


def test_a_traceback_is_shown_when_asked_for(run, monkeypatch):
    words = ["plan", "--clients", "1"]
    assert "Traceback" not in run(*words, expect=3).err
    done = run(*words, "--traceback", expect=3)
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-1].startswith("veilsum: error: ")
    monkeypatch.setenv("VEILSUM_TRACEBACK", "1")
    assert "Traceback" in run(*words, expect=3).err


def test_quiet_prints_nothing(run, study):
    done = run("encrypt", "round.vs", "update0.npy", "--out", "x.up", "-q")
    assert (done.out, done.err) == ("", "")
    assert Path("x.up").exists()


def test_no_progress_without_a_terminal(run, study):
    done = run("encrypt", "round.vs", "update0.npy", "--out", "x.up")
    assert done.err == ""
    assert "\r" not in done.out


# --- secrets and files ---------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_secrets_are_private_and_public_files_follow_the_umask(run, study, umask):
    before = os.umask(umask)
    try:
        run("keygen", "--plan", "plan.vs", "--out", "k")
        run("identity", "new", "i")
        run("round", "--plan", "plan.vs", "--public", "k.pub", "--like", "update0.npy",
            "--out", "r.vs")  # fmt: skip
        for index in range(2):
            run("encrypt", "r.vs", f"update{index}.npy", "--out", f"{index}.up")
        run("sum", "r.vs", "0.up", "1.up", "--out", "t.vs")
        run("open", "--key", "k.key", "r.vs", "t.vs", "--out", "s.key")
        run("decrypt", "s.key", "r.vs", "t.vs", "--out", "mean.npy")
    finally:
        os.umask(before)

    def mode(name):
        return stat.S_IMODE(Path(name).stat().st_mode)

    for name in ("k.key", "k.key.opened", "i.key", "s.key"):
        assert mode(name) == 0o600, name
    for name in ("k.pub", "i.pub", "r.vs", "0.up", "t.vs", "mean.npy"):
        assert mode(name) == 0o666 & ~umask, name


def test_secrets_and_rounds_are_not_overwritten_unless_forced(run, summed):
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    run("identity", "new", "me")
    again = {
        "authority.key": ["keygen", "--plan", "plan.vs"],
        "me.key": ["identity", "new", "me"],
        "round.vs": [
            "round", "--plan", "plan.vs", "--public", "authority.pub", "--size", "3",
            "--out", "round.vs",
        ],
        "sum.key": ["open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key"],
    }  # fmt: skip
    for name, words in again.items():
        before = Path(name).read_bytes()
        line = fail(run, 4, *words)
        assert line.startswith(f"{name}: File exists")
        assert "--force" in line
        assert Path(name).read_bytes() == before
    run(*again["me.key"], "--force")
    run(*again["sum.key"], "--force")
    run(*again["round.vs"], "--force")
    run(*again["authority.key"], "--force")
    assert stat.S_IMODE(Path("authority.key").stat().st_mode) == 0o600


def test_a_public_half_alone_is_in_the_way_too(run):
    run("plan", "--clients", 2, "--out", "plan.vs")
    Path("authority.pub").write_text("precious")
    assert fail(run, 4, "keygen", "--plan", "plan.vs").startswith("authority.pub: File exists")
    assert not Path("authority.key").exists()


def test_a_readable_key_is_refused(run, summed):
    Path("authority.key").chmod(0o644)
    line = fail(run, 3, "open", "--key", "authority.key", "round.vs", "total.vs", "--out", "s.key")
    assert "authority.key" in line
    assert "644" in line
    assert "chmod 600" in line


def test_no_secret_is_printed(run, summed):
    outputs = [
        run("keygen", "--plan", "plan.vs", "--out", "k").out,
        run("identity", "new", "me").out,
        run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "s.key").out,
    ]
    secret = vs.SecretKey.load("k.key").to_bytes()
    public = vs.PublicKey.load("k.pub").to_bytes()
    for at in range(16, len(secret) - 8):
        run_of_bytes = secret[at : at + 8]
        if run_of_bytes not in public:
            assert run_of_bytes.hex() not in "".join(outputs)
    pem = Path("me.key").read_text().splitlines()[1]
    assert pem not in "".join(outputs)


def test_an_output_that_does_not_fit_is_refused_before_work(run, summed):
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    line = fail(run, 3, "decrypt", "sum.key", "round.vs", "total.vs", "--out", "m.safetensors")
    assert "one array" in line
    assert ".npy" in line
    assert "no suffix" in fail(run, 3, "decrypt", "sum.key", "round.vs", "total.vs", "--out", "m")


def test_a_failed_decryption_leaves_the_old_file(run, summed):
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    Path("mean.npy").write_bytes(b"old")
    run("round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "update0.npy",
        "--out", "r2.vs")  # fmt: skip
    for index in range(2):
        run("encrypt", "r2.vs", f"update{index}.npy", "--out", f"r2-{index}.up")
    run("sum", "r2.vs", "r2-0.up", "r2-1.up", "--out", "t2.vs")
    code = main(["decrypt", "sum.key", "r2.vs", "t2.vs", "--out", "mean.npy"])
    assert code in (4, 5, 6)  # the sum key is of another round
    assert Path("mean.npy").read_bytes() == b"old"
    assert not [*Path().glob("*.tmp"), *Path().glob(".*.tmp")]


def test_an_output_that_is_an_input_is_refused(run, summed):
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    before = Path("update0.npy").read_bytes()
    for words in [
        ("encrypt", "round.vs", "update0.npy", "--out", "update0.npy"),
        ("encrypt", "round.vs", "update0.npy", "--out", "./round.vs"),
        ("sum", "round.vs", "0.up", "1.up", "--out", "1.up"),
        ("decrypt", "sum.key", "round.vs", "total.vs", "--out", "sum.key"),
        ("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "total.vs", "--force"),
        ("round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "update0.npy",
         "--out", "plan.vs", "--force"),
    ]:  # fmt: skip
        assert "is also an input, which it would overwrite" in fail(run, 3, *words)
    assert Path("update0.npy").read_bytes() == before
    assert "is a folder" in fail(run, 3, "encrypt", "round.vs", "update0.npy", "--out", ".")


def test_a_wrong_file_is_named_with_what_it_holds(run, summed):
    said = fail(run, 4, "sum", "0.up", "1.up", "round.vs", "--out", "x.vs")
    assert said == "0.up: this is an upload, but a round is needed; are two arguments swapped?"
    said = fail(run, 4, "open", "--key", "authority.pub", "round.vs", "total.vs", "--out", "x.key")
    assert said.startswith("authority.pub: this is a public key, but a secret key is needed")
    run("identity", "new", "me")
    said = fail(
        run, 4, "encrypt", "round.vs", "update0.npy", "--identity", "me.pub", "--out", "x.up"
    )
    assert "me.pub holds a public identity, not the secret one" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--clients", "9" * 23), "far outside"),
        (("--clients", "10", "--size", "1" + "0" * 19), "from 1 to 2^40 values"),
        (("--clients", "10", "--size", "0"), "--size is 0"),
    ],
    ids=lambda words: words[-1][:6],
)
def test_numbers_beyond_the_machine_are_3(run, words, says):
    assert says in fail(run, 3, "plan", *words)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m.pt", "save the state_dict with safetensors.torch.save_file"),
        ("m.npz", "save it with numpy.save"),
        ("m", "m has no suffix"),
        ("m.csv", "m.csv ends in '.csv'; Veilsum reads and writes .npy and .safetensors files"),
    ],
)
def test_other_formats_say_how_to_convert(run, study, name, says):
    Path(name).write_bytes(b"0")
    assert says in fail(run, 3, "encrypt", "round.vs", name, "--out", "x.up")


def test_writing_where_one_may_not(run, summed):
    assert "no/such" in fail(
        run, 4, "encrypt", "round.vs", "update0.npy", "--out", "no/such/folder.up"
    )
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    line = fail(run, 4, "decrypt", "sum.key", "round.vs", "total.vs", "--out", "no/such/mean.npy")
    assert "no/such/mean.npy: No such file or directory" in line


@pytest.fixture
def misfits(run, study):
    """Updates that do not fit the round, one a way, and a round that clips."""
    wide = {"b": np.ones(200, np.float32), "w": np.ones((200, 4), np.float32)}
    write_update("wide.safetensors", wide)
    np.save("double.npy", np.zeros((20, 5)))
    np.save("short.npy", np.zeros((3, 5), np.float32))
    np.save("nan.npy", np.where(np.eye(20, 5), np.nan, 0).astype(np.float32))
    np.save("fortran.npy", np.asfortranarray(np.load("nan.npy")))
    base = ("round", "--plan", "plan.vs", "--public", "authority.pub")
    run(*base, "--like", "wide.safetensors", "--limit", "0.5", "--out", "wide.vs")
    run(*base, "--like", "update0.npy", "--most-rows", 10, "--out", "rows.vs")
    run(*base, "--size", 7, "--out", "flat.vs")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("round.vs double.npy", "double.npy: update has dtype float64, but the round expects"),
        ("round.vs short.npy", "short.npy: update has shape [3, 5], but the round expects"),
        ("round.vs nan.npy", "nan.npy: update at [0, 0] is not finite (value 0 of the whole"),
        ("round.vs fortran.npy", "fortran.npy: update at [0, 0] is not finite"),
        ("rows.vs double.npy --rows 3", "double.npy: update has dtype float64"),
        ("rows.vs nan.npy --rows 3", "nan.npy: tensor 'update' at [0, 0] is not finite"),
        ("flat.vs short.npy", "short.npy: update has 15 values (shape [3, 5]), but the round sums "
         "7; give 7 values, or a round with --size 15"),
        ("wide.vs short.npy", "short.npy: update is an ndarray, but the round sums 2 named "
         "tensors; give a .safetensors file"),
        ("round.vs wide.safetensors", "give the round --like FILE.safetensors to sum named"),
        ("round.vs update0.npy --threads 10000", "--threads is 10000; it must be a whole number"),
        ("round.vs update0.npy --identity me.key", "a roster (--roster), or leave --identity out"),
        ("round.vs fortran.npy --resume", "(numpy.ascontiguousarray), or leave out --resume"),
        ("wide.vs wide.safetensors --refuse-clipping", "without --refuse-clipping"),
    ],
)  # fmt: skip
def test_errors_name_the_file_and_options(run, misfits, words, says):
    run("identity", "new", "me")
    assert says in fail(run, 3, "encrypt", *words.split(), "--out", "x.up")
    assert not Path("x.up").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("plan --clients 3 --bits 40", "--bits = 40 is outside"),
        ("plan --clients 1", "--clients = 1 is outside"),
        ("plan --clients 3 --weight-bits 60", "--weight-bits = 60 is outside"),
        ("sum round.vs 0.up 1.up --weights 1,2 --out t.vs", "(encrypt --weight, or round "
         "--most-rows and encrypt --rows), or plan with --weight-bits 1 or more"),
        ("sum round.vs 0.up 1.up --weights 1 --out t.vs", "--weights has 1 number for 2 uploads"),
        ("round --plan plan.vs --public authority.pub --size 3 --limit -1 --out r.vs",
         "--limit is -1.0; it must be finite"),
        ("round --plan plan.vs --public authority.pub --size 3 --most-rows 0 --out r.vs",
         "--most-rows is out of range"),
        ("keygen --plan plan.vs --out new.key", "new.key would make new.key.key; give the name"),
        ("keygen --plan plan.vs --out new.pub", "new.pub would make new.pub.pub; give the name"),
        ("identity new me.key", "me.key would make me.key.key; give the name without .key"),
    ],
)  # fmt: skip
def test_remedies_are_options(run, summed, words, says):
    line = fail(run, 3, *words.split())
    assert says in line
    for python in ("(...", "=...", "True", "value_bits", "weight_bits", "RowMean"):
        assert python not in line


def test_an_update_in_a_rounds_place(run, misfits):
    for update in ("update0.npy", "wide.safetensors"):
        line = fail(run, 4, "encrypt", update, "round.vs", "--out", "x.up")
        assert (
            line
            == f"{update}: this is an update, but a round is needed; are two arguments swapped?"
        )


def test_clipping_is_told_once(run, misfits):
    done = run("encrypt", "wide.vs", "wide.safetensors", "--weight", 3, "--out", "x.up")
    (line,) = done.err.splitlines()
    assert line.startswith("veilsum: warning: 1,000 of 1,000 values")
    assert "--limit b=X for this tensor" in line
    assert "(see veilsum round --most-rows)" in line
    # Too little for a warning: the note says it.
    few = np.zeros((20, 5), np.float32)
    few[3, 1] = 2
    np.save("few.npy", few)
    (line,) = run("encrypt", "round.vs", "few.npy", "--out", "y.up").err.splitlines()
    assert line == "veilsum: note: 1 of 100 values were beyond the round's limit and clipped"


def test_an_identity_by_its_name_says_which_files_are_there(run):
    run("identity", "new", "alice")
    line = fail(run, 4, "identity", "show", "alice")
    assert line == "alice: No such file or directory; there is alice.pub and alice.key"
    Path("alice.pub").unlink()
    assert fail(run, 4, "identity", "show", "alice").endswith("; there is alice.key")
    assert fail(run, 4, "identity", "show", "bob") == "bob: No such file or directory"


def test_exit_codes_of_files_are_as_documented(run, summed):
    """3 for a file that is not to be used, 4 for one that is missing, in the way or damaged."""
    run("open", "--key", "authority.key", "round.vs", "total.vs", "--out", "sum.key")
    opened = ("open", "--key", "authority.key", "round.vs", "total.vs", "--out")
    encrypted = ("encrypt", "round.vs", "update0.npy", "--out")
    Path("authority.key").chmod(0o640)
    fail(run, 3, *opened, "s.key")
    Path("authority.key").chmod(0o600)
    for name in ("u.bin", "u.npz"):
        Path(name).write_bytes(b"0")
        fail(run, 3, "encrypt", "round.vs", name, "--out", "x.up")
    fail(run, 3, *encrypted, "update0.npy")
    fail(run, 3, *encrypted, "authority.key")
    fail(run, 3, *encrypted, "authority.key.opened")
    fail(run, 3, *encrypted, os.devnull)
    Path("x.up.journal").write_bytes(b"left")
    fail(run, 3, *encrypted, "x.up")
    fail(run, 4, *opened, "sum.key")
    fail(run, 4, "encrypt", "round.vs", "none.npy", "--out", "y.up")
    Path("cut.npy").write_bytes(Path("update0.npy").read_bytes()[:-1])
    fail(run, 4, "encrypt", "round.vs", "cut.npy", "--out", "y.up")


# --- as a process --------------------------------------------------------------------------------


def process(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "veilsum", *map(str, words)], capture_output=True, text=True,
        **options,
    )  # fmt: skip


def test_as_a_process(tmp_path):
    done = process("plan", "--clients", 3, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["clients"] == 3
    done = process("plan", "--clients", 1, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("veilsum: error: ")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "veilsum", "--help"], stdout=writer, stderr=subprocess.PIPE
        )
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b""


def test_ctrl_c_stops_the_work_and_leaves_no_file(run, study, monkeypatch):
    """The signal arrives while the core is at work; the progress callback lets it through."""

    def interrupt(self, done, total):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "__call__", interrupt)
    done = run("encrypt", "round.vs", "update0.npy", "--out", "x.up", expect=130)
    assert done.err == "veilsum: interrupted\n"
    assert not list(Path().glob("*x.up*"))


# --- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(monkeypatch, *, terminal=True, quiet=False):
    """Count from 0 to 10 with a progress that is never too early, and give what was written."""
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("veilsum.cli.progress._INTERVAL_S", -1.0)
    with Progress(SimpleNamespace(quiet=quiet), "encrypting") as progress:
        for done in range(11):
            progress(done, 10)
    return stream.getvalue()


@pytest.mark.parametrize("with_rich", [True, False])
def test_progress_on_a_terminal(monkeypatch, with_rich):
    if with_rich:
        pytest.importorskip("rich", reason="rich is not installed (extra 'cli')")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
    shown = show(monkeypatch)
    assert "encrypting" in shown
    assert "100%" in shown
    if not with_rich:
        assert shown.endswith("\r\x1b[K")  # it cleans up behind itself


def test_no_progress_where_nobody_looks(monkeypatch):
    assert show(monkeypatch, quiet=True) == ""
    assert show(monkeypatch, terminal=False) == ""


def test_short_work_shows_no_progress(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(SimpleNamespace(quiet=False), "encrypting") as progress:
        progress(5, 10)
        progress(10, 10)
    assert stream.getvalue() == ""


# --- what was done but hardly meant --------------------------------------------------------------


def test_warnings_are_lines_on_standard_error(run, study):
    run("round", "--plan", "plan.vs", "--public", "authority.pub", "--size", 100, "--out", "r.vs")
    done = run("encrypt", "r.vs", "update0.npy", "--out", "0.up", "--weight", 600)
    lines = done.err.splitlines()
    assert [line for line in lines if line.startswith("veilsum: warning: ")] == lines[:1]
    assert "were clipped" in lines[0]
    quiet = run("encrypt", "r.vs", "update1.npy", "--out", "1.up", "--weight", 600, "--quiet")
    assert quiet.out == ""
    assert quiet.err.startswith("veilsum: warning: ")
    run("sum", "r.vs", "0.up", "1.up", "--out", "total.vs")
    run("open", "--key", "authority.key", "r.vs", "total.vs", "--out", "sum.key")
    told = run("decrypt", "sum.key", "r.vs", "total.vs", "--out", "mean.npy").err
    assert "of the 200 values in the 2 uploads" in told


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_weights_above_nothing(run, study, weight):
    said = fail(run, 3, "encrypt", "round.vs", "update0.npy", "--out", "a.up", f"--weight={weight}")
    assert "finite and above 0" in said
    assert not Path("a.up").exists()


def test_help_says_the_rule_for_weights(run):
    words = re.sub(r"\s+", " ", run("encrypt", "--help").out)
    assert "above 0, before clipping to the round's limit" in words
    assert (
        "Weights that sum to the number of uploads make the decrypted mean a weighted one" in words
    )
    assert "one weight above 0 for each upload" in re.sub(r"\s+", " ", run("sum", "--help").out)


def test_weights_of_a_plan_without_them_are_refused(run, summed):
    for weights in ("0.2,0.3,0.5", "2,3,5"):
        said = fail(run, 3, "sum", "round.vs", "0.up", "1.up", "2.up", "--out", "t.vs",
                    "--weights", weights)  # fmt: skip
        assert "this plan holds unit weights only" in said
    assert not Path("t.vs").exists()


def test_a_float16_sum_that_overflows_is_refused(run):
    np.save("half.npy", np.full(4, 1.5, "f2"))
    run("plan", "--clients", 2, "--weight-bits", 16, "--out", "plan.vs")
    run("keygen", "--plan", "plan.vs")
    run("round", "--plan", "plan.vs", "--public", "authority.pub", "--like", "half.npy",
        "--limit", 2, "--out", "r.vs")  # fmt: skip
    for name in ("a.up", "b.up"):
        run("encrypt", "r.vs", "half.npy", "--out", name)
    run("sum", "r.vs", "a.up", "b.up", "--weights", "30000,20000", "--out", "t.vs")
    run("open", "--key", "authority.key", "r.vs", "t.vs", "--export", "--out", "sum.key")
    words = ("decrypt", "sum.key", "r.vs", "t.vs", "--out", "sum.npy", "--sum")
    assert "--dtype float32" in fail(run, 3, *words)
    assert not Path("sum.npy").exists()
    run(*words, "--dtype", "float32")
    np.testing.assert_allclose(np.load("sum.npy"), 75000, rtol=1e-4)


def test_capital_names_and_folders_as_inputs(run, study):
    Path("update0.npy").rename("UPDATE0.NPY")
    run("encrypt", "round.vs", "UPDATE0.NPY", "--out", "0.up")
    Path("folder").mkdir()
    for words in (
        ("encrypt", "round.vs", "folder", "--out", "a.up"),
        ("encrypt", "folder", "UPDATE0.NPY", "--out", "a.up"),
        ("round", "--plan", "folder", "--public", "authority.pub", "--size", 3, "--out", "r.vs"),
    ):
        assert fail(run, 4, *words).startswith("folder: Is a directory; give")
