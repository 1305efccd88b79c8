"""The sum tag in encryption and decryption, against Python integers: hashes of what clients
encrypt, and the refusal of whatever an aggregator may make of their sum."""

import numpy as np
import pytest

core = pytest.importorskip("veilsum._core", reason="the core is not built")

from oracle import plans, ring, scheme, streams, tag, wire  # noqa: E402
from parties import PLANS, Stage, oracle_plan, values_of  # noqa: E402

DTYPES = ("float32", "float64", "float16", "bfloat16")
GROUP_KEY = streams.label_hash("test/group tag key", b"1")
OTHER_GROUP_KEY = streams.label_hash("test/group tag key", b"2")

#: A plan whose digits need the larger prime, and one whose digits are summed in 64-bit words.
LARGE = {
    "61 bits": {"clients": 100, "value_bits": 32, "weight_bits": 13},
    "wide digits": {"clients": 100, "value_bits": 32, "weight_bits": 4, "profile": "n8192"},
}
ALL_PLANS = {**PLANS, **LARGE}


def stage_of(door, arguments, size, **options):
    """Three segments of one vector; they begin and end anywhere."""
    first = size // 3 + 1
    segments = [(first, 1.0), (0, 1.0), (size - first, 0.25)]
    return Stage(door, arguments, segments, name=f"{arguments} {size}", **options)


def oracle_digits(stage, number, values, dtypes, weight=1.0, rounding="nearest"):
    """What the client's values become, without the ciphertext around them."""
    plan = stage.oracle_plan
    held = [
        v
        for piece, dtype in zip(stage.pieces(values, dtypes), dtypes, strict=True)
        for v in values_of(piece, dtype)
    ]
    runs = [
        scheme.Run(count, limit, dtype)
        for (count, limit), dtype in zip(stage.segments, dtypes, strict=True)
    ]
    words = None
    if rounding == "stochastic":
        words = scheme.rounding_words(
            plan, stage.oracle_round.id, stage.seeds(number)[1], len(held)
        )
    return scheme.quantise(plan, runs, held, weight, words)[0]


def oracle_hash(stage, digits):
    """h of all digits of a vector, by the wire format."""
    return list(tag.hash_of(stage.oracle_plan, stage.oracle_round.id, GROUP_KEY, digits))


def encrypt(stage, number, values, dtypes, **options):
    """(the core's upload, its hash)"""
    return stage.door.encrypt_tagged(
        stage.round,
        stage.round,
        GROUP_KEY,
        stage.pieces(values, dtypes),
        dtypes,
        stage.sealer(number),
        seeds=stage.seeds(number),
        **options,
    )


def size_of(plan_arguments, blocks, more):
    return blocks * oracle_plan(core.Plan(**plan_arguments)).block_capacity + more


# --- hashes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_PLANS)
def test_the_hash_of_every_plan(door, active_level, rng, name):
    plan = oracle_plan(core.Plan(**ALL_PLANS[name]))
    sizes = [1, 8 * plan.digits + 3, 700]
    if plan.degree == 2048:  # a whole block of the others is slow in Python
        sizes.append(plan.digits * plan.degree + 45)
    for size in sizes:
        stage = stage_of(door, ALL_PLANS[name], size, upload_keys=rng.choice((1, 2, 3)))
        values = stage.update(rng)
        dtypes = [rng.choice(DTYPES) for _ in stage.segments]
        weight = rng.choice((1.0, 0.3, -1.7))
        rounding = rng.choice(("nearest", "stochastic"))
        options = {"weight": weight, "rounding": rounding}
        expected = oracle_hash(stage, oracle_digits(stage, 1, values, dtypes, **options))
        plain = stage.encrypt(1, values, dtypes, **options)
        for threads in (1, 3):
            upload, found = encrypt(stage, 1, values, dtypes, threads=threads, **options)
            assert found == expected
            assert upload.to_bytes() == plain.to_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_the_hash_of_every_dtype(door, active_level, rng, dtype, rounding):
    stage = stage_of(door, PLANS["n2048"], size_of(PLANS["n2048"], 2, 1001), upload_keys=2)
    values = stage.update(rng, spread=1.3)
    dtypes = [dtype] * len(stage.segments)
    expected = oracle_hash(stage, oracle_digits(stage, 2, values, dtypes, rounding=rounding))
    for threads in (1, 2, 4):
        assert encrypt(stage, 2, values, dtypes, rounding=rounding, threads=threads)[1] == expected


