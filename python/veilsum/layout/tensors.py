"""Layouts: how the flat vector that a round sums is cut into named, shaped, typed tensors.

Layer: Python API, under rounds. A layout is agreed once, by whoever makes the round, and travels
inside the round as canonical JSON, so that every client lays its values out in the same order and
whoever decrypts gets names, shapes and dtypes back. This module looks at arrays and tensors, never
at ciphertexts or keys. torch is never imported for a NumPy user: an object can only be a tensor
when its owner has imported torch already.

Canonical JSON means: ASCII, sorted keys, no white space, integers only, no duplicate keys. Bytes
from outside are parsed and written again; if the two differ, they are refused.
"""

from __future__ import annotations

import json
import math
import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from veilsum.arguments import counted, shown, type_name
from veilsum.errors import ParameterError, WireFormatError, about_update, missing_extra
from veilsum.layout.structures import (
    TreePath,
    check_paths,
    flatten,
    is_nested,
    path_name,
    unflatten,
)

__all__ = ["BFLOAT16", "Layout", "NamedTensors", "TensorSpec"]

Kind: TypeAlias = Literal["flat", "array", "mapping", "tree"]
Library: TypeAlias = Literal["numpy", "torch"]
Array: TypeAlias = npt.NDArray[Any]

#: How a bfloat16 array looks in NumPy when the package ml_dtypes is not loaded: one field of raw
#: bits. ``array.view(numpy.uint16)`` gives the bits.
BFLOAT16: Final[np.dtype[Any]] = np.dtype([("bfloat16", "<u2")])

