"""Hybrid aggregation: the most sensitive coordinates encrypted, the rest in the clear.

Layer: Python API, over rounds, keys and errors. Equation 4 of the paper with an indicator for
each coordinate: it travels either encrypted or plain, the same for all clients of a round. This
module chooses the coordinates (`Mask`), splits and merges vectors, seals plain parts, and turns a
link's budget into a fraction; it knows nothing of training. What a plain part reveals is the values
in it: encrypting everything is the default everywhere, and the safe choice.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilsum import _core
from veilsum.arguments import check_values, check_whole, shown, type_name
from veilsum.errors import ParameterError, RoundError, WireFormatError
from veilsum.keys.identity import Signer
from veilsum.keys.roster import Roster

__all__ = [
    "Mask",
    "PlainPart",
    "blend",
    "budget_fraction",
    "hybrid_layout",
    "named_coordinates",
    "noisy",
    "top_fraction",
]

_LABEL = b"veilsum/1/mask"
_SIGNED = b"veilsum/1/plain-part"
_HEAD = struct.Struct("<4sHBB32sIQ")
_MAGIC = b"VSPP"
_DTYPES = {1: "float32", 2: "bfloat16"}
_CODES = {name: code for code, name in _DTYPES.items()}
_WIDTHS = {"float32": 4, "bfloat16": 2}

Vector = NDArray[np.float64]


class Mask:
    """Which coordinates of a vector are encrypted.

    Immutable. Everybody derives it from the same opened numbers; its digest goes into the round's
    layout (`hybrid_layout`), so uploads made with different masks never sum.

    Parameters
    ----------
    encrypted : ndarray of bool, shape (size,)
        True where a coordinate is encrypted.

    Raises
    ------
    ParameterError
        When it is no vector of truth values.
    """

    def __init__(self, encrypted: NDArray[np.bool_]) -> None:
        bits = np.array(encrypted)
        if bits.ndim != 1 or bits.dtype != np.bool_ or not bits.size:
            raise ParameterError(
                f"a mask is a vector of truth values, at least one; got {bits.dtype} of shape "
                f"{bits.shape}"
            )
        bits.flags.writeable = False
        self._bits = bits
        packed = np.packbits(bits, bitorder="little").tobytes()
        self._digest = hashlib.sha256(_LABEL + struct.pack("<Q", bits.size) + packed).digest()

    @classmethod
    def everything(cls, size: int) -> Mask:
        """Return the mask that encrypts all coordinates.

        Parameters
        ----------
        size : int
            Number of coordinates.
        """
        if not 1 <= check_whole("size", size) <= 1 << 40:
            raise ParameterError(f"size is {shown(size)}; a mask has 1 to 2^40 coordinates")
        return cls(np.ones(size, dtype=np.bool_))

    @property
    def encrypted(self) -> NDArray[np.bool_]:
        """True where a coordinate is encrypted; read-only."""
        return self._bits

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return int(self._bits.size)

    @property
    def count(self) -> int:
        """Number of encrypted coordinates."""
        return int(np.count_nonzero(self._bits))

    @property
    def fraction(self) -> float:
        """Share of encrypted coordinates."""
        return self.count / self.size

    @property
    def digest(self) -> bytes:
        """32 bytes that name the mask."""
        return self._digest

    def split(self, vector: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the coordinates to encrypt and those that travel plain, each in order.

        Parameters
        ----------
        vector : ndarray, shape (size,)
            An update.

        Raises
        ------
        ParameterError
            When the length is another.
        """
        if vector.shape != (self.size,):
            raise ParameterError(
                f"the vector has shape {vector.shape}; the mask is for ({self.size},)"
            )
        return vector[self._bits], vector[~self._bits]

    def merge(self, encrypted: NDArray[Any], plain: NDArray[Any]) -> Vector:
        """Put the two parts back together, as `split` took them apart.

        Parameters
        ----------
        encrypted, plain : ndarray
            The parts, or sums of parts.

        Raises
        ------
        ParameterError
            When a length does not fit.
        """
        if encrypted.shape != (self.count,) or plain.shape != (self.size - self.count,):
            raise ParameterError(
                f"the parts have shapes {encrypted.shape} and {plain.shape}; the mask takes "
                f"{self.count} and {self.size - self.count} values"
            )
        whole = np.empty(self.size, dtype=np.float64)
        whole[self._bits] = encrypted
        whole[~self._bits] = plain
        return whole

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"<veilsum.Mask {self._digest.hex()[:16]}: {self.count} of {self.size} encrypted>"


