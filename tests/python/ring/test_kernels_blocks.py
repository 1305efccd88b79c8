"""Block kernels of every level: encrypt, decrypt, sum, pack, unpack, against Python integers."""

import functools

import numpy as np
import pytest

from oracle import ring, streams

# (n, limbs, message bits, plane bits): every modulus, one to seven planes, from the plans that use
# them: 10 clients at 16 bits (w = 20), 1000 at 32 bits (w = 42), 3 at 4 bits (w = 6), capsules.
GEOMETRIES = [
    (2048, 1, 40, 40),
    (2048, 1, 20, 20),
    (2048, 1, 42, 42),
    (2048, 1, 10, 9),
    (4096, 1, 40, 40),
    (4096, 2, 84, 42),
    (4096, 2, 80, 40),
    (4096, 2, 78, 48),
    (8192, 2, 80, 40),
    (8192, 4, 180, 40),
    (8192, 4, 186, 48),
    (8192, 4, 168, 42),
    (8192, 4, 189, 27),
    (16384, 4, 180, 40),
]
LENGTHS = [8, 16, 24, 32, 40, 48, 56, 64, 72, 128, 136]


@functools.cache
def geometry_of(door, n, limbs, message_bits, plane_bits):
    return door.Geometry(n, limbs, message_bits, plane_bits)


@pytest.fixture(params=GEOMETRIES, ids=lambda g: f"{g[0]}x{g[1]}-{g[2]}in{g[3]}")
def shape(request):
    return request.param