_FLOATS: Final = ("float32", "float64", "float16", "bfloat16")
_NATIVE: Final = {np.dtype(name): name for name in ("float32", "float64", "float16")}
_VERSION: Final = 1
_MAX_DIMENSIONS: Final = 64
_MAX_EXTENT: Final = 1 << 40  # as many values as the core lets a round have
_MAX_METADATA: Final = 1 << 16  # bytes of JSON; every client and the aggregator carry them
_MIN_LIMIT, _MAX_LIMIT = 1e-290, 1e290  # the core's: a step and its inverse are normal numbers


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a layout.

    Attributes
    ----------
    name : str
        Its key in the state_dict; empty for a layout of a single array.
    dtype : str
        "float32", "float64", "float16" or "bfloat16".
    shape : tuple of int
        Its extents; empty for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many values it holds (1 for a scalar, 0 when an extent is 0)."""
        return math.prod(self.shape)


class NamedTensors(dict[str, Array]):
    """Arrays by name, as a .safetensors file holds them, and what the file says of itself.

    Attributes
    ----------
    metadata : dict of str to str
        The file's ``__metadata__``.
    """

    def __init__(self, metadata: Mapping[str, str] | None = None) -> None:
        """Start without arrays.

        Parameters
        ----------
        metadata : mapping of str to str, optional
            What the file says of itself.
        """
        super().__init__()
        self.metadata = dict(metadata or {})


class _Leaf(NamedTuple):
    """An array or tensor as the caller gave it, with what Veilsum needs to know of it."""

    source: Any
    library: Library
    dtype: str
    shape: tuple[int, ...]

    def flat(self) -> Array:
        """Return the values, 1-D, contiguous, aligned, native: a view where that is possible.

        A bfloat16 array comes as its bits, in uint16.
        """
        if self.library == "torch":
            array = _torch_to_numpy(self.source, self.dtype)
        else:
            array = np.asarray(self.source)
            if self.dtype == "bfloat16":
                array = array.view(np.uint16)
        if array.flags.carray and array.dtype.isnative:
            return array.reshape(-1)
        native = array.dtype.newbyteorder("=")
        # A copy only where the array is strided, misaligned or byte-swapped.
        return np.require(array, dtype=native, requirements=["C", "A"]).reshape(-1)


def _torch_to_numpy(tensor: Any, dtype: str) -> Array:
    """View a CPU tensor as a NumPy array; a tensor elsewhere is copied to the CPU, once."""
    torch = sys.modules["torch"]
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        tensor = tensor.cpu()
    tensor = tensor.resolve_neg().contiguous()
    if dtype == "bfloat16":
        # NumPy has no bfloat16: the same bits, read as integers.
        return cast(Array, tensor.view(torch.int16).numpy().view(np.uint16))
    return cast(Array, tensor.numpy())


def _is_a(thing: object, module: str, name: str) -> bool:
    """Whether it is of a class in a module that may not have been imported: then it is not.

    Importing here would take Python's import lock, and a child forked in between waits forever.
    """
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(thing, kind)


def _is_tensor(thing: object) -> bool:
    return _is_a(thing, "torch", "Tensor")


def _refuse_dtype(where: str, dtype: str, library: Library) -> ParameterError:
    remedy = ".float()" if library == "torch" else ".astype(numpy.float32)"
    if "complex" in dtype:
        # .astype would drop the imaginary parts; as pairs of real numbers they sum as they should.
        remedy = "torch.view_as_real(values)"
        back = "torch.view_as_complex"
        if library == "numpy":
            real = "float64" if dtype == "complex128" else "float32"
            remedy = f"numpy.ascontiguousarray(values).view(numpy.{real})"
            back = f".view(numpy.{dtype})"
        return ParameterError(
            f"{where} has dtype {dtype}; Veilsum sums real values: pass {remedy}, which holds real "
            f"and imaginary parts side by side, and turn the sum back with {back}"
        )
    if dtype == "object":
        return ParameterError(
            f"{where} has dtype object: it holds arrays or other objects, no numbers; pass a list "
            f"of arrays, or a dict of them"
        )
    return ParameterError(
        f"{where} has dtype {dtype}; Veilsum sums floating-point values ({', '.join(_FLOATS)}): "
        f"leave it out of the update (counters such as num_batches_tracked and masks are not "
        f"averaged), or convert it with {remedy} if its values are meant to be summed"
    )


def _inspect(thing: object, where: str) -> _Leaf:
    """Recognise one array or tensor; `where` names it in messages."""
    if type(thing) is np.ndarray and thing.dtype in _NATIVE:
        return _Leaf(thing, "numpy", _NATIVE[thing.dtype], thing.shape)
    if _is_tensor(thing):
        return _inspect_tensor(thing, where)
    if _is_a(thing, "numpy.ma", "MaskedArray"):
        raise ParameterError(
            f"{where} is a masked array, whose masked values would be summed as if they were not; "
            f"fill them first, for example with .filled(0)"
        )
    if isinstance(thing, (np.ndarray, np.generic)):
        dtype = thing.dtype
        if dtype == BFLOAT16 or dtype.name == "bfloat16":
            name = "bfloat16"
        elif dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
            name = f"float{8 * dtype.itemsize}"
        else:
            raise _refuse_dtype(where, str(dtype), "numpy")
        return _Leaf(thing, "numpy", name, tuple(thing.shape))
    if hasattr(thing, "__array__") and hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return _inspect_foreign(thing, where)
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")
    remedy = "pass a NumPy array or a torch tensor"
    if hasattr(thing, "state_dict"):
        remedy = "pass its state_dict()"
    elif isinstance(thing, (list, tuple, int, float)):
        remedy += ", for example numpy.asarray(values, dtype=numpy.float32)"
    raise ParameterError(f"{where} is a {kind}; {remedy}")


def _inspect_foreign(thing: Any, where: str) -> _Leaf:
    """Recognise an array of another library, such as JAX, that NumPy can read."""
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    try:
        array = np.asarray(thing)
    except Exception as reason:  # each library has errors of its own
        raise ParameterError(
            f"{where} is a {kind}, which NumPy cannot read ({type(reason).__name__}); pass a NumPy "
            f"array or a torch tensor"
        ) from None
    if array.shape != tuple(thing.shape):
        raise ParameterError(
            f"{where} is a {kind}, which NumPy reads as another shape; pass a NumPy array"
        )
    return _inspect(array, where)


def _inspect_tensor(tensor: Any, where: str) -> _Leaf:
    torch = sys.modules["torch"]
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _FLOATS:
        raise _refuse_dtype(where, str(tensor.dtype), "torch")
    if tensor.layout is not torch.strided:
        raise ParameterError(
            f"{where} is a tensor with layout {tensor.layout}; Veilsum reads dense tensors: "
            f"convert it with .to_dense()"
        )
    if tensor.device.type == "meta":
        raise ParameterError(f"{where} is on the meta device and has no values to encrypt")
    return _Leaf(tensor, "torch", name, tuple(int(extent) for extent in tensor.shape))


def _place(name: str) -> str:
    return f"tensor {name!r}" if name else "update"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, shapes and dtypes of the values that one round sums.

    Attributes
    ----------
    kind : {"flat", "array", "mapping", "tree"}
        A plain vector of a given length, one array with a shape, a state_dict, or a list of arrays
        or nested dictionaries.
    library : {"numpy", "torch"}
        What a decrypted sum is made of: the library of the object the layout was made from.
    tensors : tuple of TensorSpec
        In the order in which their values lie in the summed vector. One, without a name, for
        "flat" and "array".
    paths : tuple of tuple of str or int
        Of a "tree", the keys and indices that lead to each tensor; else empty.
    metadata : tuple of (str, str)
        What the .safetensors file that the layout was made from says of itself, sorted.
    """

    kind: Kind
    library: Library
    tensors: tuple[TensorSpec, ...]
    paths: tuple[TreePath, ...] = field(default=(), kw_only=True)
    metadata: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)

    @classmethod
    def flat(cls, size: int) -> Layout:
        """Make the layout of a plain vector.

        Parameters
        ----------
        size : int
            How many values, at least 1.

        Returns
        -------
        Layout
            Sums come back as a 1-D NumPy array.

        Raises
        ------
        ParameterError
            When `size` is not a whole number from 1 to 2^40.
        """
        try:
            count = operator.index(size)
        except TypeError:
            raise ParameterError(f"size is {shown(size)}; it must be a whole number") from None
        if not 1 <= count <= _MAX_EXTENT:
            raise ParameterError(f"size is {shown(count)}; it must be from 1 to 2^40 values")
        return cls("flat", "numpy", (TensorSpec("", "float32", (count,)),))

    @classmethod
    def like(cls, update: object) -> Layout:
        """Take the layout of an example update.

        Parameters
        ----------
        update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            Only names, shapes and dtypes are read, never the values; and what a .safetensors file
            says of itself.

        Returns
        -------
        Layout
            Of kind "mapping" for a mapping, "tree" for what is nested, else "array".

        Raises
        ------
        ParameterError
            When something in `update` is not a floating-point array, or it holds no value at all.
        """
        if isinstance(update, Mapping) or is_nested(update):
            parts = flatten(update)
            named = [(path_name(path), item) for path, item in parts]
            leaves = [(name, _inspect(item, _place(name))) for name, item in named]
            tensors = tuple(TensorSpec(name, leaf.dtype, leaf.shape) for name, leaf in leaves)
            library: Library = "numpy"
            if any(leaf.library == "torch" for _, leaf in leaves):
                library = "torch"
            for name, _ in leaves:
                _check_name(name)
            if is_nested(update):
                layout = cls("tree", library, tensors, paths=tuple(path for path, _ in parts))
            else:
                layout = cls("mapping", library, tensors, metadata=_metadata_of(update))
        else:
            leaf = _inspect(update, "update")
            layout = cls("array", leaf.library, (TensorSpec("", leaf.dtype, leaf.shape),))
        if layout.size == 0:
            raise ParameterError("the update holds no value, so there is nothing to sum")
        return layout

    @property
    def size(self) -> int:
        """How many values the whole vector holds."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def named(self) -> bool:
        """Whether it has tensors with names, which .safetensors files hold."""
        return self.kind in ("mapping", "tree")

    @property
    def file_metadata(self) -> dict[str, str]:
        """What a .safetensors file of a sum says of itself; "pt" is what loaders ask of torch's."""
        if self.metadata or not self.named or self.library != "torch":
            return dict(self.metadata)
        return {"format": "pt"}

    def by_name(self, update: Any) -> dict[str, Any]:
        """Name the parts of a sum of named tensors, as a .safetensors file does.

        Parameters
        ----------
        update : mapping or list
            As `assemble` made it.

        Returns
        -------
        dict of str to array or tensor
            In the layout's order.
        """
        return {path_name(path): leaf for path, leaf in flatten(update)}

    def to_bytes(self) -> bytes:
        """Write the layout as canonical JSON.

        Returns
        -------
        bytes
            ASCII; the same layout always gives the same bytes.
        """
        record: dict[str, Any] = {"kind": self.kind, "layout": _VERSION}
        if self.kind == "flat":
            record["size"] = self.size
        elif self.kind == "array":
            (tensor,) = self.tensors
            record |= {"dtype": tensor.dtype, "library": self.library, "shape": tensor.shape}
        else:
            record["library"] = self.library
            names = self.paths if self.kind == "tree" else [item.name for item in self.tensors]
            record["tensors"] = [
                [name, item.dtype, item.shape]
                for name, item in zip(names, self.tensors, strict=True)
            ]
            if self.metadata:
                record["metadata"] = dict(self.metadata)
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return text.encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, *, size: int | None = None) -> Layout:
        """Read a layout from untrusted bytes.

        Parameters
        ----------
        data : bytes
            What `to_bytes` wrote. No bytes at all stand for a plain vector of `size` values: a
            round made without the Python package need not carry a layout.
        size : int, optional
            How many values the layout must describe.

        Returns
        -------
        Layout
            Equal to the one that was written.

        Raises
        ------
        WireFormatError
            When the bytes are not canonical, or do not describe `size` values.
        """
        if not data and size is not None:
            return cls.flat(size)
        layout = _parse(data)
        if layout.to_bytes() != data:
            raise WireFormatError("the round's layout is not canonical JSON")
        if size is not None and layout.size != size:
            raise WireFormatError(
                f"the round's layout describes {layout.size} values but the round sums {size}"
            )
        return layout

    def segments(self, limit: object) -> list[tuple[int, float]]:
        """Pair the tensors with their clipping ranges, as the core wants them.

        Parameters
        ----------
        limit : float, mapping of str to float, or nested like the update
            One range for all values, or one for each tensor of a "mapping" or "tree" layout, by
            name or at its place. Finite and above 0, in the unit of the values.

        Returns
        -------
        list of (int, float)
            Count of values and limit, one for each tensor that holds any value.

        Raises
        ------
        ParameterError
            When a limit is out of range, or the names are not those of the layout.
        """
        if isinstance(limit, (Mapping, list, tuple)):
            if not self.named:
                raise ParameterError(
                    f"limit is {type_name(limit)}, but this round's update is a single array; "
                    f"pass one number"
                )
            limit = _named_limits(limit)
            names = {tensor.name for tensor in self.tensors}
            for name in limit:
                if name not in names:
                    raise ParameterError(
                        f"limit names {name!r}, which is no tensor of the update; {self._names()}"
                    )
            for tensor in self.tensors:
                if tensor.name not in limit:
                    raise ParameterError(
                        f"limit has no entry for tensor {tensor.name!r}; give every tensor of the "
                        f"update a range, or one number for all"
                    )
            limits = [_check_limit(limit[t.name], f"limit of {t.name!r}") for t in self.tensors]
        else:
            limits = [_check_limit(limit, "limit")] * len(self.tensors)
        pairs = zip(self.tensors, limits, strict=True)
        return [(tensor.size, value) for tensor, value in pairs if tensor.size]

    def pieces(self, update: object) -> tuple[list[Array], list[str]]:
        """Lay an update out for the core.

        Parameters
        ----------
        update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            Must match the layout; for a "flat" one, any shape and any dtype with `size` values; for
            a "tree", a mapping of the names will do as well.

        Returns
        -------
        pieces : list of ndarray
            1-D and contiguous, one for each tensor that holds any value; bfloat16 as uint16 bits.
            They share memory with `update` where it is contiguous and on the CPU.
        dtypes : list of str
            The dtype of each piece.

        Raises
        ------
        ParameterError
            Naming the first difference between `update` and the layout.
        """
        leaves = self._match(update)
        full = [(leaf.flat(), leaf.dtype) for leaf in leaves if math.prod(leaf.shape)]
        return [piece for piece, _ in full], [dtype for _, dtype in full]

    def leaves(self, update: object) -> list[Any]:
        """Take an update apart that matches the layout.

        Parameters
        ----------
        update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            As for `pieces`.

        Returns
        -------
        list of array or tensor
            The arrays and tensors that it holds, in the layout's order.

        Raises
        ------
        ParameterError
            Naming the first difference between `update` and the layout.
        """
        return [leaf.source for leaf in self._match(update)]

    def check(self, update: object) -> list[TensorSpec]:
        """Check an update against the layout without looking at its values.

        Parameters
        ----------
        update : array, tensor, mapping of str to array or tensor, or nested lists and mappings
            Must match the layout; for a "flat" one, any shape and any dtype with `size` values; for
            a "tree", a mapping of the names will do as well.

        Returns
        -------
        list of TensorSpec
            What the update holds, in the layout's order.

        Raises
        ------
        ParameterError
            Naming the first difference between `update` and the layout.
        """
        leaves = self._match(update)
        return [
            TensorSpec(tensor.name, leaf.dtype, leaf.shape)
            for tensor, leaf in zip(self.tensors, leaves, strict=True)
        ]

    def locate(self, index: int) -> str:
        """Say where a value of the summed vector lies, for messages.

        Parameters
        ----------
        index : int
            Position in the whole vector, from 0.

        Returns
        -------
        str
            Such as "tensor 'fc.weight' at [3, 0]".
        """
        for tensor in self.tensors:
            if index < tensor.size:
                if not tensor.shape:
                    return _place(tensor.name)
                place = np.unravel_index(index, tensor.shape)
                return f"{_place(tensor.name)} at {_shape(tuple(int(part) for part in place))}"
            index -= tensor.size
        return f"beyond the last value by {index}"

    def assemble(
        self, values: Array, *, dtype: str | None = None, library: str | None = None
    ) -> Any:
        """Give the summed vector its names, shapes and dtypes back.

        Parameters
        ----------
        values : ndarray
            1-D float32 or float64, `size` values. Parts that need no conversion are views of it.
        dtype : {"float32", "float64"}, optional
            One dtype for everything instead of the layout's.
        library : {"numpy", "torch"}, optional
            What to make instead of the layout's library.

        Returns
        -------
        ndarray, torch.Tensor, or dict or list of them
            As the layout says. Tensors are on the CPU. bfloat16 in NumPy is ml_dtypes.bfloat16 when
            that package is loaded, else `BFLOAT16`.

        Raises
        ------
        ParameterError
            When `library` is neither "numpy" nor "torch".
        BackendUnavailableError
            When torch is wanted and not installed.
        """
        wanted = library if library is not None else self.library
        if wanted not in ("numpy", "torch"):
            raise ParameterError(f"output is {shown(library)}; it must be 'numpy' or 'torch'")
        make = _make_torch if wanted == "torch" else _make_numpy
        if self.kind == "flat":
            return make(values, dtype or str(values.dtype), (self.size,))
        made: dict[str, Any] = {}
        start = 0
        for tensor in self.tensors:
            part = values[start : start + tensor.size]
            made[tensor.name] = make(part, dtype or tensor.dtype, tensor.shape)
            start += tensor.size
        if self.kind == "tree":
            return unflatten(self.paths, list(made.values()))
        return made if self.kind == "mapping" else made[""]

    def _match(self, update: object) -> list[_Leaf]:
        """Recognise every part of `update`, in the layout's order, or name what differs first."""
        try:
            return self._recognise(update)
        except ParameterError as reason:
            raise about_update(str(reason)) from None

    def _recognise(self, update: object) -> list[_Leaf]:
        nested = is_nested(update)
        if not self.named:
            if isinstance(update, Mapping) or nested:
                what = "mapping" if isinstance(update, Mapping) else "list"
                raise ParameterError(
                    f"update is a {what} of tensors, but the round sums a single array; make the "
                    f"round with like=state_dict to sum named tensors"
                )
            leaf = _inspect(update, "update")
            if self.kind == "flat":
                self._check_flat(leaf)
            else:
                _check_leaf(leaf, self.tensors[0])
            return [leaf]
        if not isinstance(update, Mapping) and not nested:
            remedy = "its state_dict()" if hasattr(update, "state_dict") else "a mapping of names"
            raise ParameterError(
                f"update is {type_name(update)}, but the round sums {len(self.tensors)} named "
                f"tensors; pass {remedy}"
            )
        given = {path_name(path): item for path, item in flatten(update)}
        for tensor in self.tensors:
            if tensor.name not in given:
                raise ParameterError(
                    f"the update has no tensor {tensor.name!r}, which the round sums; every "
                    f"client's update must have the names, shapes and dtypes of the round"
                )
        if len(given) != len(self.tensors):
            names = {tensor.name for tensor in self.tensors}
            extra = next(name for name in given if name not in names)
            raise ParameterError(
                f"the update has a tensor {extra!r}, which the round does not sum; leave it out, "
                f"or make the round like an update that has it"
            )
        leaves = []
        for tensor in self.tensors:
            leaf = _inspect(given[tensor.name], _place(tensor.name))
            _check_leaf(leaf, tensor)
            leaves.append(leaf)
        return leaves

    def _check_flat(self, leaf: _Leaf) -> None:
        count = math.prod(leaf.shape)
        if count != self.size:
            raise ParameterError(
                f"update has {counted(count, 'value')} (shape {_shape(leaf.shape)}), but the round "
                f"sums {self.size}; pass {counted(self.size, 'value')} or make a round with "
                f"size={count}"
            )

    def _names(self) -> str:
        names = [repr(tensor.name) for tensor in self.tensors[:4]]
        more = ", ..." if len(self.tensors) > 4 else ""
        return f"it has {', '.join(names)}{more}"


