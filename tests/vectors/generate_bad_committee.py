"""Objects of rounds with rosters that every reader must refuse; see generate_bad.py.

A fault that only shows once the object is signed or sealed by the party it is from is so signed and
sealed: the party deviates.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from generate_bad import KEY, ROUND, TAMPERED, Collection, client, flipped, resized
from generate_committee import CommitteeRound, person, randomness

from oracle import blame, committee, group, identity, ring, sealed, tag, wire
from oracle.plans import Plan

BEYOND = struct.pack("<I", 99)


def rounds(found: Collection, made: CommitteeRound) -> None:
    rnd = made.round
    assert rnd.committee
    assert rnd.step

    def add(fault: str, why: str, **changes: object) -> None:
        found.add("round", fault, why, replace(rnd, **changes).to_bytes())

    def authority(fault: str, why: str, data: bytes) -> None:
        fields = rnd.sums_fields() + data + rnd.reader_fields() + rnd.step_fields()
        found.add("round", fault, why, wire.seal(wire.ROUND, fields))

    def step(fault: str, why: str, **changes: object) -> None:
        add(f"step_{fault}", why, step=replace(rnd.step, **changes))

    own, other = rnd.committee, tuple(client(str(k)) for k in range(3))
    add("threshold_low", "half of the members open", committee=wire.Committee(other[:2], 1))
    add("threshold_high", "more must answer than there are", committee=replace(own, threshold=4))
    add("one_member", "a committee of one", committee=wire.Committee(other[:1], 1))
    twice = wire.Committee((other[0], other[0], other[1]), 2)
    add("member_twice", "one member twice", committee=twice)
    weak = other[0][:33] + bytes(1152) + other[0][1185:]
    add("weak_member", "a member with no key", committee=wire.Committee((other[1], weak), 2))
    lead = bytes([wire.COMMITTEE])
    listed = lead + struct.pack("<II", own.threshold, 3) + b"".join(rnd.roster)
    authority("roster_listed", "members that are the roster are listed again", listed)
    many = lead + struct.pack("<II", own.threshold, 1000)
    authority("members_beyond", "more members than bytes", many)
    authority("authority", "an authority of kind 3", b"\x03" + rnd.authority_fields()[1:])
    add(
        "no_roster",
        "a committee without a roster",
        roster=[],
        committee=replace(own, members=other),
    )
    holder = {"committee": None, "public": person("holder").kem.public}
    add("group_no_roster", "a group without a roster", roster=[], **holder)
    add("no_reader", "a committee's round without a reader", group=None)
    add("reader_of_holder", "one key holder with a reader", group=None, reader=other[0], **holder)
    kept = rnd.sums_fields() + rnd.authority_fields()
    bad = b"\x03" + rnd.reader_fields()[1:] + rnd.step_fields()
    found.add("round", "reader", "a reader of kind 3", wire.seal(wire.ROUND, kept + bad))
    assert rnd.group
    low = rnd.group[1][:1184] + bytes(32)
    add("reading_key", "a reading key that protects nothing", group=(rnd.group[0], low))
    add("weights", "a committee under a plan with weights", plan=Plan(3, 8, 2, 128, "n2048"))
    kept += rnd.reader_fields()
    bad = b"\x02" + rnd.step.fields()
    found.add("round", "step", "a flag that is neither 0 nor 1", wire.seal(wire.ROUND, kept + bad))
    step("no_purpose", "a step without a purpose", purpose=b"")
    step("long_purpose", "a purpose of 65 characters", purpose=b"p" * 65)
    step("space", "a purpose with a space", purpose=b"up date")
    step("not_ascii", "a purpose that is not ASCII", purpose=b"\xc3\xbcber")


def uploads(found: Collection, made: CommitteeRound) -> None:
    rnd, data = made.round, made.blocks(0)

    def add(fault: str, why: str, head: wire.Head, error: str = "WireFormatError") -> None:
        found.add("upload", fault, why, wire.upload_bytes(rnd.id, head, data), error)

    head = made.heads[0]
    one, two, three = head.shares
    add(
        "share", "a bit of a sealed share differs", replace(head, shares=[one, flipped(two), three])
    )
    add(
        "shares_exchanged", "two members' shares exchanged", replace(head, shares=[two, one, three])
    )
    add("share_missing", "a member's share is missing", replace(head, shares=[one, two]))
    add("root", "a bit of the root differs", replace(head, part=flipped(head.part)))
    assert head.signature
    named = replace(head.signature, blocks_digest=wire.blocks_digest(data))
    add("blocks_digest", "a digest of the blocks beside a tag", replace(head, signature=named))
    other = replace(made.heads[1].signature, client=0)
    add(
        "signature_kind",
        "a signature of another kind than the client's",
        replace(head, signature=other),
        ROUND,
    )


def aggregates(found: Collection, made: CommitteeRound) -> None:
    rnd, total = made.round, made.total
    assert total.blocks is not None
    data = total.to_bytes()
    flag = len(total.manifest())
    found.patch("aggregate", "flag", "a flag that is neither 0 nor 1", flag, b"\x02")
    found.patch("aggregate", "no_shares", "says that shares are there no more", flag, b"\x00")
    short = replace(total, forwards=False).to_bytes()
    payload = short[16:-4]
    payload = payload[:flag] + b"\x01" + payload[flag + 1 :]
    found.add("aggregate", "shares_missing", "says that shares are there", resized(data, payload))
    (weight, first), *others = total.entries
    changed = replace(first, shares=[*first.shares[:2], flipped(first.shares[2])])
    entries = [(weight, changed), *others]
    altered = replace(total, entries=entries).to_bytes()
    found.add("aggregate", "share", "a bit of a sealed share differs", altered)
    bits = rnd.plan.field_bits
    fields = ring.unpack_rows(total.blocks, bits)
    for fault, why, step in [
        ("one_more", "one more in one digit of the sum: the tag tells", rnd.plan.delta),
        ("half", "half of the modulus on one coefficient", 1 << bits - 1),
    ]:
        moved = [(fields[0] + step) % (1 << bits), *fields[1:]]
        blocks = ring.pack_rows(moved, bits)
        spoilt = replace(total, blocks=blocks).to_bytes()
        found.add("aggregate", fault, why, spoilt, TAMPERED, "decrypt")


def requests(found: Collection, made: CommitteeRound) -> None:
    good = made.requests[0]
    data = good.to_bytes()

    def add(
        fault: str, why: str, error: str = "WireFormatError", step: str = "read", **changes: object
    ) -> None:
        request = replace(good, **changes)
        found.add("member_request", fault, why, request.to_bytes(), error, step)

    add("no_uploads", "no uploads", total=replace(good.total, entries=[]), parts=[], paths=[])
    add("other_round", "another round's id", ROUND, total=replace(good.total, round_id=bytes(32)))
    add("member", "a member beyond the committee", member=3)
    add("other_member", "another member's number", member=1)
    add("part", "a bit of a sealed share differs", parts=[flipped(good.parts[0]), *good.parts[1:]])
    other = made.requests[1].parts[0]
    add("other_part", "another member's sealed share", parts=[other, *good.parts[1:]])
    (path, *beside) = good.paths
    add("path", "a bit of a path differs", paths=[[flipped(path[0]), *path[1:]], *beside])
    add("short_path", "a digest of a path is missing", paths=[path[:-1], *beside])
    found.add("member_request", "trailing", "a byte too many", resized(data, data[16:-4] + b"\0"))
    found.patch("member_request", "count", "more uploads than bytes", 32, b"\xff\xff\xff\xff")
    first, second, third = good.total.entries
    one = {"total": replace(good.total, entries=[first]), "parts": good.parts[:1]}
    add("one_upload", "a sum of one upload", ROUND, "endorse", paths=[path], **one)
    heavy = replace(good.total, entries=[(2, first[1]), second])
    two = {"parts": good.parts[:2], "paths": good.paths[:2]}
    add("weighted", "a weight of two", ROUND, "endorse", total=heavy, **two)
    assert first[1].signature
    signature = replace(first[1].signature, signature=flipped(first[1].signature.signature))
    forged = replace(
        good.total, entries=[(1, replace(first[1], signature=signature)), second, third]
    )
    add("signature", "a client's signature does not hold", ROUND, "endorse", total=forged)
    clipped = replace(good.total, entries=[(1, replace(first[1], clipped=0)), second, third])
    add("clipped", "another clip count than was signed", ROUND, "endorse", total=clipped)
    stripped = replace(good.total, entries=[(1, replace(first[1], signature=None)), second, third])
    add("unsigned", "an upload that nobody signed", ROUND, "endorse", total=stripped)
    for fault, why, head in deviating(made):
        parts, paths = [head.shares[0]], [committee.tree.path(head.shares, 0)]
        total = replace(good.total, entries=[(1, head), second, third])
        changes = {"parts": parts + good.parts[1:], "paths": paths + good.paths[1:]}
        add(fault, why, "BadSharesError", "endorse", total=total, **changes)


def deviating(made: CommitteeRound) -> list[tuple[str, str, wire.Head]]:
    """Client 0 seals something else than a share to member 0, and signs it."""
    rnd, own = made.round, made.seeds(0)
    member = rnd.committee.members[0]
    name = identity.identity_id(member)
    info = sealed.share_info(rnd.id, 0, own["nonce"], 0, name)
    layout = rnd.sharing
    request = made.requests[0]
    _, head = request.total.entries[0]
    share = bytearray(sealed.unseal(made.members[0].kem, info, head.shares[0]))
    bits = layout.prime.bit_length()
    row = int.from_bytes(share[: layout.width * bits // 8], "little")

    def with_row(changed: int) -> bytes:
        return (
            changed.to_bytes(layout.width * bits // 8, "little") + share[layout.width * bits // 8 :]
        )

    mask = (1 << bits) - 1
    prime = struct.pack("<Q", layout.tag_prime)
    contents = {
        "element": ("a share's element is p", with_row(row & ~mask | layout.prime)),
        "filling": (
            "a place that fills up is not 0",
            with_row(row | 1 << (layout.width - 1) * bits),
        ),
        "tag_element": ("a share of the tag is P", bytes(share[:-32]) + prime + share[-24:]),
    }
    out = []
    for fault, (why, content) in contents.items():
        out.append((fault, why, info, bytes(content)))
    good = bytes(share)
    out += [
        (f"context_{what}", f"sealed as {why}", wrong, good)
        for what, why, wrong in [
            ("client", "another client's", sealed.share_info(rnd.id, 1, own["nonce"], 0, name)),
            ("member", "another member's", sealed.share_info(rnd.id, 0, own["nonce"], 1, name)),
            ("round", "of another round", sealed.share_info(bytes(32), 0, own["nonce"], 0, name)),
            ("nonce", "of another upload", sealed.share_info(rnd.id, 0, bytes(16), 0, name)),
        ]
    ]
    heads = []
    for fault, why, context, content in out:
        part = sealed.seal(
            identity.kem_key(member), context, content, randomness("deviating", fault)
        )
        shares = [part, *head.shares[1:]]
        unsigned = replace(head, part=committee.tree.root(shares), shares=shares, signature=None)
        heads.append((fault, why, made.sign(0, unsigned)))
    return heads


def endorsements(found: Collection, made: CommitteeRound) -> None:
    good = made.endorsements[0]
    data = good.to_bytes()

    def add(
        fault: str, why: str, error: str = "WireFormatError", step: str = "read", **changes: object
    ) -> None:
        one = replace(good, **changes)
        found.add("endorsement", fault, why, one.to_bytes(), error, step)

    add("other_round", "another round's id", ROUND, round_id=bytes(32))
    add("member", "a member beyond the committee", member=3)
    add("short", "a byte of the signature is missing", signature=good.signature[:-1])
    add("trailing", "a byte too many", signature=good.signature + b"\0")
    found.add("endorsement", "no_signature", "no signature", resized(data, data[16 : 16 + 68]))
    # Of the other member that signs with the same kind.
    add("other_member", "another member's number", ROUND, "certify", member=2)
    add("signature", "a signature that does not hold", ROUND, "certify", signature=bytes(64))
    other = committee.endorse(made.round, 0, made.members[0], bytes(32))
    found.add(
        "endorsement", "other_sum", "the word for another sum", other.to_bytes(), ROUND, "certify"
    )
    answer = made.answers[0].signature
    add("answers", "the signature of an answer", ROUND, "certify", signature=answer)


def certificates(found: Collection, made: CommitteeRound) -> None:
    good = made.certificate

    def add(fault: str, why: str, error: str = "WireFormatError", **changes: object) -> None:
        found.add("certificate", fault, why, replace(good, **changes).to_bytes(), error)

    words = good.words
    spare = (made.endorsements[0].member, made.endorsements[0].signature)
    add("no_uploads", "no uploads", total=replace(good.total, entries=[]))
    add("other_round", "another round's id", ROUND, total=replace(good.total, round_id=bytes(32)))
    add("one_word", "one member's word is missing", words=words[:-1])
    add("many_words", "one member's word too many", words=[*words, spare])
    add("member_twice", "one member's word twice", ROUND, words=[words[0], words[0]])
    add("member", "a member beyond the committee", words=[words[0], (3, spare[1])])
    wrong = (spare[0], bytes(64))
    add("signature", "a signature that does not hold", ROUND, words=[words[0], wrong])
    add("upload_missing", "the word for more uploads", ROUND,
        total=replace(good.total, entries=good.total.entries[:2]))  # fmt: skip
    (_, first), *others = good.total.entries
    clipped = [(1, replace(first, clipped=0)), *others]
    add("clipped", "the word for other heads", ROUND, total=replace(good.total, entries=clipped))
    add("twice", "one upload twice", ROUND,
        total=replace(good.total, entries=[(1, first), (1, first)]))  # fmt: skip
    add("names_blocks", "a digest of blocks beside a tag", named_blocks=bytes(32))


def answers(found: Collection, made: CommitteeRound) -> None:
    rnd, good = made.round, made.answers[0]
    layout, secret = rnd.sharing, made.members[0]

    def add(
        fault: str, why: str, error: str = "WireFormatError", step: str = "read", **changes: object
    ) -> None:
        one = replace(good, **changes)
        found.add("answer", fault, why, one.to_bytes(), error, step)

    def signed(
        fault: str, why: str, content: bytes, error: str, *, round_id: bytes = rnd.id
    ) -> None:
        info = sealed.answer_info(round_id, made.certified, 0)
        data = sealed.seal(rnd.reading_key, info, content, randomness("bad answer", fault))
        payload = committee.answer_payload(rnd, 0, made.certified, data)
        add(fault, why, error, "combine", sealed=data, signature=secret.sign(payload))

    add("other_round", "another round's id", ROUND, round_id=bytes(32))
    add("member", "a member beyond the committee", member=3)
    add("short", "a byte is missing", sealed=good.sealed[:-1])
    add("long", "a byte too many", sealed=good.sealed + b"\0")
    add("signature", "a signature that does not hold", ROUND, "combine", signature=bytes(64))
    add("other_member", "another member's number", ROUND, "combine", member=2)
    add("sealed", "other bytes than were signed", ROUND, "combine", sealed=flipped(good.sealed))
    payload = committee.answer_payload(rnd, 0, bytes(32), good.sealed)
    add("other_sum", "an answer for another sum", ROUND, "combine",
        certified=bytes(32), signature=secret.sign(payload))  # fmt: skip
    share = made.shares[0]
    right = share.answer(layout)
    signed("context", "sealed as of another round", right, ROUND, round_id=bytes(32))
    bits = layout.prime.bit_length()
    beyond = int.from_bytes(right[:bits], "little") & ~((1 << bits) - 1) | layout.prime
    signed("element", "an element is p", beyond.to_bytes(bits, "little") + right[bits:], ROUND)
    large = right[:-16] + struct.pack("<Q", layout.tag_prime) + right[-8:]
    signed("tag_element", "a share of the tag is P", large, ROUND)
    keys = [(c + layout.prime // 2) % layout.prime for c in share.keys]
    moved = replace(share, keys=keys).answer(layout)
    signed("beyond", "a share that leads beyond the bound of the sum", moved, TAMPERED)
    near = replace(share, tag=[(share.tag[0] + 1) % layout.tag_prime, share.tag[1]])
    signed("tag", "a wrong share of the tag: decryption tells", near.answer(layout), TAMPERED)


def challenges(found: Collection, made: CommitteeRound) -> None:
    rnd, good = made.round, made.opened[0]
    layout, secret = rnd.sharing, made.members[0]
    assert layout.tag_prime

    def add(
        fault: str, why: str, error: str = "WireFormatError", step: str = "read", **changes: object
    ) -> None:
        one = replace(good, **changes)
        found.add("challenge_answer", fault, why, one.to_bytes(), error, step)

    def word(place: int, value: int) -> bytes:
        return good.words[:place] + struct.pack("<Q", value) + good.words[place + 8 :]

    size = blame.combinations_bytes(layout)
    add("other_round", "another round's id", ROUND, round_id=bytes(32))
    add("member", "a member beyond the committee", member=3)
    add("empty", "opens no challenge", words=b"")
    add("short", "a byte is missing", words=good.words[:-1])
    add("long", "a byte too many", words=good.words + b"\0")
    add("flag", "a flag that is neither 0 nor 1", words=b"\2" + good.words[1:])
    add("closed", "words of a share that was not opened", words=b"\0" + good.words[1:])
    add("element", "an element is p", words=word(1, layout.prime))
    add("tag_element", "an element of the tag's field is P", words=word(size - 8, layout.tag_prime))
    add("signature", "a signature that does not hold", ROUND, "blame", signature=bytes(64))
    add("other_member", "another member's number", ROUND, "blame", member=2)
    add("words", "other words than were signed", ROUND, "blame", words=word(1, 0))
    add("answers", "the signature of an answer", ROUND, "blame",
        signature=made.answers[0].signature)  # fmt: skip
    for fault, why, certified, words in [
        ("other_sum", "of another sum", bytes(32), good.words),
        ("fewer", "of fewer uploads than the sum has", good.certified, good.words[:-size]),
        (
            "more",
            "of more uploads than the sum has",
            good.certified,
            good.words + good.words[:size],
        ),
    ]:
        payload = blame.challenge_payload(rnd, 0, certified, words)
        signature = secret.sign(payload)
        add(fault, why, ROUND, "blame", certified=certified, words=words, signature=signature)


def verdicts(found: Collection, made: CommitteeRound) -> None:
    opened, certificate = made.opened, made.certificate

    def add(fault: str, why: str, data: bytes, error: str = "WireFormatError") -> None:
        found.add("verdict", fault, why, data, error)

    good = blame.verdict_bytes(certificate, opened)
    inner = certificate.to_bytes()
    count = 8 + len(inner)
    found.patch("verdict", "length", "a certificate longer than the object", 0, b"\xff" * 8)
    found.patch("verdict", "short_length", "a certificate cut short", 0,
                struct.pack("<Q", len(inner) - 1))  # fmt: skip
    found.patch("verdict", "checksum", "the certificate's checksum does not fit", count - 1,
                bytes([inner[-1] ^ 1]))  # fmt: skip
    found.patch("verdict", "count", "more members than the committee has", count, BEYOND)
    found.patch("verdict", "beyond_count", "a member more than it says", count, b"\x02")
    found.add("verdict", "trailing", "a byte too many", resized(good, good[16:-4] + b"\0"))
    assert len(opened) == 3
    twice = good[16 : 16 + count] + struct.pack("<I", 2)
    first = struct.pack("<I", 0) + opened[0].signature + opened[0].words
    third = struct.pack("<I", 2) + opened[2].signature + opened[2].words
    add("twice", "one member twice", wire.seal(wire.VERDICT, twice + first + first))
    add("order", "members out of order", wire.seal(wire.VERDICT, twice + third + first))
    forged = [replace(opened[0], signature=bytes(64)), *opened[1:]]
    add("signature", "a member's signature does not hold",
        blame.verdict_bytes(certificate, forged), ROUND)  # fmt: skip
    bare = replace(certificate, words=[certificate.words[0], (0, bytes(64))])
    add("certificate", "a certificate that does not hold", blame.verdict_bytes(bare, opened), ROUND)
    (_, head), *others = certificate.total.entries
    assert head.signature
    unsigned = replace(head, signature=replace(head.signature, signature=bytes(64)))
    entries = [(1, unsigned), *others]
    theirs = replace(certificate, total=replace(certificate.total, entries=entries))
    add("client", "a client's signature does not hold", blame.verdict_bytes(theirs, opened), ROUND)


def sum_keys(found: Collection, made: CommitteeRound) -> None:
    key, prime = made.key, tag.prime_of(made.round.plan.base)
    assert key.tag

    def add(
        fault: str, why: str, error: str = "WireFormatError", step: str = "read", **changes: object
    ) -> None:
        found.add("sum_key", fault, why, replace(key, **changes).to_bytes(), error, step)

    add("tag_element", "a value of the tag is P", tag=(prime, key.tag[1]))
    add("no_tag", "no tag", tag=None)
    for e in range(2):
        values = list(key.tag)
        values[e] = (values[e] + 1) % prime
        add(f"tag_{e}", "a wrong tag", TAMPERED, "decrypt", tag=tuple(values))


def groups(found: Collection, made: CommitteeRound) -> None:
    good = made.group_keys()
    data = good.to_bytes()

    def add(fault: str, why: str, error: str, change) -> None:
        found.add("group", fault, why, made.group_keys(change).to_bytes(), error)

    def flip(place: int):
        parts = list(good.parts)
        parts[place] = flipped(parts[place])
        return lambda one: replace(one, parts=parts)

    def other(one: group.Group) -> group.Group:
        """Keys that are not those of the commitment."""
        assert made.group
        secrets = group.Secret(bytes(32), made.group.reading)
        one.parts = [
            sealed.seal(
                identity.kem_key(client),
                group.key_info(one.head, place),
                secrets.fields,
                randomness("other", place),
            )
            for place, client in enumerate(made.round.roster)
        ]
        return one

    found.add("group", "short", "a byte is missing", resized(data, data[16:-5]))
    found.add("group", "trailing", "a byte too many", resized(data, data[16:-4] + b"\0"))
    found.add("group", "empty", "no fields", resized(data, b""))
    found.patch("group", "maker", "a maker beyond the roster", 96, BEYOND)
    wrong = replace(good, signature=flipped(good.signature))
    found.add("group", "signature", "a signature that does not hold", wrong.to_bytes(), ROUND)
    named = replace(good, commitment=bytes(32))
    found.add("group", "commitment", "a commitment that nobody signed", named.to_bytes(), ROUND)
    add("other_roster", "made for another roster", KEY, lambda one: replace(one, roster=bytes(32)))
    add("other_training", "made for another training", KEY,
        lambda one: replace(one, training=bytes(32)))  # fmt: skip
    add("sealed", "what client 0 opens was altered", KEY, flip(0))
    add("other_keys", "other keys than those that were signed for", ROUND, other)


def holders(found: Collection, made: CommitteeRound) -> None:
    """One key holder's round with tags."""
    rnd, total = made.round, made.total
    (_, first), *others = total.entries
    prime = tag.prime_of(rnd.plan.base)

    def add(fault: str, why: str, head: wire.Head) -> None:
        data = replace(total, entries=[(1, head), *others]).request().to_bytes()
        found.add("opening_request", fault, why, data, ROUND, "open")

    large = made.sign(0, made.unsigned(0, (prime, 0)))
    add("tag_element", "a value of a sealed tag is P", large)
    own = made.seeds(0)
    stolen = wire.make_head(
        rnd, own["upload_seed"], own["nonce"], made.sender(0)[0], first.clipped, 1, made.tag(0)
    )
    add("other_client", "sealed as another client's", made.sign(0, stolen))
    add("signature", "a signature that does not hold", replace(
        first, signature=replace(first.signature, signature=flipped(first.signature.signature))
    ))  # fmt: skip
    short = replace(first, part=first.part[:-16])
    found.add("opening_request", "no_tag", "a sealed key without a tag",
              replace(total, entries=[(1, short), *others]).request().to_bytes())  # fmt: skip
    shown = replace(total.request(), evidence=b"\0" + bytes(32)).to_bytes()
    found.add("opening_request", "names_blocks", "a digest of blocks beside a tag", shown)