class Numbers:
    """What a geometry's numbers must be."""

    def __init__(self, shape):
        self.n, self.limbs, self.message_bits, self.plane_bits = shape
        self.moduli = ring.primes()[: self.limbs]
        self.big_q = 1
        for q in self.moduli:
            self.big_q *= q
        self.delta = self.big_q >> self.message_bits
        self.planes = -(-self.message_bits // self.plane_bits)

    def scale(self, plane):
        return self.delta << plane * self.plane_bits

    def digits(self, x):
        """floor((x + Delta / 2 mod Q) / Delta) by planes, the highest taking what is left."""
        quotient = (x + self.delta // 2) % self.big_q // self.delta
        low = [
            quotient >> p * self.plane_bits & ((1 << self.plane_bits) - 1)
            for p in range(self.planes - 1)
        ]
        return [*low, quotient >> (self.planes - 1) * self.plane_bits]


def words(value):
    return [value >> 52 * i & (1 << 52) - 1 for i in range(4)]


def test_constants(door, shape):
    numbers = Numbers(shape)
    constants = geometry_of(door, *shape).constants()
    assert tuple(constants["moduli"]) == numbers.moduli
    assert constants["planes"] == numbers.planes
    assert constants["modulus_words"] == words(numbers.big_q)
    assert constants["half_delta"] == words(numbers.delta // 2)
    for p in range(numbers.planes):
        assert constants["divisors"][p] == words(numbers.scale(p))
        # 1 / D computed from the nearest double of D: within two roundings of the true value.
        true = 1 / numbers.scale(p)
        assert abs(constants["reciprocals"][p] - true) <= 2.0**-51 * true
        for limb, q in enumerate(numbers.moduli):
            assert constants["scales"][limb][p] == numbers.scale(p) % q


def lazy(rng, moduli, length, kind):
    """Pads in [0, 2q): extremes or random."""
    choose = {
        "zero": lambda q: 0,
        "largest": lambda q: 2 * q - 1,
        "edges": lambda q: rng.choice((0, 1, q - 22, q - 1, q, q + 1, 2 * q - 22, 2 * q - 1)),
        "random": lambda q: rng.randrange(2 * q),
    }[kind]
    return [[choose(q) for _ in range(length)] for q in moduli]


def test_encrypt_block(door, isa_level, shape, rng):
    numbers = Numbers(shape)
    geometry = geometry_of(door, *shape)
    for turn, length in enumerate([*LENGTHS, 1024]):
        kind = ("random", "edges", "largest", "zero")[turn % 4]
        stride = length + rng.choice((0, 8, 64))
        pads = lazy(rng, numbers.moduli, stride, kind)
        top = (1 << numbers.plane_bits) - 1
        planes = [
            [rng.choice((0, 1, top, rng.randrange(top + 1))) for _ in range(stride)]
            for _ in range(numbers.planes)
        ]
        key = rng.randbytes(32)
        index = rng.getrandbits(64)
        out = door.encrypt_block(
            isa_level,
            geometry,
            np.array(pads, dtype=np.uint64),
            np.array(planes, dtype=np.uint64),
            door.aes_round_keys(key),
            index,
            length,
        )
        errors = streams.cbd(key, index, length)
        expected = b"".join(
            ring.pack(
                [
                    (
                        pads[limb][j]
                        + errors[j]
                        + sum(planes[p][j] * numbers.scale(p) for p in range(numbers.planes))
                    )
                    % q
                    for j in range(length)
                ]
            )
            for limb, q in enumerate(numbers.moduli)
        )
        assert out == expected


def test_add_message(door, isa_level, shape, rng):
    """In place onto packed residues, at 0, 1 and q - 1 too."""
    numbers = Numbers(shape)
    geometry = geometry_of(door, *shape)
    top = (1 << numbers.plane_bits) - 1
    for length in [*LENGTHS, 1024]:
        residues = [
            [rng.choice((0, 1, q - 2, q - 1, rng.randrange(q))) for _ in range(length)]
            for q in numbers.moduli
        ]
        planes = [
            [rng.choice((0, 1, top, rng.randrange(top + 1))) for _ in range(length + 8)]
            for _ in range(numbers.planes)
        ]
        out = door.add_message(
            isa_level,
            geometry,
            b"".join(ring.pack(row) for row in residues),
            np.array(planes, dtype=np.uint64),
        )
        added = [
            sum(planes[p][j] * numbers.scale(p) for p in range(numbers.planes))
            for j in range(length)
        ]
        assert out == b"".join(
            ring.pack([(row[j] + added[j]) % q for j in range(length)])
            for row, q in zip(residues, numbers.moduli, strict=True)
        )


def interesting_phases(numbers, rng, length):
    """Integers X in [0, Q) around every place where the division could slip by one."""
    big_q, delta, half = numbers.big_q, numbers.delta, numbers.delta // 2
    top = big_q // delta
    edges = [0, 1, half, half + 1, big_q - 1, big_q - half - 1, big_q - half, big_q - 2]
    for quotient in (1, 2, top - 1, top, top // 2, rng.randrange(1, top + 1)):
        for nudge in (-1, 0, 1):
            edges.append((quotient * delta - half + nudge) % big_q)
    for p in range(1, numbers.planes):
        for nudge in (-1, 0, 1):
            edges.append((numbers.scale(p) - half + nudge) % big_q)
            edges.append((3 * numbers.scale(p) - half + nudge) % big_q)
    while len(edges) < length:
        edges.append(
            rng.choice(
                (
                    rng.randrange(big_q),
                    (rng.randrange(top + 1) * delta - half + rng.choice((-1, 0, 1))) % big_q,
                )
            )
        )
    rng.shuffle(edges)
    return edges[:length]


def test_decrypt_block_divides_exactly(door, isa_level, shape, rng):
    """Every X, not only honest ones: the quotient of floor division, digit by digit."""
    numbers = Numbers(shape)
    geometry = geometry_of(door, *shape)
    for turn, length in enumerate([*LENGTHS, 1024]):
        phases = interesting_phases(numbers, rng, length)
        kind = ("random", "edges", "largest", "zero")[turn % 4]
        pads = lazy(rng, numbers.moduli, length + rng.choice((0, 8, 64)), kind)
        packed = b"".join(
            ring.pack([(x + pads[limb][j]) % q for j, x in enumerate(phases)])
            for limb, q in enumerate(numbers.moduli)
        )
        out = door.decrypt_block(isa_level, geometry, packed, np.array(pads, dtype=np.uint64))
        expected = [numbers.digits(x) for x in phases]
        assert out.T.tolist() == expected


@pytest.mark.slow
def test_decrypt_block_divides_exactly_a_million_times(door, isa_level, shape, rng):
    numbers = Numbers(shape)
    geometry = geometry_of(door, *shape)
    zero = np.zeros((numbers.limbs, 1024), dtype=np.uint64)
    for _ in range(1_000_000 // 1024 // len(GEOMETRIES)):
        phases = interesting_phases(numbers, rng, 1024)
        packed = b"".join(ring.pack([x % q for x in phases]) for q in numbers.moduli)
        out = door.decrypt_block(isa_level, geometry, packed, zero)
        assert out.T.tolist() == [numbers.digits(x) for x in phases]


def test_encrypt_then_decrypt_survives_the_largest_error(door, isa_level, shape, rng):
    """e = +-floor((Delta - 1) / 2) is still decoded; one more is not: the bound is tight."""
    numbers = Numbers(shape)
    geometry = geometry_of(door, *shape)
    limit = (numbers.delta - 1) // 2
    top = (1 << numbers.message_bits) - 1
    length = 64
    pads = np.zeros((numbers.limbs, length), dtype=np.uint64)
    messages = [rng.choice((0, 1, top, rng.randrange(top + 1))) for _ in range(length)]

    def decode(error):
        packed = b"".join(
            ring.pack([(numbers.delta * m + error) % q for m in messages]) for q in numbers.moduli
        )
        digits = door.decrypt_block(isa_level, geometry, packed, pads).T.tolist()
        return [sum(d << p * numbers.plane_bits for p, d in enumerate(column)) for column in digits]

    assert decode(limit) == messages
    assert decode(-limit) == messages
    assert decode(limit + 1 + numbers.delta % 2) != messages


SUM_COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65]


def rows_of(rng, q, count, length, kind):
    choose = {
        "largest": lambda: q - 1,
        "edges": lambda: rng.choice((0, 1, q - 1)),
        "random": lambda: rng.randrange(q),
    }[kind]
    return [[choose() for _ in range(length)] for _ in range(count)]


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_packed(door, isa_level, weighted, rng):
    for turn, count in enumerate(SUM_COUNTS):
        q = ring.primes()[turn % 4]
        length = rng.choice(LENGTHS)
        rows = rows_of(rng, q, count, length, ("random", "largest", "edges")[turn % 3])
        weights = None
        if weighted:
            weights = [rng.randrange(1 << 20) // count for _ in range(count)]
            weights[rng.randrange(count)] = rng.choice((0, 1, (1 << 20) // count))
        in_place = rng.choice((None, 0, count - 1))
        valid, out = door.sum_packed(
            isa_level, [ring.pack(row) for row in rows], weights, q, in_place
        )
        assert valid
        factors = weights or [1] * count
        expected = [
            sum(w * x for w, x in zip(factors, column, strict=True)) % q
            for column in zip(*rows, strict=True)
        ]
        assert ring.unpack(out) == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_sum_packed_of_every_length(door, isa_level, length, rng):
    q = ring.primes()[0]
    rows = rows_of(rng, q, 3, length, "random")
    for weights in (None, [3, 0, 1 << 19]):
        valid, out = door.sum_packed(isa_level, [ring.pack(r) for r in rows], weights, q)
        assert valid
        factors = weights or [1, 1, 1]
        assert ring.unpack(out) == [
            sum(w * x for w, x in zip(factors, c, strict=True)) % q for c in zip(*rows, strict=True)
        ]


@pytest.mark.parametrize("count", [1000, 8192])
def test_sum_packed_of_many_largest_residues(door, isa_level, count):
    """8192 sources of q - 1: the sum must be reduced before it overflows."""
    q = ring.primes()[3]
    row = ring.pack([q - 1] * 16)
    valid, out = door.sum_packed(isa_level, [row] * count, None, q)
    assert valid
    assert ring.unpack(out) == [-count % q] * 16


@pytest.mark.parametrize(
    "weights", [[1 << 20], [1 << 19, 1 << 19], [(1 << 20) - 1, 1], [128] * 8192]
)
def test_sum_packed_of_the_largest_weights(door, isa_level, weights):
    q = ring.primes()[0]
    row = ring.pack([q - 1] * 8)
    valid, out = door.sum_packed(isa_level, [row] * len(weights), weights, q)
    assert valid
    assert ring.unpack(out) == [-sum(weights) % q] * 8


@pytest.mark.parametrize("length", [8, 16, 24, 64, 72])
def test_sum_packed_refuses_every_residue_not_below_q(door, isa_level, length, rng):
    q = ring.primes()[2]
    good = [ring.pack(row) for row in rows_of(rng, q, 3, length, "random")]
    for place in range(length):
        for value in (q, (1 << 50) - 1):
            row = [rng.randrange(q) for _ in range(length)]
            row[place] = value
            for source in range(3):
                sources = list(good)
                sources[source] = ring.pack(row)
                for weights in (None, [1, 2, 3]):
                    assert not door.sum_packed(isa_level, sources, weights, q)[0]
    assert not door.sum_packed(isa_level, [ring.pack([q] * length)], None, q)[0]
    # A weight of zero does not excuse a source.
    assert not door.sum_packed(isa_level, [good[0], ring.pack([q] * length)], [1, 0], q)[0]


@pytest.mark.parametrize("length", [*LENGTHS, 2048, 2056])
def test_pack_and_unpack(door, isa_level, length, rng):
    for q in ring.primes():
        for kind in ("random", "largest", "edges"):
            (row,) = rows_of(rng, q, 1, length, kind)
            packed = door.pack(isa_level, np.array(row, dtype=np.uint64))
            assert packed == ring.pack(row)
            valid, out = door.unpack(isa_level, packed, q)
            assert valid
            assert out.tolist() == row


@pytest.mark.parametrize("length", [8, 16, 24, 64, 72])
def test_unpack_refuses_every_residue_not_below_q(door, isa_level, length, rng):
    q = ring.primes()[1]
    for place in range(length):
        for value in (q, q + 1, (1 << 50) - 1):
            row = [rng.randrange(q) for _ in range(length)]
            row[place] = value
            assert not door.unpack(isa_level, ring.pack(row), q)[0]
        row[place] = q - 1
        assert door.unpack(isa_level, ring.pack(row), q)[0]
