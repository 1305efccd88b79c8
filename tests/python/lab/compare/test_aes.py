"""The AES side of the comparison does what it says: standard modes, whole messages, own nonces."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from veilsum import VeilsumError
from veilsum.lab.compare import aes


@pytest.mark.parametrize("mode", aes.BULK_MODES)
@pytest.mark.parametrize("length", [16, 4096, 1 << 20])
def test_bulk(mode, length):
    work = aes.Bulk(mode, random.Random(1).randbytes(length))
    work.encrypt()
    work.check()
    assert work.nbytes == length + {"CBC": 16, "CTR": 16, "GCM": 28}[mode]


def test_bulk_gcm_is_the_standard_one():
    message = random.Random(2).randbytes(1000 * 16)
    work = aes.Bulk("GCM", message)
    sealed = bytes(work.encrypt())
    assert AESGCM(work._key).decrypt(work._nonce, sealed, None) == message


@pytest.mark.parametrize("length", [15, 17])
def test_bulk_refuses_parts_of_blocks(length):
    with pytest.raises(ValueError, match="whole blocks"):
        aes.Bulk("CBC", bytes(length))


def test_long_messages_go_in_pieces(monkeypatch):
    monkeypatch.setattr(aes, "MAX_CALL", 64)
    work = aes.Pieces("GCM", random.Random(3).randbytes(160))
    work.encrypt()
    work.decrypt()
    work.check()
    assert work.nbytes == 160 + 3 * 28


@pytest.mark.parametrize("mode", aes.RECORD_MODES)
@pytest.mark.parametrize("length", [1, 4, 16, 128])
def test_per_record(mode, length):
    rng = random.Random(4)
    work = aes.PerRecord(mode, [rng.randbytes(length) for _ in range(50)])
    sealed = work.encrypt()
    work.check()
    start = {"GCM": aes.NONCE, "CBC": aes.BLOCK}[mode]
    assert len({record[:start] for record in sealed}) == 50, "a nonce or IV came twice"


def test_per_record_padding_is_pkcs7():
    for length in (1, 15, 16, 128):
        padder = PKCS7(128).padder()
        record = bytes(length)
        padded = padder.update(record) + padder.finalize()
        assert record + aes.PerRecord("CBC", [record])._padding == padded


def test_check_notices_a_wrong_record():
    work = aes.PerRecord("CBC", [b"one!", b"two!"])
    work.encrypt()
    work.records = [b"one!", b"two?"]
    with pytest.raises(VeilsumError):
        work.check()
