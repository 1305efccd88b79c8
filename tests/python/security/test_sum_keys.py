"""A sum key says how many uploads of which weight it sums; the aggregate has the last word.

Whoever writes a key's bytes writes these numbers beside the manifest's digest. Means are divided by
the weight, so a key that says another one is another mean.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

import veilsum as vs
from security import forging
from veilsum import _core

_NAMES = 64  # the round's id and the manifest's digest
_NUMBERS = struct.Struct("<IQ")
DIGEST_BYTES = 32


def key_bytes(rnd: vs.Round, key: vs.SumKey, count: int, weight: int) -> bytes:
    """Bytes of a key that says these numbers; of a native one every coefficient is 0."""
    payload = bytes(key.to_bytes()[16:-4])
    body = payload[_NAMES + _NUMBERS.size :]
    if rnd.plan.engine == "native":
        # c + 8 W in fields as wide as 16 W, behind what binds it to blocks: here a digest.
        bits = (16 * weight).bit_length()
        fields = sum(8 * weight << (bits * place) for place in range(8)).to_bytes(bits, "little")
        body = b"\x01" + bytes(DIGEST_BYTES)
        body += fields * (rnd.plan.ring_degree * rnd.upload_keys // 8)
    return forging.seal(forging.SUM_KEY, payload[:_NAMES] + _NUMBERS.pack(count, weight) + body)


@pytest.mark.parametrize("count, weight", [(2, 2), (4, 4), (3, 4), (2, 3)])
def test_numbers_that_are_not_the_sums(stage, tmp_path, count, weight):
    rnd = stage.round()
    uploads = stage.uploads(rnd, 3)
    total = vs.weighted_sum(rnd, uploads)
    key = stage.open(rnd, total, uploads)
    liar = vs.SumKey.from_bytes(key_bytes(rnd, key, count, weight), rnd)
    assert (liar.count, liar.total_weight) == (count, weight)
    out = np.ones(rnd.size, np.float32)
    with pytest.raises(vs.KeyMismatchError, match="key was altered"):
        vs.decrypt(liar, total, out=out)
    assert (out == 1).all()
    with pytest.raises(vs.KeyMismatchError, match="key was altered"):
        _core.check_sum_key(liar, total)
    total.save(tmp_path / "total")
    with pytest.raises(vs.KeyMismatchError, match="key was altered"):
        vs.decrypt_file(liar, vs.AggregateFile(tmp_path / "total", rnd), tmp_path / "mean.npy")
    assert not (tmp_path / "mean.npy").exists()
    # The same bytes with the sum's own numbers: what differs is seen, and nothing else.
    _core.check_sum_key(vs.SumKey.from_bytes(key_bytes(rnd, key, 3, 3), rnd), total)


@pytest.mark.parametrize("count, weight", [(1, 1), (0, 0), (2, 1), (2, 6), (6, 6), (2, 2**63)])
def test_numbers_that_no_sum_has(stage, count, weight):
    """Five clients at most, two at least, and no upload without weight."""
    rnd = stage.round()
    uploads = stage.uploads(rnd, 2)
    key = stage.open(rnd, vs.weighted_sum(rnd, uploads), uploads)
    payload = bytes(key.to_bytes()[16:-4])
    numbers = _NUMBERS.pack(count, weight)
    data = forging.seal(forging.SUM_KEY, payload[:_NAMES] + numbers + payload[76:])
    with pytest.raises(vs.WireFormatError, match="which this round cannot have"):
        vs.SumKey.from_bytes(data, rnd)
    if stage.engine != "native":
        with pytest.raises(vs.ParameterError, match="which this round cannot have"):
            _core.make_sum_key(rnd, key.manifest, count, weight, key.body)
