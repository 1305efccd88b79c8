"""The OpenFHE engine through the command line: the same commands, and --uploads to open."""

from __future__ import annotations

import numpy as np

from veilsum.cli import main


def test_a_weighted_sum_on_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, expect=0):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert code == expect, captured.err
        return captured

    values = [np.linspace(-1, 1, 50, dtype=np.float32), np.full(50, 0.5, np.float32)]
    run("plan", "--clients", 4, "--weight-bits", 4, "--engine", "openfhe", "--out", "plan")
    run("keygen", "--plan", "plan", "--out", "authority")
    run("round", "--plan", "plan", "--public", "authority.pub", "--size", 50, "--out", "round")
    for index, update in enumerate(values):
        np.save(f"{index}.npy", update)
        run("encrypt", "round", f"{index}.npy", "--out", f"{index}.up")
        refused = run("encrypt", "round", f"{index}.npy", "--out", "again", "--resume", expect=3)
        assert "only the native engine" in refused.err
        assert not (tmp_path / "again").exists()
    (tmp_path / "cut.up").write_bytes((tmp_path / "1.up").read_bytes()[:-9])
    said = run("sum", "round", "0.up", "cut.up", "--out", "bad", expect=4).err
    assert said.count("cut.up") == 1
    assert not (tmp_path / "bad").exists()
    run("sum", "round", "0.up", "1.up", "--weights", "2,5", "--out", "total")
    open_it = ("open", "--key", "authority.key", "round", "total", "--out", "sum.key")
    assert "--uploads" in run("open", "--help").out
    assert "uploads" in run(*open_it, expect=6).err
    # A round is opened once: a place that cannot be written must not cost the one opening.
    lost = (*open_it[:-1], "no-such-folder/sum.key", "--uploads", "0.up", "1.up")
    assert "no-such-folder/sum.key: No such file" in run(*lost, expect=4).err
    run(*open_it, "--uploads", "0.up", "1.up")
    run("decrypt", "sum.key", "round", "total", "--out", "mean.npy")
    wrong = run("sum", "total", "0.up", "1.up", "--out", "x", expect=4).err
    assert "this is an aggregate, but a round is needed" in wrong
    run("plan", "--clients", 4, "--out", "native-plan")
    mixed = run(
        "round", "--plan", "native-plan", "--public", "authority.pub", "--size", 5, "--out", "x",
        expect=6,
    )  # fmt: skip
    assert "the public key is of engine 'openfhe', the plan of engine 'native'" in mixed.err
    exact = np.average(np.array(values, dtype=np.float64), axis=0, weights=[2, 5])
    np.testing.assert_allclose(np.load("mean.npy"), exact, atol=2e-5)
