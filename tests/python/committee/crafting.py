"""What no honest party of a committee's round would send: the oracle writes it, the core reads it.

Uploads whose sealed shares, blocks or signature are of the client's own making; requests with any
uploads at any weights; answers of any content. All that travels has the right form and checksum,
and every signature is its signer's own: what is left to refuse is what the bytes say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import veilsum as vs
from committee.parties import Clinics
from oracle import committee, identity, scheme, sealed, sharing, tag, tree, wire
from veilsum.keys import sealing

Heads = Sequence[tuple[int, wire.Head]]


def oracle_of(rnd: vs.Round) -> wire.Round:
    return wire.read_round(rnd.to_bytes())


def head_of(rnd: vs.Round, upload: vs.Upload) -> wire.Head:
    """The head, with its sealed shares."""
    return wire.read_upload(upload.to_bytes(), oracle_of(rnd))[1]


def blocks_of(rnd: vs.Round, upload: vs.Upload) -> bytes:
    return wire.read_upload(upload.to_bytes(), oracle_of(rnd))[2]


def opened_share(clinics: Clinics, rnd: vs.Round, head: wire.Head, member: int) -> sharing.Share:
    """What the client dealt this member."""
    person = clinics.people[member]
    info = sealed.share_info(rnd.id, head.client, head.nonce, member, person.public.id)
    secret = person.open(info, head.shares[member])
    assert secret is not None
    return sharing.read_share(oracle_of(rnd).sharing, secret)


def resigned(clinics: Clinics, rnd: vs.Round, client: int, head: wire.Head) -> wire.Head:
    """The head under the client's signature, its root fitted to the shares."""
    head = replace(head, part=tree.root(head.shares), signature=None)
    made = clinics.people[client].sign(wire.signing_payload(rnd.id, client, head))
    return replace(head, signature=wire.Signature(client, b"", made))


def read_upload(rnd: vs.Round, head: wire.Head, blocks: bytes) -> vs.Upload:
    return vs.Upload.from_bytes(wire.upload_bytes(rnd.id, head, blocks), rnd)


def dealing(
    clinics: Clinics,
    rnd: vs.Round,
    client: int,
    change: Callable[[int, sharing.Share], sharing.Share],
) -> vs.Upload:
    """The client's upload, but member k is dealt `change(k, share)`; sealed and signed as due."""
    upload = clinics.upload(client, clinics.updates()[client], rnd)
    head = head_of(rnd, upload)
    layout = oracle_of(rnd).sharing
    shares = []
    for member, person in enumerate(clinics.people):
        share = change(member, opened_share(clinics, rnd, head, member))
        info = sealed.share_info(rnd.id, client, head.nonce, member, person.public.id)
        key = identity.kem_key(person.public.fields)
        shares.append(sealing.seal(key, info, share.to_bytes(layout)))
    head = resigned(clinics, rnd, client, replace(head, shares=shares))
    return read_upload(rnd, head, blocks_of(rnd, upload))


def with_keys(
    clinics: Clinics, rnd: vs.Round, client: int, keys: list[list[int]], digits: list[int]
) -> vs.Upload:
    """An upload that is right in all but its keys: these, whatever they are."""
    info = oracle_of(rnd)
    seed, nonce = os.urandom(32), os.urandom(16)
    own = tag.tag_of(info.plan, info.id, clinics.group.tag_key_for(rnd), digits, client, nonce)
    dealt = sharing.deal(info.sharing, info.id, seed, keys, own)
    shares = [
        sealing.seal(
            identity.kem_key(one.public.fields),
            sealed.share_info(info.id, client, nonce, member, one.public.id),
            share.to_bytes(info.sharing),
        )
        for member, (one, share) in enumerate(zip(clinics.people, dealt, strict=True))
    ]
    blocks = scheme.encrypt_digits(info.plan, info.id, info.seed, digits, seed, keys, tagged=True)
    head = resigned(clinics, rnd, client, wire.Head(nonce, b"", shares=shares))
    return read_upload(rnd, head, b"".join(blocks))


def request_bytes(rnd: vs.Round, entries: Heads, member: int) -> bytes:
    """What a lying aggregator asks: these uploads at these weights."""
    info = oracle_of(rnd)
    total = wire.Sum(rnd.id, list(entries), b"", forwards=True, tagged=info.tagged)
    return committee.make_request(info, total, member).to_bytes()


def answer_of(
    clinics: Clinics, rnd: vs.Round, member: int, certified: bytes, share: sharing.Share
) -> vs.Answer:
    """Whatever a member wants to have answered, sealed to the clients and signed."""
    info = oracle_of(rnd)
    context = sealed.answer_info(rnd.id, certified, member)
    return signed_answer(
        clinics, rnd, member, certified,
        sealing.seal(info.reading_key, context, share.answer(info.sharing)),
    )  # fmt: skip


def signed_answer(
    clinics: Clinics, rnd: vs.Round, member: int, certified: bytes, data: bytes
) -> vs.Answer:
    """Sealed bytes, wherever they are from, as this member's answer."""
    info = oracle_of(rnd)
    payload = committee.answer_payload(info, member, certified, data)
    made = committee.Answer(rnd.id, certified, member, clinics.people[member].sign(payload), data)
    return vs.Answer.from_bytes(made.to_bytes(), rnd)


def read_answer(clinics: Clinics, rnd: vs.Round, answer: vs.Answer) -> sharing.Share:
    """What an answer holds, as the clients read it."""
    info = oracle_of(rnd)
    one = committee.read_answer(answer.to_bytes(), info)
    context = sealed.answer_info(info.id, one.certified, one.member)
    secret = clinics.group.open_answer(b"", context, one.sealed)
    assert secret is not None
    return sharing.read_answer(info.sharing, secret)