def test_pads_and_files_give_the_same_hash(door, active_level, rng, tmp_path):
    stage = stage_of(door, PLANS["n2048"], size_of(PLANS["n2048"], 3, 77), upload_keys=2)
    values = stage.update(rng)
    dtypes = ["float32", "float64", "float16"]
    upload, expected = encrypt(stage, 1, values, dtypes)
    pads = door.pad_store_seeded(
        stage.round, budget_bytes=1 << 20, uploads=1, threads=1, seeds=[stage.seeds(1)]
    )
    assert pads.wait(60)
    ready, found = door.encrypt_tagged(
        stage.round,
        stage.round,
        GROUP_KEY,
        stage.pieces(values, dtypes),
        dtypes,
        stage.sealer(1),
        pads=pads,
    )
    assert (ready.to_bytes(), found) == (upload.to_bytes(), expected)

    sources = []
    for i, (piece, dtype) in enumerate(zip(stage.pieces(values, dtypes), dtypes, strict=True)):
        path = tmp_path / f"in{i}"
        path.write_bytes(piece.tobytes())
        sources.append((path, 0, dtype, len(piece)))
    for resume in (False, True):
        found = door.encrypt_file_tagged(
            stage.round,
            GROUP_KEY,
            sources,
            tmp_path / "out",
            stage.sealer(1),
            seeds=stage.seeds(1),
            resume=resume,
        )
        assert found == expected
        assert (tmp_path / "out").read_bytes() == upload.to_bytes()


def test_the_tag_of_an_upload(door, rng):
    for arguments in (PLANS["n2048"], LARGE["61 bits"]):
        stage = stage_of(door, arguments, 50)
        prime = tag.prime_of(stage.oracle_plan.base)
        key = tag.round_key(stage.oracle_round.id, GROUP_KEY)
        for _ in range(20):
            found = [rng.randrange(prime), rng.choice((0, 1, prime - 1))]
            client, nonce = rng.choice((0, 1, 2**32 - 1)), rng.randbytes(16)
            expected = tag.add(prime, tuple(found), tag.mask(prime, key, client, nonce))
            assert tuple(door.upload_tag(stage.round, GROUP_KEY, found, client, nonce)) == expected


# --- sums -----------------------------------------------------------------------------------------


class Sum:
    """A sum of tagged uploads, and everything that its reader has."""

    def __init__(self, door, rng, arguments, size, clients=2, upload_keys=1):
        self.stage = stage = stage_of(door, arguments, size, upload_keys=upload_keys)
        self.plan = stage.oracle_plan
        self.prime = tag.prime_of(self.plan.base)
        dtypes = ["float64"] * len(stage.segments)
        self.weights = [1] * clients
        if self.plan.weight_bits:
            self.weights = [self.plan.max_weight - clients + 1] + [1] * (clients - 1)
        updates = [stage.update(rng) for _ in range(clients)]
        made = [encrypt(stage, n, update, dtypes) for n, update in enumerate(updates)]
        self.hashes = [found for _, found in made]
        self.expected = [
            sum(w * found[e] for w, found in zip(self.weights, self.hashes, strict=True))
            % self.prime
            for e in range(2)
        ]
        weighted = any(w != 1 for w in self.weights)
        self.total = stage.sum_of([u for u, _ in made], self.weights if weighted else None)
        self.key = stage.open(self.total)
        self.blocks = scheme.split_blocks(self.plan, size, upload_keys, bytes(self.total.blocks))

    def key_for(self, blocks):
        """The key of whoever opened these blocks: only the tag can tell them from the sum."""
        if blocks is None:
            return self.key
        manifest = self.total.to_bytes()[16 : -4 - len(bytes(self.total.blocks))]
        altered = wire.seal(wire.AGGREGATE, manifest + b"".join(blocks))
        return self.stage.open(core.Aggregate.from_bytes(altered, self.stage.round))

    def decrypt(self, blocks=None, expected=None, group_key=GROUP_KEY, dtype=np.float64, **options):
        out = np.full(self.stage.size, 7, dtype=dtype)
        try:
            self.stage.door.decrypt_tagged(
                self.key_for(blocks),
                self.total,
                b"".join(blocks or self.blocks),
                self.stage.round,
                group_key,
                expected or self.expected,
                out,
                **options,
            )
        except core.VeilsumError:
            assert not out.any()
            raise
        return out

    def changed(self, changes):
        """The blocks after changes: {block: f(list of fields) -> list of fields}, modulo 2^B."""
        blocks = list(self.blocks)
        for number, change in changes.items():
            fields = change(ring.unpack_rows(blocks[number], self.plan.field_bits))
            modulus = 1 << self.plan.field_bits
            blocks[number] = ring.pack_rows([f % modulus for f in fields], self.plan.field_bits)
        return blocks

    def refuses(self, blocks):
        with pytest.raises(core.TamperedSumError) as raised:
            self.decrypt(blocks)
        return str(raised.value)