def top_fraction(
    scores: NDArray[Any],
    fraction: float,
    *,
    always: NDArray[np.bool_] | None = None,
    never: NDArray[np.bool_] | None = None,
) -> Mask:
    """Choose the most sensitive coordinates.

    Parameters
    ----------
    scores : ndarray, shape (size,)
        Sensitivity of each coordinate, finite; the opened sum over the clients.
    fraction : float
        Share of all coordinates to encrypt, above 0 and at most 1; rounded up to whole coordinates.
    always, never : ndarray of bool, optional
        Coordinates that are encrypted, or plain, whatever their score. They count towards the
        fraction; what is left of it goes to the highest scores of the others, and of equal scores
        to the lower index.

    Raises
    ------
    ParameterError
        When a score is not finite, an argument is out of range, or a coordinate is in both.
    """
    scores = check_values("scores", scores)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ParameterError("sensitivities must be a vector of finite numbers, at least one")
    if not (math.isfinite(fraction) and 0 < fraction <= 1):
        raise ParameterError(
            f"the encrypted fraction is {shown(fraction)}; must be above 0, at most 1"
        )
    none = np.zeros(scores.size, dtype=np.bool_)
    always = none if always is None else always
    never = none if never is None else never
    if always.shape != scores.shape or never.shape != scores.shape:
        raise ParameterError("always and never must be as long as the sensitivities")
    if (always & never).any():
        raise ParameterError(
            f"coordinate {int(np.argmax(always & never))} is to be encrypted always and never"
        )
    wanted = math.ceil(fraction * scores.size - 1e-9)
    chosen = always.copy()
    open_to_choice = np.flatnonzero(~(always | never))
    left = min(max(wanted - int(np.count_nonzero(always)), 0), open_to_choice.size)
    # A stable sort of the negated scores: of equal ones, the lower index comes first.
    order = np.argsort(-scores[open_to_choice], kind="stable")[:left]
    chosen[open_to_choice[order]] = True
    return Mask(chosen)


