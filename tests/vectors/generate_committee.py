"""The vectors of rounds with rosters: committees, tags, what members exchange; see generate.py."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from oracle import blame, committee, group, identity, scheme, sealed, streams, tag, wire
from oracle.plans import Plan

SEGMENTS = [(5, 1.0), (12, 0.25)]
#: As the Python package writes it.
LAYOUT = (
    b'{"kind":"mapping","layout":1,"library":"numpy",'
    b'"tensors":[["a","float32",[5]],["b","float64",[3,4]]]}'
)
#: Of the clients, who makes the group's keys: one whose signatures are always the same.
MAKER = 2
CLIENTS = 3
UPDATES = [
    [((7 * place + 3 * client) % 23 - 11) / 10 for place in range(17)] for client in range(CLIENTS)
]


@dataclass(frozen=True)
class Case:
    """One kind of round."""

    members: int | None  # as many as clients: they are the members; None: one key holder
    threshold: int
    upload_keys: int
    tagged: bool
    step: bool

    @property
    def plan(self) -> Plan:
        return Plan(CLIENTS, 16, 0, 128, "n2048")


CASES = {
    "clients_read": Case(3, 2, 1, True, True),
    "server_reads": Case(4, 3, 2, False, False),
    "key_holder": Case(None, 1, 1, True, False),
}


def seed(*parts: object) -> bytes:
    return streams.label_hash("veilsum vectors", repr(("committee", *parts)).encode())


def digest(data: bytes) -> str:
    return streams.hashlib.sha256(data).hexdigest()


def person(*name: object, post_quantum: bool = False) -> identity.Secret:
    """A party's secret keys."""
    parts = [seed("person", *name, part) for part in range(5)]
    lattice = parts[4] if post_quantum else b""
    return identity.Secret(parts[0], parts[1] + parts[2], parts[3], lattice)


def secrets_of(one: identity.Secret) -> dict:
    return {
        "ed25519_private": one.ed25519_private.hex(),
        "mlkem_seed": one.mlkem_seed.hex(),
        "x25519_private": one.x25519_private.hex(),
        "ml_dsa_seed": one.ml_dsa_seed.hex(),
    }


def kem_of(one: sealed.SecretKey) -> dict:
    return {"mlkem_seed": one.mlkem_seed.hex(), "x25519_private": one.x25519_private.hex()}


def randomness(*name: object) -> bytes:
    """The sender's, of something sealed."""
    return seed("m", *name) + seed("ephemeral", *name)


class Kept:
    """Signatures. ML-DSA's differ from call to call: one in the files that holds stays."""

    def __init__(self, known: Collection[str]):
        self.known = [bytes.fromhex(one) for one in sorted(known)]

    def by(self, signer: identity.Secret, message: bytes) -> bytes:
        if signer.ml_dsa_seed:
            for one in self.known:
                if identity.verify(signer.public, one, message):
                    return one
        return signer.sign(message)

    def signing(self, signer: identity.Secret) -> Signing:
        return Signing(signer, self)


@dataclass(frozen=True)
class Signing:
    """A party whose signatures are kept, where the oracle asks for its secret keys."""

    secret: identity.Secret
    kept: Kept

    def sign(self, message: bytes) -> bytes:
        return self.kept.by(self.secret, message)