@pytest.mark.parametrize("name", ALL_PLANS)
def test_a_sum_holds_with_its_tag_and_with_no_other(door, active_level, rng, name):
    made = Sum(door, rng, ALL_PLANS[name], 900, upload_keys=2)
    plain = core.decrypt(made.key, made.total, dtype="float64")
    for threads in (1, 2):
        assert made.decrypt(threads=threads).tobytes() == plain.tobytes()
    narrow = made.decrypt(dtype=np.float32)
    assert narrow.tobytes() == core.decrypt(made.key, made.total, dtype="float32").tobytes()
    texts = set()
    for e in range(2):
        for step in (1, made.prime - 1):
            wrong = list(made.expected)
            wrong[e] = (wrong[e] + step) % made.prime
            with pytest.raises(core.TamperedSumError) as raised:
                made.decrypt(expected=wrong)
            texts.add(str(raised.value))
    with pytest.raises(core.TamperedSumError) as raised:
        made.decrypt(group_key=OTHER_GROUP_KEY)
    texts.add(str(raised.value))
    top = 1 << (made.plan.field_bits - 1)
    texts.add(made.refuses(made.changed({0: lambda f: [f[0] ^ top, *f[1:]]})))
    assert len(texts) == 1  # whatever is wrong


def constants(plan):
    """What an aggregator may add to a message: to each digit, to all of them, to bits beyond 64."""
    t = plan.base
    out = {t**d for d in range(plan.digits)}
    out |= {sum(t**d for d in range(plan.digits)), -1, t - 1, tag.prime_of(t)}
    out |= {1 << bit for bit in (50, 61, 64, 65, 100, 128, 160) if 1 << bit < t**plan.digits}
    return sorted(out)


@pytest.mark.parametrize("name", ALL_PLANS)
def test_added_constants(door, rng, name):
    """The change an aggregator would like best: the same to every value, or to one. What wraps out
    of range is refused, too; all by one text."""
    made = Sum(door, rng, ALL_PLANS[name], 300)
    delta = made.plan.delta
    texts = set()
    beyond = 0
    for constant in constants(made.plan):
        beyond += constant >= 1 << 64
        everywhere = made.changed({0: lambda f, c=constant: [x + delta * c for x in f]})
        one = made.changed({0: lambda f, c=constant: [f[0] + delta * c, *f[1:]]})
        texts |= {made.refuses(everywhere), made.refuses(one)}
    assert len(texts) == 1
    assert (beyond > 0) == (made.plan.base**made.plan.digits > 1 << 64)
    made.decrypt()  # of blocks that nobody changed


def test_what_does_not_change_the_digits_is_no_change(door, rng):
    made = Sum(door, rng, PLANS["n2048"], 300)
    plain = made.decrypt()
    spare = made.plan.delta // 2 - made.plan.noise_bound
    assert spare >= 0
    blocks = made.changed({0: lambda f: [x + spare for x in f]})
    assert made.decrypt(blocks).tobytes() == plain.tobytes()
    # The noise of these seeds leaves the last step open: one more at least must turn a digit.
    further = made.changed({0: lambda f: [x + made.plan.delta for x in f]})
    made.refuses(further)


@pytest.mark.parametrize("name", ["n2048", "n4096", "n8192-size", "n4096q48"])
def test_scaled_dropped_repeated_and_exchanged(door, rng, name):
    size = size_of(PLANS[name], 1, 300) if name == "n2048" else 900
    made = Sum(door, rng, PLANS[name], size, clients=3)
    blocks = len(made.blocks) - 1  # the last is a check block
    every = range(blocks)
    changes = [
        made.changed({b: lambda f: [2 * x for x in f] for b in every}),
        made.changed({b: lambda f: [-x for x in f] for b in every}),
        made.changed({b: lambda f: [0] * len(f) for b in every}),
        made.changed({0: lambda f: [f[1], f[0], *f[2:]]}),
        made.changed({0: lambda f: f[::-1]}),
    ]
    if blocks > 1:
        changes.append(made.changed({1: lambda f: [0] * len(f)}))
    for changed in changes:
        made.refuses(changed)