def named_coordinates(sizes: Mapping[str, int], patterns: Iterable[str]) -> NDArray[np.bool_]:
    """Return the coordinates of tensors whose names match a pattern.

    Parameters
    ----------
    sizes : mapping of str to int
        Number of values of each tensor, in the vector's order.
    patterns : iterable of str
        Shell patterns, as "0.*" or "*.bias".

    Raises
    ------
    ParameterError
        When a pattern matches no tensor.
    """
    matched = dict.fromkeys(sizes, False)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ParameterError(f"a pattern is {type_name(pattern)}; patterns are texts")
        names = [name for name in sizes if fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise ParameterError(
                f"pattern {pattern!r} matches no tensor; tensors are {', '.join(sizes)}"
            )
        matched.update(dict.fromkeys(names, True))
    return np.concatenate([np.full(sizes[name], matched[name]) for name in sizes])


def hybrid_layout(mask: Mask) -> dict[str, Vector]:
    """Return the empty tensor that carries a mask's digest in a round's layout.

    Add it to the example that a round is made like: the digest then is part of the round's id, and
    so of every signature and sealed key.

    Parameters
    ----------
    mask : Mask
        The round's.
    """
    return {f"mask.{mask.digest.hex()}": np.zeros(0)}


@dataclass(frozen=True)
class PlainPart:
    """A client's values that travel in the clear, bound to a round and signed.

    Parameters
    ----------
    client : int
        Place in the round's roster.
    values : ndarray, float64
        As they arrived.
    """

    client: int
    values: Vector

    @staticmethod
    def seal(
        rnd: _core.Round, client: int, values: NDArray[Any], dtype: str, signer: Signer
    ) -> bytes:
        """Return the bytes of a plain part.

        Parameters
        ----------
        rnd : Round
            The round, with a roster and the mask's digest in its layout.
        client : int
            The signer's place in the roster.
        values : ndarray, shape (n,)
            Finite.
        dtype : {"float32", "bfloat16"}
            How they travel; rounded to nearest.
        signer : Signer
            The client's key.

        Raises
        ------
        ParameterError
            When a value is not finite as it travels, or the dtype is unknown.
        """
        if dtype not in _CODES:
            raise ParameterError(f"dtype is {shown(dtype)}; must be one of {', '.join(_CODES)}")
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(values, dtype="<f4")
        if not np.isfinite(single).all():
            raise ParameterError("a plain part has values that are not finite in float32")
        body = single.tobytes() if dtype == "float32" else _to_bfloat16(single).tobytes()
        head = _HEAD.pack(_MAGIC, 1, _CODES[dtype], 0, rnd.id, client, single.size)
        return head + body + signer.sign(_SIGNED + head + body)

    @classmethod
    def from_bytes(cls, data: bytes, rnd: _core.Round, count: int) -> PlainPart:
        """Read and check a plain part from untrusted bytes.

        Parameters
        ----------
        data : bytes
            What `seal` made.
        rnd : Round
            The round, with a roster.
        count : int
            How many values it must have.

        Raises
        ------
        WireFormatError
            When the bytes are malformed, have another number of values, or one is not finite.
        RoundError
            When they belong to another round, or the signature is not that of the client.
        """
        if len(data) < _HEAD.size:
            raise WireFormatError(f"a plain part of {len(data)} bytes is cut off")
        magic, version, code, zero, round_id, client, n = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != 1 or code not in _DTYPES or zero:
            raise WireFormatError("these bytes are no plain part of version 1")
        dtype = _DTYPES[code]
        if n != count:
            raise WireFormatError(f"a plain part has {n} values; the mask leaves {count}")
        if round_id != rnd.id:
            raise RoundError(f"a plain part belongs to round {round_id.hex()[:16]}, not this one")
        roster = rnd.roster
        if client >= len(roster):
            raise RoundError(
                f"client {client} of a plain part is not on the roster of {len(roster)} clients"
            )
        # How long a signature is, the signer's identity says.
        end = _HEAD.size + n * _WIDTHS[dtype]
        if len(data) != end + roster[client].signature_bytes:
            raise WireFormatError(f"a plain part of {n} {dtype} values has {len(data)} bytes")
        signed, signature = data[:end], data[end:]
        if not Roster.verify(roster[client].fields, signature, _SIGNED + signed):
            raise RoundError(f"the signature of client {client}'s plain part is wrong")
        body = signed[_HEAD.size :]
        if dtype == "float32":
            single = np.frombuffer(body, dtype="<f4")
        else:
            single = _from_bfloat16(np.frombuffer(body, dtype="<u2"))
        if not np.isfinite(single).all():
            raise WireFormatError("a plain part has values that are not finite")
        return cls(int(client), single.astype(np.float64))


def _to_bfloat16(single: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, ties to even; values that would overflow stay the largest."""
    bits = single.view(np.uint32)
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16
    overflow = (rounded & 0x7F80) == 0x7F80
    kept = np.where(overflow, (rounded & 0x8000) | 0x7F7F, rounded)
    return kept.astype("<u2")


def _from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def noisy(values: NDArray[Any], clip: float, noise_multiplier: float) -> Vector:
    """Clip a plain part to an L2 norm and add Gaussian noise, before it leaves the client.

    Local differential privacy of the plain part alone, one client's values replaced by zero: one
    round costs a zero-concentrated loss of 1 / (2 noise_multiplier^2). Noise is floating-point and
    seeded by the operating system.

    Parameters
    ----------
    values : ndarray
        Finite.
    clip : float
        Largest L2 norm, above 0.
    noise_multiplier : float
        Standard deviation of the noise over the clip, above 0.

    Raises
    ------
    ParameterError
        When an argument is out of range.
    """
    for name, number in (("clip", clip), ("noise_multiplier", noise_multiplier)):
        if not (math.isfinite(number) and number > 0):
            raise ParameterError(f"{name} is {shown(number)}; must be finite and above 0")
    vector = check_values("values", values)
    length = float(np.sqrt(np.vdot(vector, vector)))
    if not math.isfinite(length):
        raise ParameterError("the values to add noise to are not finite")
    factor = min(1.0, clip / length * (1 - 2.0**-40)) if length > 0 else 1.0
    generator = np.random.default_rng(secrets.randbits(256))
    return vector * factor + generator.normal(0.0, clip * noise_multiplier, vector.shape)


def blend(
    update: NDArray[Any],
    omega: float,
    *,
    public: bool = False,
    clip: float = 0.0,
    noise_multiplier: float = 0.0,
) -> tuple[Vector, Vector]:
    """Split an update by a scalar: equation 4 as printed.

    The part omega * update is to be encrypted, (1 - omega) * update travels plain; the sums of both
    over K clients, divided by sum(omega + 1 - omega) = K, are the mean.

    Warning: whoever reads the plain part and knows omega divides by 1 - omega and has the whole
    update; encrypting the other part then protects nothing. That is why a plain part needs a
    promise that the update is public anyway, or differentially private noise. Use `top_fraction`
    where something is to stay secret.

    Parameters
    ----------
    update : ndarray
        Finite.
    omega : float
        Share that is encrypted, from 0 to 1.
    public : bool
        The update may be known to everybody.
    clip, noise_multiplier : float
        Otherwise: noise for the plain part, as `noisy` adds it.

    Returns
    -------
    tuple of ndarray
        The part to encrypt, and the plain part.

    Raises
    ------
    ParameterError
        When omega is out of range, or a plain part would go out that is neither public nor noisy.
    """
    if not (math.isfinite(omega) and 0 <= omega <= 1):
        raise ParameterError(f"omega is {shown(omega)}; must be from 0 to 1")
    vector = check_values("update", update)
    plain = (1 - omega) * vector
    if omega < 1 and not public:
        if noise_multiplier <= 0:
            raise ParameterError(
                "with an omega below 1, the plain part hands over the whole update to whoever "
                "divides it by 1 - omega; encrypt everything (omega 1), add noise (clip and "
                "noise_multiplier), or say public=True for an update that everybody may know"
            )
        plain = noisy(plain, clip, noise_multiplier)
    return omega * vector, plain


def budget_fraction(
    values: int,
    bandwidth_bps: float,
    budget_s: float,
    *,
    encrypted_bytes: float,
    plain_bytes: float,
    fixed_bytes: float = 0.0,
) -> float:
    """Return the largest fraction that a link carries within a time.

    Parameters
    ----------
    values : int
        Number of values of an update.
    bandwidth_bps : float
        Of the client's link, in bits a second.
    budget_s : float
        Time for an upload, in seconds.
    encrypted_bytes, plain_bytes : float
        Bytes of one value, encrypted and plain.
    fixed_bytes : float
        What an upload has besides its values.

    Returns
    -------
    float
        From 0 to 1. It is 1 where an encrypted value is no larger than a plain one: then
        encrypting less saves nothing.

    Raises
    ------
    ParameterError
        When an argument is not finite and above 0.
    """
    for name, number in (
        ("values", values),
        ("bandwidth_bps", bandwidth_bps),
        ("budget_s", budget_s),
        ("encrypted_bytes", encrypted_bytes),
        ("plain_bytes", plain_bytes),
    ):
        if not (math.isfinite(number) and number > 0):
            raise ParameterError(f"{name} is {shown(number)}; must be finite and above 0")
    if encrypted_bytes <= plain_bytes:
        return 1.0
    room = bandwidth_bps * budget_s / 8 - fixed_bytes - values * plain_bytes
    return min(max(room / (values * (encrypted_bytes - plain_bytes)), 0.0), 1.0)