class CommitteeRound:
    """Three uploads of one round, their sum, and all on the way to its key: from seeds."""

    def __init__(self, name: str, kept: Kept):
        self.name, self.kept, self.case = name, kept, CASES[name]
        case = self.case
        self.clients = [person("client", k, post_quantum=k == 1) for k in range(CLIENTS)]
        self.members: list[identity.Secret] = []
        self.holder = self.server = self.group = None
        rnd = wire.Round(
            case.plan,
            seed("round", name),
            SEGMENTS,
            b"",
            LAYOUT,
            roster=[one.public for one in self.clients],
            upload_keys=case.upload_keys,
        )
        if case.members is None:
            self.holder = person("holder", name).kem
            rnd.public = self.holder.public
        else:
            own = [person("member", k, post_quantum=k == 2) for k in range(case.members)]
            self.members = self.clients if case.members == CLIENTS else own
            listed = tuple(one.public for one in self.members)
            rnd.committee = wire.Committee(listed, case.threshold)
        if case.tagged:
            self.group = group.Secret(seed("tag key", name), person("reading", name).kem)
            rnd.group = self.group.commitment
        elif rnd.committee:
            self.server = person("server", name)
            rnd.reader = self.server.public
        if case.step:
            rnd.step = wire.Step(seed("training"), 41, b"update", seed("history"))
        self.round = rnd
        self.made = [self.encrypt(client) for client in range(CLIENTS)]
        self.heads = [self.head(client) for client in range(CLIENTS)]
        pairs = [(h, u.blocks) for h, u in zip(self.heads, self.made, strict=True)]
        self.total = wire.make_sum(rnd, pairs, [1] * CLIENTS)
        if not rnd.committee:
            assert self.holder
            self.key = wire.open_sum(rnd, self.holder, self.total)
            return
        count = len(self.members)
        self.requests = [committee.make_request(rnd, self.total, k) for k in range(count)]
        self.certified = self.requests[0].sum_digest(rnd)
        self.shares = [
            committee.open_shares(rnd, request, one)
            for request, one in zip(self.requests, self.members, strict=True)
        ]
        self.endorsements = [
            committee.endorse(rnd, k, kept.signing(one), self.certified)
            for k, one in enumerate(self.members)
        ]
        # Not the first ones: which members give their word is open.
        self.certificate = committee.certify(rnd, self.total, self.endorsements[::-1])
        self.answers = [
            committee.answer(
                rnd,
                k,
                kept.signing(one),
                self.certified,
                self.shares[k],
                randomness("answer", name, k),
            )
            for k, one in enumerate(self.members)
        ]
        self.key = committee.combine(rnd, self.certificate, self.answers, self.reader)
        self.opened = [
            blame.answer(
                rnd, k, kept.signing(one), self.certified, blame.open_challenges(rnd, request, one)
            )
            for k, (request, one) in enumerate(zip(self.requests, self.members, strict=True))
        ]

    @property
    def reader(self) -> sealed.SecretKey:
        if self.group:
            return self.group.reading
        assert self.server
        return self.server.kem

    def seeds(self, client: int) -> dict[str, bytes]:
        return {
            "upload_seed": seed("upload", self.name, client),
            "rounding_seed": seed("rounding", self.name, client),
            "nonce": seed("nonce", self.name, client)[:16],
        }

    def encrypt(self, client: int) -> scheme.Upload:
        return scheme.encrypt(
            self.case.plan,
            self.round.id,
            self.round.seed,
            [scheme.Run(count, limit) for count, limit in SEGMENTS],
            UPDATES[client],
            key_count=self.case.upload_keys,
            rounding=("nearest", "stochastic")[client % 2],
            upload_seed=self.seeds(client)["upload_seed"],
            rounding_seed=self.seeds(client)["rounding_seed"],
            tagged=self.case.tagged,
        )

    def tag(self, client: int) -> tuple[int, ...] | None:
        if not self.group:
            return None
        digits, nonce = self.made[client].digits, self.seeds(client)["nonce"]
        return tag.tag_of(self.case.plan, self.round.id, self.group.tag_key, digits, client, nonce)

    def sender(self, client: int) -> list[bytes]:
        """What a client seals with, to each receiver."""
        return [randomness("upload", self.name, client, k) for k in range(len(self.members) or 1)]

    def unsigned(self, client: int, own_tag: tuple[int, ...] | None) -> wire.Head:
        drawn, own = self.sender(client), self.seeds(client)
        return wire.make_head(
            self.round,
            own["upload_seed"],
            own["nonce"],
            drawn if self.round.committee else drawn[0],
            self.made[client].clipped,
            client,
            own_tag,
        )

    def blocks(self, client: int) -> bytes:
        return b"".join(self.made[client].blocks)

    def sign(self, client: int, head: wire.Head) -> wire.Head:
        signing = self.kept.signing(self.clients[client])
        return wire.sign(self.round, client, signing, head, self.blocks(client))

    def head(self, client: int) -> wire.Head:
        return self.sign(client, self.unsigned(client, self.tag(client)))

    def group_keys(self, change: Callable[[group.Group], group.Group] = lambda g: g) -> group.Group:
        """As their maker makes them; a change is signed."""
        assert self.group
        drawn = [randomness("group", self.name, k) for k in range(CLIENTS)]
        signing = self.clients[MAKER]
        made = group.make(self.group, MAKER, signing, self.round.roster, b"a training", drawn)
        changed = change(replace(made))
        if changed != made:
            changed.signature = signing.sign(group.signing_payload(changed.body))
        return changed

    def objects(self) -> dict[str, bytes]:
        """Each as it travels."""
        out = {"round": self.round.to_bytes()}
        for client, head in enumerate(self.heads):
            out[f"upload_{client}"] = wire.upload_bytes(self.round.id, head, self.blocks(client))
        out["aggregate"] = self.total.to_bytes()
        if self.group:
            out["group"] = self.group_keys().to_bytes()
        if self.round.committee:
            out["aggregate_for_readers"] = replace(self.total, forwards=False).to_bytes()
            for k, request in enumerate(self.requests):
                out[f"member_request_{k}"] = request.to_bytes()
                out[f"endorsement_{k}"] = self.endorsements[k].to_bytes()
                out[f"answer_{k}"] = self.answers[k].to_bytes()
                out[f"challenge_answer_{k}"] = self.opened[k].to_bytes()
            out["certificate"] = self.certificate.to_bytes()
            out["verdict"] = blame.verdict_bytes(self.certificate, self.opened)
        else:
            out["opening_request"] = self.total.request().to_bytes()
        out["sum_key"] = self.key.to_bytes()
        return out

    def upload_row(self, client: int) -> dict:
        rnd, head, made = self.round, self.heads[client], self.made[client]
        assert head.signature
        own, row = self.tag(client), {k: v.hex() for k, v in self.seeds(client).items()}
        row |= {
            "rounding": ("nearest", "stochastic")[client % 2],
            "digits": made.digits,
            "clipped": made.clipped,
            "tag": own and [str(value) for value in own],
            "randomness": [one.hex() for one in self.sender(client)],
            "upload_digest": head.digest.hex(),
            "head_digest": head.head_digest.hex(),
            "payload": wire.signing_payload(
                rnd.id, client, head, head.signature.blocks_digest
            ).hex(),
            "signature": head.signature.signature.hex(),
        }
        if rnd.committee:
            keys = scheme.upload_keys(
                rnd.plan, rnd.id, self.seeds(client)["upload_seed"], rnd.upload_keys
            )
            dealt = committee.sharing.deal(
                rnd.sharing, rnd.id, self.seeds(client)["upload_seed"], keys, own
            )
            row["shares"] = [
                {
                    "sha256": digest(share.to_bytes(rnd.sharing)),
                    "first": share.keys[:8],
                    "masks": share.masks,
                    "tag": [str(word) for word in share.tag],
                    "tag_masks": [str(word) for word in share.tag_masks],
                }
                for share in dealt
            ]
            row["root"] = head.part.hex()
        return row

    def row(self) -> dict:
        rnd, plan = self.round, self.case.plan
        digits = scheme.decrypt_digits(
            plan, rnd.seed, rnd.split(self.total.blocks), self.key.keys, rnd.size, rnd.tagged
        )
        assert digits == [sum(c) for c in zip(*(u.digits for u in self.made), strict=True)]
        if self.group:
            assert wire.tag_holds(rnd, self.key, self.total, self.group.tag_key, digits)
        out: dict = {
            "name": self.name,
            "plan": {
                "clients": plan.clients,
                "value_bits": plan.value_bits,
                "profile": plan.ring_name,
            },
            "upload_keys": rnd.upload_keys,
            "round_seed": rnd.seed.hex(),
            "round_id": rnd.id.hex(),
            "clients": [secrets_of(one) for one in self.clients],
            "uploads": [self.upload_row(client) for client in range(CLIENTS)],
            "manifest_digest": self.total.manifest_digest().hex(),
            "blocks_digest": wire.blocks_digest(self.total.blocks).hex(),
            "tag_sum": self.key.tag and [str(value) for value in self.key.tag],
            "summed_digits": digits,
            "mean_float32": [v.hex() for v in scheme.dequantise(plan, SEGMENTS, digits, CLIENTS)],
            "sha256": {name: digest(data) for name, data in self.objects().items()},
        }
        if self.group:
            out["group"] = {"tag_key": self.group.tag_key.hex(), **kem_of(self.group.reading)}
            out["group"]["signature"] = self.group_keys().signature.hex()
            out["group"]["randomness"] = [
                randomness("group", self.name, k).hex() for k in range(CLIENTS)
            ]
        if self.server:
            out["server"] = secrets_of(self.server)
        if self.holder:
            out["holder"] = kem_of(self.holder)
        if rnd.committee:
            layout = rnd.sharing
            out |= {
                "threshold": layout.threshold,
                "committee_id": rnd.committee.id.hex(),
                "prime": layout.prime,
                "masks": layout.masks,
                "members": [secrets_of(one) for one in self.members],
                "sum": self.certified.hex(),
                "endorsements": [
                    {
                        "payload": committee.endorsement_payload(rnd, k, self.certified).hex(),
                        "signature": one.signature.hex(),
                    }
                    for k, one in enumerate(self.endorsements)
                ],
                "answers": [
                    {
                        "randomness": randomness("answer", self.name, k).hex(),
                        "share_sha256": digest(self.shares[k].answer(layout)),
                        "payload": committee.answer_payload(
                            rnd, k, self.certified, one.sealed
                        ).hex(),
                        "signature": one.signature.hex(),
                    }
                    for k, one in enumerate(self.answers)
                ],
                "challenges": [
                    blame.challenge(self.total.manifest_digest(), client).hex()
                    for client in range(CLIENTS)
                ],
                "challenge_answers": [
                    {
                        "payload": blame.challenge_payload(rnd, k, self.certified, one.words).hex(),
                        "signature": one.signature.hex(),
                        "combinations": [
                            {"keys": of.keys, "tag": [str(word) for word in of.tag]}
                            for of in blame.read_words(layout, one.words)
                        ],
                    }
                    for k, one in enumerate(self.opened)
                ],
            }
        return out


def signatures_in(found: dict) -> set[str]:
    """All that committee.json has."""
    out = set()
    for row in found["rows"]:
        for part in ("uploads", "endorsements", "answers", "challenge_answers"):
            out |= {one["signature"] for one in row.get(part, [])}
    return out


def committee_vectors(made: dict[str, CommitteeRound]) -> dict:
    return {
        "what": "rounds with a roster: a committee whose clients read, one whose answers a server "
        "reads, and one key holder with tags; three seeded uploads of doubles each, their sum, and "
        "all that leads to its key; committee/<name>/ holds the objects. Client 1 and member 2, "
        "where members are others, sign with ML-DSA-65, too: that half differs from call to call. "
        "Client 2 made the group's keys, for the training 'a training'",
        "segments": [[count, limit.hex()] for count, limit in SEGMENTS],
        "layout": LAYOUT.decode(),
        "updates": [[v.hex() for v in update] for update in UPDATES],
        "rows": [one.row() for one in made.values()],
    }