def test_changes_in_two_blocks_do_not_make_up_for_each_other(door, active_level, rng):
    made = Sum(door, rng, PLANS["n2048"], size_of(PLANS["n2048"], 2, 0))
    delta, t = made.plan.delta, made.plan.base
    for constant in (1, t, t - 1):
        up = {0: lambda f, c=constant: [f[0] + delta * c, *f[1:]]}
        down = {1: lambda f, c=constant: [f[0] - delta * c, *f[1:]]}
        made.refuses(made.changed(up))
        made.refuses(made.changed({**up, **down}))
    # Nor in one: a carry from digit to digit, t in one for one in the next, is no change of m.
    digits = scheme.decrypt_digits(
        made.plan,
        made.stage.oracle_round.seed,
        made.blocks,
        scheme.sum_keys([made.stage.oracle_keys(n) for n in range(2)], [1, 1]),
        made.stage.size,
    )
    assert made.expected == oracle_hash(made.stage, digits)
    # The digit below at its largest, one more: it becomes 0 and the next one grows.
    low = digits[0]
    carry = made.changed({0: lambda f: [f[0] + delta * (t - low), *f[1:]]})
    made.refuses(carry)


def test_all_zero_sums(door, rng):
    """Of blocks of the aggregator's making, under the true key: digits are what the pads say."""
    made = Sum(door, rng, PLANS["n2048"], 300)
    made.refuses([bytes(len(block)) for block in made.blocks])
    # And digits that are zero, which hash to zero: no upload has that hash, except by 2^-78.
    keys = scheme.sum_keys([made.stage.oracle_keys(n) for n in range(2)], [1, 1])
    zeros = scheme.encrypt_digits(
        made.plan,
        made.stage.oracle_round.id,
        made.stage.oracle_round.seed,
        [0] * made.stage.size,
        bytes(32),
        keys,
    )
    made.refuses(zeros)
    out = made.decrypt(zeros, expected=[0, 0])  # it was the tag that refused
    assert np.allclose(out, -np.repeat([1.0, 0.25], [101, 199]))


def test_a_tag_key_of_another_round(door, rng):
    made = Sum(door, rng, PLANS["n2048"], 300)
    other = stage_of(door, PLANS["n2048"], 301)
    out = np.full(300, 7.0)
    with pytest.raises(core.RoundError, match="tag key"):
        door.decrypt_tagged(
            made.key,
            made.total,
            bytes(made.total.blocks),
            other.round,
            GROUP_KEY,
            made.expected,
            out,
        )
    assert (out == 7).all()
    values = made.stage.update(rng)
    with pytest.raises(core.RoundError, match="tag key"):
        door.encrypt_tagged(
            made.stage.round,
            other.round,
            GROUP_KEY,
            made.stage.pieces(values, ["float64"] * 3),
            ["float64"] * 3,
            made.stage.sealer(1),
            seeds=made.stage.seeds(1),
        )


def test_from_file_to_file(door, rng, tmp_path):
    made = Sum(door, rng, PLANS["n4096"], 900)
    made.total.save(tmp_path / "total")
    total = core.AggregateFile(tmp_path / "total", made.stage.round)
    target = tmp_path / "out"
    for resume in (False, True):
        target.write_bytes(b"old")
        for group_key, expected in (
            (OTHER_GROUP_KEY, made.expected),
            (GROUP_KEY, [made.expected[1], made.expected[0]]),
        ):
            with pytest.raises(core.TamperedSumError):
                door.decrypt_file_tagged(
                    made.key, total, target, group_key, expected, resume=resume
                )
            assert target.read_bytes() == b"old"
            assert {p.name for p in tmp_path.iterdir()} == {"total", "out"}
        door.decrypt_file_tagged(made.key, total, target, GROUP_KEY, made.expected, resume=resume)
        plain = core.decrypt(made.key, made.total, dtype="float32")
        assert target.read_bytes() == plain.tobytes()
        assert {p.name for p in tmp_path.iterdir()} == {"total", "out"}


def test_every_profile_is_covered():
    seen = {core.Plan(**arguments).profile for arguments in ALL_PLANS.values()}
    assert seen == set(plans.RINGS)
    bases = [core.Plan(**arguments).base for arguments in ALL_PLANS.values()]
    assert any(base > tag.PRIMES[0] for base in bases)
    assert any(1 << 32 < base < tag.PRIMES[0] for base in bases)