def servers(found: Collection, made: CommitteeRound) -> None:
    """Without tags: the blocks are certified."""
    other = replace(made.key, bound=bytes(32)).to_bytes()
    found.add("sum_key", "other_blocks", "of other blocks than these", other, TAMPERED, "decrypt")
    none = replace(made.key, bound=b"").to_bytes()
    found.add("sum_key", "no_blocks", "names no blocks", none)
    good = made.certificate
    bare = replace(good, named_blocks=b"").to_bytes()
    found.add("certificate", "no_blocks", "names no blocks", bare)
    moved = replace(good, named_blocks=bytes(32)).to_bytes()
    found.add("certificate", "other_blocks", "the word for other blocks", moved, ROUND)
    request = replace(made.requests[0], named_blocks=b"").to_bytes()
    found.add("member_request", "no_blocks", "names no blocks", request)


def bad_committee_objects(made: dict[str, CommitteeRound]) -> list:
    """All of them, from the good objects of these rounds."""
    rows = []
    for name, parts in {
        "clients_read": (
            rounds, uploads, aggregates, requests, endorsements, certificates, answers, challenges,
            verdicts, sum_keys, groups,
        ),
        "key_holder": (holders,),
        "server_reads": (servers,),
    }.items():  # fmt: skip
        found = Collection(made[name].objects(), f"committee/{name}")
        for part in parts:
            part(found, made[name])
        rows += found.rows
    return rows
