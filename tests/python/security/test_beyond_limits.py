"""What decryption hands out is within what clipped updates can sum to, and all of it or nothing.

Blocks are malleable: whoever adds a multiple of Δ to a coefficient moves its first digit. The
native engine looks at every digit that it hands out, so that a change beyond the limits is seen,
also by a key that was opened for just these blocks.
"""

from __future__ import annotations

import numpy as np
import pytest

import veilsum as vs
from security import forging

PLANS = [(5, 16, 0), (5, 8, 0), (3, 24, 0), (5, 31, 0), (5, 32, 0), (5, 16, 3)]


def moved(total: vs.Aggregate, rnd: vs.Round, digits: int) -> vs.Aggregate:
    """Add to value 0, the first digit of coefficient 0, in the first eight fields of B bits."""
    plan = rnd.plan
    assert plan.field_bits <= 52  # wider ones lie in rows
    data = bytearray(total.to_bytes())
    begin = len(data) - 4 - len(bytes(total.blocks))
    end = begin + plan.field_bits
    group = int.from_bytes(data[begin:end], "little")
    field = group % (1 << plan.field_bits)
    changed = (field + plan.delta * digits) % (1 << plan.field_bits)
    data[begin:end] = (group ^ field ^ changed).to_bytes(plan.field_bits, "little")
    return vs.Aggregate.from_bytes(forging.reseal(data), rnd)


@pytest.mark.parametrize("clients, value_bits, weight_bits", PLANS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 3000])
def test_the_edge_of_what_is_handed_out(tmp_path, clients, value_bits, weight_bits, dtype, size):
    plan = vs.Plan(clients, value_bits, weight_bits=weight_bits, profile="n2048")
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=size)

    def opened(total: vs.Aggregate) -> vs.SumKey:
        return vs.open_sum(vs.SecretKey.from_bytes(secret.to_bytes()), rnd, total)

    levels = 2 ** (value_bits - 1) - 1
    for sign, beyond in ((1, [1, 2, levels, plan.base - 1 - 4 * levels]), (-1, [-1, -levels])):
        uploads = [vs.encrypt(rnd, np.full(size, sign, np.float64)) for _ in range(2)]
        total = vs.weighted_sum(rnd, uploads)
        assert (vs.decrypt(opened(total), total, dtype=dtype) == sign).all()
        within = moved(total, rnd, -sign)
        inside = vs.decrypt(opened(within), within, dtype="float64", average=False)
        assert inside[0] == pytest.approx(2 * sign - sign / levels, rel=1e-12)
        for digits in beyond:
            changed = moved(total, rnd, digits)
            key = opened(changed)
            out = np.ones(size, dtype)
            with pytest.raises(vs.TamperedSumError):
                vs.decrypt(key, changed, out=out)
            assert not out.any()
            changed.save(tmp_path / "sum")
            file = vs.AggregateFile(tmp_path / "sum", rnd)
            with pytest.raises(vs.TamperedSumError):
                vs.decrypt_file(key, file, tmp_path / "mean.npy")
            assert not (tmp_path / "mean.npy").exists()


@pytest.mark.parametrize("average", [True, False])
def test_a_decryption_that_is_cancelled_leaves_nothing(stage, average):
    class StopError(Exception):
        pass

    def stop(done: int, size: int) -> None:
        raise StopError

    rnd = stage.round(3000)
    uploads = stage.uploads(rnd, 2)
    total = vs.weighted_sum(rnd, uploads)
    key = stage.open(rnd, total, uploads)
    out = np.full(3000, 7, np.float32)
    with pytest.raises(StopError):
        vs.decrypt(key, total, out=out, progress=stop, average=average)
    assert not out.any()
    vs.decrypt(key, total, out=out, average=average)
    assert out.any()