def _named_limits(limit: Any, before: str = "") -> dict[str, Any]:
    """Name the limits of nested mappings and lists; their ranges are checked elsewhere."""
    items = limit.items() if isinstance(limit, Mapping) else enumerate(limit)
    named: dict[str, Any] = {}
    for key, item in items:
        if isinstance(item, (Mapping, list, tuple)):
            named |= _named_limits(item, f"{before}{key}/")
        else:
            named[f"{before}{key}"] = item
    return named


def _metadata_of(update: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(update, NamedTensors):
        return ()
    if len(json.dumps(update.metadata)) > _MAX_METADATA:
        raise ParameterError(
            f"the example's __metadata__ takes more than {_MAX_METADATA} bytes, which every client "
            f"would carry in the round; save the example with less of it"
        )
    return tuple(sorted(update.metadata.items()))


def _check_name(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ParameterError(
            f"the update has a name with half a character, {name!r}, which no file can hold; "
            f"rename it"
        ) from None


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(extent) for extent in shape) + "]"


def _check_leaf(leaf: _Leaf, tensor: TensorSpec) -> None:
    where = _place(tensor.name)
    if leaf.shape != tensor.shape:
        raise ParameterError(
            f"{where} has shape {_shape(leaf.shape)}, but the round expects "
            f"{_shape(tensor.shape)}; every client's update must have the round's shapes"
        )
    if leaf.dtype != tensor.dtype:
        remedy = f".to(torch.{tensor.dtype})"
        if leaf.library == "numpy":
            remedy = f".astype(numpy.{tensor.dtype})"
        if leaf.library == "numpy" and tensor.dtype == "bfloat16":
            remedy = ".astype(ml_dtypes.bfloat16)"
        raise ParameterError(
            f"{where} has dtype {leaf.dtype}, but the round expects {tensor.dtype}; convert it "
            f"with {remedy}"
        )


def _check_limit(limit: object, where: str) -> float:
    if isinstance(limit, (bool, np.bool_, str, bytes)):
        raise ParameterError(f"{where} is {shown(limit)}; it must be a number")
    try:
        value = float(cast(Any, limit))
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(f"{where} is {shown(limit)}; it must be a number") from None
    if not (math.isfinite(value) and value > 0):
        raise ParameterError(
            f"{where} is {shown(value)}; it must be finite and above 0: values are clipped to "
            f"it on both sides"
        )
    if not _MIN_LIMIT <= value <= _MAX_LIMIT:
        raise ParameterError(
            f"{where} is {shown(value)}; it must be from {_MIN_LIMIT:g} to {_MAX_LIMIT:g}, and "
            f"not far from the largest value of an update"
        )
    return value


def _to_bfloat16_bits(values: Array) -> npt.NDArray[np.uint16]:
    """Round finite float32 values to bfloat16, ties to even, and return the bits."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # Half of the last kept bit, less one unless that bit is odd; finite values cannot wrap.
    bits = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    rounded: npt.NDArray[np.uint16] = (bits >> np.uint32(16)).astype(np.uint16)
    return rounded


def _make_numpy(values: Array, dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "bfloat16":
        ml_dtypes = sys.modules.get("ml_dtypes")
        brain = BFLOAT16 if ml_dtypes is None else np.dtype(ml_dtypes.bfloat16)
        return _to_bfloat16_bits(values).view(brain).reshape(shape)
    return values.astype(dtype, copy=False).reshape(shape)


def _make_torch(values: Array, dtype: str, shape: tuple[int, ...]) -> Any:
    try:
        import torch
    except ImportError as reason:
        raise missing_extra(
            "a sum that was laid out from torch tensors", "torch", "train"
        ) from reason
    if dtype == "bfloat16":
        bits = torch.from_numpy(_to_bfloat16_bits(values).view(np.int16))
        return bits.view(torch.bfloat16).reshape(shape)
    return torch.from_numpy(values.astype(dtype, copy=False)).reshape(shape)


def _parse(data: bytes) -> Layout:
    """Read the JSON; the caller checks that it was canonical."""
    try:
        record = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise WireFormatError("the round's layout is not JSON") from None
    if not isinstance(record, dict) or record.get("layout") != _VERSION:
        raise WireFormatError(
            f"the round's layout is not of version {_VERSION}; a newer Veilsum may have made it"
        )
    kind = record.get("kind")
    if kind == "flat":
        return Layout("flat", "numpy", (_parse_tensor(["", "float32", [record.get("size")]]),))
    library = record.get("library")
    if kind not in ("array", "mapping", "tree") or library not in ("numpy", "torch"):
        raise WireFormatError("the round's layout has an unknown kind or library")
    paths: tuple[TreePath, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    if kind == "array":
        tensors = [_parse_tensor(["", record.get("dtype"), record.get("shape")])]
    else:
        items = record.get("tensors")
        if not isinstance(items, list):
            raise WireFormatError("the round's layout lists no tensors")
        if kind == "tree":
            paths = _parse_paths(items)
            items = [[path_name(path), *item[1:]] for path, item in zip(paths, items, strict=True)]
        metadata = _parse_metadata(record.get("metadata", {}))
        tensors = [_parse_tensor(item) for item in items]
        names = {tensor.name for tensor in tensors}
        if len(names) != len(tensors) or "" in names:
            raise WireFormatError("the round's layout has a tensor without a name of its own")
    return Layout(kind, library, tuple(tensors), paths=paths, metadata=metadata)


def _parse_paths(items: list[Any]) -> tuple[TreePath, ...]:
    """Read the places of a tree's tensors; `_parse_tensor` looks at the rest of each item."""
    paths: list[TreePath] = []
    for item in items:
        path = item[0] if isinstance(item, list) and item else None
        # type() and not isinstance(): true is no index.
        if not isinstance(path, list) or not all(
            (type(step) is int and step >= 0) or (isinstance(step, str) and step) for step in path
        ):
            raise WireFormatError("the round's layout has a malformed path")
        paths.append(tuple(path))
    if not check_paths(paths):
        raise WireFormatError("the paths of the round's layout are not those of one tree")
    return tuple(paths)


def _parse_metadata(found: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise WireFormatError("the round's layout has malformed metadata")
    return tuple(sorted(found.items()))


def _parse_tensor(item: object) -> TensorSpec:
    if not isinstance(item, list) or len(item) != 3:
        raise WireFormatError("the round's layout has a malformed tensor")
    name, dtype, shape = item
    if not isinstance(name, str) or dtype not in _FLOATS or not isinstance(shape, list):
        raise WireFormatError("the round's layout has a malformed tensor")
    try:
        _check_name(name)
    except ParameterError:
        raise WireFormatError("the round's layout has a malformed name") from None
    # type() and not isinstance(): true is no extent.
    if len(shape) > _MAX_DIMENSIONS or not all(
        type(extent) is int and 0 <= extent <= _MAX_EXTENT for extent in shape
    ):
        raise WireFormatError("the round's layout has a malformed shape")
    return TensorSpec(name, dtype, tuple(shape))


def dtype_name(dtype: Any) -> str | None:
    """Name a dtype that may be given as the dtype itself, NumPy's or torch's.

    Parameters
    ----------
    dtype : str, dtype or None
        What the caller of a public function gave.

    Returns
    -------
    str or None
        Such as "float32"; None for None.

    Raises
    ------
    ParameterError
        When it names no dtype.
    """
    if dtype is None or isinstance(dtype, str):
        return dtype
    if isinstance(dtype, (int, float)):
        raise ParameterError(f"dtype is {shown(dtype)}; it must be 'float32' or 'float64'")
    text = str(dtype)
    if text.startswith("torch."):
        return text.removeprefix("torch.")
    try:
        return str(np.dtype(dtype))
    except TypeError:
        raise ParameterError(
            f"dtype is {type_name(dtype)}; it must be 'float32' or 'float64'"
        ) from None
