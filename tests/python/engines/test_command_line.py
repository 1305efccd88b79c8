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
    run("plan", "--clients", 4, "--engine", "openfhe", "--out", "plan", "--size", 50)
    run("keygen", "--plan", "plan", "--out", "authority")
    run("round", "--plan", "plan", "--public", "authority.pub", "--size", 50, "--out", "round")
    for index, update in enumerate(values):
        np.save(f"{index}.npy", update)
        run("encrypt", "round", f"{index}.npy", "--out", f"{index}.up")
        refused = run("encrypt", "round", f"{index}.npy", "--out", "again", "--resume", expect=3)
        assert "only the native engine" in refused.err
        assert not (tmp_path / "again").exists()
    (tmp_path / "cut.up").write_bytes((tmp_path / "1.up").read_bytes()[:-9])
    assert "cut.up" in run("sum", "round", "0.up", "cut.up", "--out", "bad", expect=4).err
    assert not (tmp_path / "bad").exists()
    run("sum", "round", "0.up", "1.up", "--weights", "1,2.5", "--out", "total")
    open_it = ("open", "--key", "authority.key", "round", "total", "--out", "sum.key")
    assert "--uploads" in run("open", "--help").out
    assert "uploads" in run(*open_it, expect=6).err
    run(*open_it, "--uploads", "0.up", "1.up")
    run("decrypt", "sum.key", "round", "total", "--out", "mean.npy")
    exact = np.average(np.array(values, dtype=np.float64), axis=0, weights=[1, 2.5])
    np.testing.assert_allclose(np.load("mean.npy"), exact, atol=2e-5)
