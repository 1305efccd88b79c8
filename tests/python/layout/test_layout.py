"""Layouts: what is read from arrays and tensors, canonical bytes, and the way back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilsum import ParameterError, WireFormatError
from veilsum.layout.tensors import BFLOAT16, Layout, TensorSpec

FLOATS = ["float32", "float64", "float16", "bfloat16"]


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed (extra 'train')")


def bfloat16_array(values):
    """The bits of float32 values that bfloat16 holds exactly."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16).view(BFLOAT16)


def mixed_state():
    rng = np.random.default_rng(3)
    return {
        "conv.weight": rng.normal(size=(4, 3, 2)).astype(np.float32),
        "empty": np.zeros((0, 5), np.float32),
        "scale": np.array(0.5, np.float64),
        "half": rng.normal(size=7).astype(np.float16),
        "brain": bfloat16_array([1.0, -2.5, 0.0]),
    }


# --- reading examples ----------------------------------------------------------------------------


def test_like_reads_names_shapes_and_dtypes():
    layout = Layout.like(mixed_state())
    assert layout.kind == "mapping"
    assert layout.library == "numpy"
    assert layout.tensors == (
        TensorSpec("conv.weight", "float32", (4, 3, 2)),
        TensorSpec("empty", "float32", (0, 5)),
        TensorSpec("scale", "float64", ()),
        TensorSpec("half", "float16", (7,)),
        TensorSpec("brain", "bfloat16", (3,)),
    )
    assert layout.size == 24 + 0 + 1 + 7 + 3


def test_like_of_one_array_keeps_its_shape():
    layout = Layout.like(np.zeros((2, 3), np.float16))
    assert (layout.kind, layout.tensors) == ("array", (TensorSpec("", "float16", (2, 3)),))


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ([0.1, 0.2], ["update is a list", "numpy.asarray"]),
        (3.0, ["update is a float", "numpy.asarray"]),
        (None, ["update is a NoneType", "NumPy array"]),
        (np.zeros(3, np.int64), ["int64", "floating-point", ".astype(numpy.float32)"]),
        (np.zeros(3, bool), ["bool", "floating-point"]),
        (np.zeros(3, complex), ["complex128", ".view(numpy.float64)", ".view(numpy.complex128)"]),
        (np.zeros(3, np.complex64), ["complex64", ".view(numpy.float32)"]),
        (np.array([np.zeros(1), np.zeros(2)], object), ["object", "pass a list of arrays"]),
        (np.zeros(3, "U3"), ["<U3"]),
        (np.ma.masked_array([1.0, 2.0], [True, False]), ["masked array", ".filled(0)"]),
        ({}, ["holds no value"]),
        ({"a": np.zeros((0, 2), np.float32)}, ["holds no value"]),
        ({3: np.zeros(2, np.float32)}, ["key 3", "non-empty strings"]),
        ({"": np.zeros(2, np.float32)}, ["key ''", "non-empty strings"]),
        ({"a": {"b": 3.0}}, ["tensor 'a/b' is a float", "numpy.asarray"]),
        ({"\ud800": np.zeros(2, np.float32)}, ["half a character", "rename it"]),
        (
            {"ok": np.zeros(2, np.float32), "bn.num_batches_tracked": np.zeros((), np.int64)},
            ["tensor 'bn.num_batches_tracked'", "int64", "leave it out"],
        ),
    ],
)
def test_what_cannot_be_summed_is_refused_by_name(thing, words):
    with pytest.raises(ParameterError) as caught:
        Layout.like(thing)
    for word in words:
        assert word in str(caught.value)


def test_the_remedy_for_complex_values_works():
    values = np.array([[1 + 2j, 3 - 4j], [0.5j, 7]], np.complex64).T
    remedy = np.ascontiguousarray(values).view(np.float32)
    layout = Layout.like(remedy)
    (piece,), _ = layout.pieces(remedy)
    np.testing.assert_array_equal(layout.assemble(piece).view(np.complex64), values)


def test_the_remedy_for_complex_tensors_works(torch):
    values = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    with pytest.raises(ParameterError, match=r"view_as_real.*view_as_complex"):
        Layout.like(values)
    layout = Layout.like(torch.view_as_real(values))
    (piece,), _ = layout.pieces(torch.view_as_real(values))
    assert torch.equal(torch.view_as_complex(layout.assemble(piece)), values)


class Foreign:
    """An array of another library, as JAX's look to us: dtype, shape, and a way to NumPy."""

    def __init__(self, array, *, seen=None):
        self.dtype = array.dtype
        self.shape = array.shape if seen is None else seen
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


def test_arrays_of_other_libraries_are_read():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    update = {"params": {"kernel": Foreign(array)}}
    layout = Layout.like(update)
    assert layout.tensors == (TensorSpec("params/kernel", "float32", (2, 3)),)
    (piece,), _ = layout.pieces(update)
    assert np.shares_memory(piece, array)
    with pytest.raises(ParameterError, match=r"tensor 'a' has dtype int64"):
        Layout.like({"a": Foreign(np.zeros(2, np.int64))})
    with pytest.raises(ParameterError, match="NumPy reads as another shape"):
        Layout.like({"a": Foreign(array, seen=(6,))})


def test_arrays_that_numpy_cannot_read_are_named():
    class OnADevice(Foreign):
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("secret 7.5")

    with pytest.raises(ParameterError, match=r"OnADevice, which NumPy cannot read") as caught:
        Layout.like(OnADevice(np.zeros(3, np.float32)))
    assert "7.5" not in str(caught.value)


@pytest.mark.parametrize("limit", [1e-291, 1e291, 5e-324])
def test_limits_out_of_the_core_s_range_are_named(limit):
    layout = Layout.like({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})
    with pytest.raises(ParameterError, match=r"limit of 'b' is .*from 1e-290 to 1e\+290"):
        layout.segments({"a": 1.0, "b": limit})
    layout.segments({"a": 1e-290, "b": 1e290})


@pytest.mark.parametrize("size", [0, -1, 2**40 + 1])
def test_flat_size_is_bounded(size):
    with pytest.raises(ParameterError, match=f"size is {size}; it must be from 1 to 2"):
        Layout.flat(size)


@pytest.mark.parametrize("size", [1, 2**40])
def test_flat_size_at_its_edges(size):
    assert Layout.flat(size).size == size


@pytest.mark.parametrize("size", [1.0, "10", None])
def test_flat_size_is_a_whole_number(size):
    with pytest.raises(ParameterError, match="whole number"):
        Layout.flat(size)


def test_a_module_is_told_to_pass_its_state_dict(torch):
    with pytest.raises(ParameterError, match=r"Linear; pass its state_dict\(\)"):
        Layout.like(torch.nn.Linear(2, 2))


# --- pieces --------------------------------------------------------------------------------------


def test_contiguous_arrays_are_not_copied():
    state = mixed_state()
    pieces, dtypes = Layout.like(state).pieces(state)
    assert dtypes == ["float32", "float64", "float16", "bfloat16"]
    full = [array for array in state.values() if array.size]
    for piece, array in zip(pieces, full, strict=True):
        assert np.shares_memory(piece, array)
        assert piece.ndim == 1
        assert piece.flags.c_contiguous


def test_read_only_memory_maps_are_not_copied(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10, dtype=np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    (piece,), _ = Layout.flat(10).pieces(mapped)
    assert np.shares_memory(piece, mapped)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype)
    view[:] = array
    assert not view.flags.aligned
    return view


@pytest.mark.parametrize(
    "awkward",
    [
        pytest.param(lambda a: np.repeat(a, 2)[::2], id="strided"),
        pytest.param(lambda a: a[::-1].copy()[::-1], id="reversed"),
        pytest.param(lambda a: a.astype(">f4"), id="byte-swapped"),
        pytest.param(unaligned, id="unaligned"),
    ],
)
def test_awkward_arrays_are_copied_once_and_right(awkward):
    plain = np.arange(12, dtype=np.float32)
    (piece,), (dtype,) = Layout.flat(12).pieces(awkward(plain))
    assert dtype == "float32"
    assert piece.flags.c_contiguous
    assert piece.flags.aligned
    assert piece.dtype.isnative
    np.testing.assert_array_equal(piece, plain)


def test_fortran_order_is_read_in_c_order():
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    (piece,), _ = Layout.like(array).pieces(array)
    np.testing.assert_array_equal(piece, [0, 1, 2, 3, 4, 5])


def test_a_strided_bfloat16_array_keeps_its_bits():
    brain = bfloat16_array([1.0, 2.0, 3.0, 4.0])
    (piece,), (dtype,) = Layout.like(brain[::2]).pieces(brain[::2])
    assert dtype == "bfloat16"
    assert piece.dtype == np.uint16
    np.testing.assert_array_equal(piece, [0x3F80, 0x4040])


def test_numpy_scalars_are_arrays_of_no_dimension():
    (piece,), (dtype,) = Layout.like({"x": np.float64(2.5)}).pieces({"x": np.float64(2.5)})
    assert (piece.tolist(), dtype) == ([2.5], "float64")


@pytest.mark.parametrize("dtype", FLOATS)
def test_cpu_tensors_are_not_copied(torch, dtype):
    tensor = torch.ones(2, 3, dtype=getattr(torch, dtype), requires_grad=True)
    (piece,), dtypes = Layout.like(tensor).pieces(tensor)
    assert dtypes == [dtype]
    assert piece.ctypes.data == tensor.data_ptr()


def test_tensors_that_are_views(torch):
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).t()
    layout = Layout.like(tensor)
    assert layout.tensors[0].shape == (3, 2)
    (piece,), _ = layout.pieces(tensor)
    back = torch.from_numpy(piece.view(np.int16)).view(torch.bfloat16)
    assert back.tolist() == [0, 3, 1, 4, 2, 5]
    negated = torch._neg_view(torch.ones(2))
    (piece,), _ = Layout.flat(2).pieces(negated)
    assert piece.tolist() == [-1.0, -1.0]


def test_tensors_that_hold_no_values_are_refused(torch):
    with pytest.raises(ParameterError, match=r"sparse.*to_dense"):
        Layout.like({"e": torch.eye(3).to_sparse()})
    with pytest.raises(ParameterError, match="tensor 'e' is on the meta device"):
        Layout.like({"e": torch.empty(3, device="meta")})


def test_an_integer_buffer_of_a_model_is_refused_by_name(torch):
    state = torch.nn.BatchNorm1d(2).state_dict()
    with pytest.raises(ParameterError, match=r"tensor 'num_batches_tracked' has dtype torch.int64"):
        Layout.like(state)


@pytest.mark.gpu
def test_cuda_tensors_are_copied_to_the_cpu(torch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    state = {
        "w": torch.randn(5, 3, device="cuda").t(),
        "b": torch.randn(4, device="cuda", dtype=torch.bfloat16),
    }
    pieces, dtypes = Layout.like(state).pieces(state)
    assert dtypes == ["float32", "bfloat16"]
    np.testing.assert_array_equal(pieces[0], state["w"].cpu().contiguous().numpy().ravel())
    assert pieces[1].dtype == np.uint16


def test_numpy_users_never_import_torch():
    code = (
        "import sys, numpy as np, veilsum as vs\n"
        "plan = vs.Plan(2)\n"
        "secret, public = vs.keygen(plan)\n"
        "state = {'a': np.ones((2, 2), np.float32)}\n"
        "rnd = vs.Round(plan, public, like=state)\n"
        "total = vs.weighted_sum(rnd, [vs.encrypt(rnd, state) for _ in range(2)])\n"
        "vs.decrypt(vs.open_sum(secret, rnd, total), total)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'rich' not in sys.modules, 'rich was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- differences from the round's layout ---------------------------------------------------------


def good():
    return {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float64)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("b"), ["no tensor 'b'"]),
        (lambda s: s.update(extra=np.zeros(1, np.float32)), ["tensor 'extra'", "leave it out"]),
        (
            lambda s: s.update(w=np.zeros((3, 2), np.float32)),
            ["tensor 'w'", "[3, 2]", "expects [2, 3]"],
        ),
        (
            lambda s: s.update(b=np.zeros(3, np.float32)),
            ["tensor 'b'", "float32", "expects float64", ".astype(numpy.float64)"],
        ),
        (lambda s: s.update(b=np.zeros(3, np.int32)), ["tensor 'b'", "int32"]),
        # The first difference in the round's order is the one that is named.
        (
            lambda s: s.update(w=np.zeros(6, np.float32), b=np.zeros(4, np.float32)),
            ["tensor 'w'", "[6]"],
        ),
    ],
)
def test_the_first_difference_is_named(change, words):
    state = good()
    change(state)
    with pytest.raises(ParameterError) as caught:
        Layout.like(good()).pieces(state)
    for word in words:
        assert word in str(caught.value)


def test_order_and_library_of_an_update_do_not_matter(torch):
    layout = Layout.like(good())
    tensors = {"b": torch.zeros(3, dtype=torch.float64), "w": torch.zeros(2, 3)}
    pieces, dtypes = layout.pieces(tensors)
    assert [piece.size for piece in pieces] == [6, 3]
    assert dtypes == ["float32", "float64"]


def test_an_array_where_a_mapping_belongs_and_the_reverse():
    with pytest.raises(ParameterError, match="update is an ndarray, but the round sums 2 named"):
        Layout.like(good()).pieces(np.zeros(9, np.float32))
    with pytest.raises(ParameterError, match=r"update is a mapping.*like=state_dict"):
        Layout.flat(9).pieces(good())


def test_a_flat_round_takes_any_shape_and_dtype_with_the_right_count():
    layout = Layout.flat(6)
    for dtype in (np.float16, np.float32, np.float64):
        (piece,), (name,) = layout.pieces(np.zeros((2, 3), dtype))
        assert (piece.shape, name) == ((6,), np.dtype(dtype).name)
    with pytest.raises(ParameterError, match=r"7 values \(shape \[7\]\).*sums 6.*size=7"):
        layout.pieces(np.zeros(7))


# --- limits --------------------------------------------------------------------------------------


def test_limits_for_each_tensor():
    layout = Layout.like(mixed_state())
    limits = {"conv.weight": 1.0, "empty": 2.0, "scale": 3, "half": np.float32(4), "brain": 5.0}
    assert layout.segments(limits) == [(24, 1.0), (1, 3.0), (7, 4.0), (3, 5.0)]
    assert layout.segments(0.25) == [(24, 0.25), (1, 0.25), (7, 0.25), (3, 0.25)]


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), "1", None, True, 10**400])
def test_a_limit_is_a_finite_number_above_zero(limit):
    with pytest.raises(ParameterError, match=r"^limit is "):
        Layout.flat(3).segments(limit)


def test_limit_names_are_those_of_the_layout():
    layout = Layout.like(good())
    with pytest.raises(ParameterError, match="no entry for tensor 'b'"):
        layout.segments({"w": 1.0})
    with pytest.raises(ParameterError, match=r"names 'x', which is no tensor.*'w', 'b'"):
        layout.segments({"w": 1.0, "b": 1.0, "x": 1.0})
    with pytest.raises(ParameterError, match=r"limit of 'b' is -1.0"):
        layout.segments({"w": 1.0, "b": -1.0})
    with pytest.raises(ParameterError, match="single array; pass one number"):
        Layout.flat(3).segments({"w": 1.0})


# --- canonical bytes -----------------------------------------------------------------------------

names = st.text(min_size=1, max_size=12)
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
specs = st.builds(TensorSpec, names, st.sampled_from(FLOATS), shapes)
libraries = st.sampled_from(["numpy", "torch"])
layouts = st.one_of(
    st.integers(1, 2**40).map(Layout.flat),
    st.builds(
        lambda library, dtype, shape: Layout("array", library, (TensorSpec("", dtype, shape),)),
        libraries,
        st.sampled_from(FLOATS),
        shapes,
    ),
    st.builds(
        lambda library, tensors: Layout("mapping", library, tuple(tensors)),
        libraries,
        st.lists(specs, max_size=5, unique_by=lambda spec: spec.name),
    ),
)


@given(layouts)
def test_bytes_round_trip(layout):
    data = layout.to_bytes()
    assert Layout.from_bytes(data, size=layout.size) == layout
    assert Layout.from_bytes(data).to_bytes() == data
    assert data.isascii()


def test_no_bytes_are_a_flat_vector():
    assert Layout.from_bytes(b"", size=5) == Layout.flat(5)
    with pytest.raises(WireFormatError):
        Layout.from_bytes(b"")


def test_frozen_bytes():
    """The form is part of the wire format: old rounds must stay readable."""
    state = {"wé": np.zeros((2, 0), np.float16), "b": bfloat16_array([0.0])}
    assert Layout.like(state).to_bytes() == (
        b'{"kind":"mapping","layout":1,"library":"numpy","tensors":'
        b'[["w\\u00e9","float16",[2,0]],["b","bfloat16",[1]]]}'
    )
    assert Layout.flat(7).to_bytes() == b'{"kind":"flat","layout":1,"size":7}'
    assert Layout.like(np.zeros((2, 3))).to_bytes() == (
        b'{"dtype":"float64","kind":"array","layout":1,"library":"numpy","shape":[2,3]}'
    )


MAPPING = b'{"kind":"mapping","layout":1,"library":"numpy","tensors":[["a","float32",[2]]]}'


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"kind":"flat","layout":1,"size":7} ',
        b'{"kind":"flat", "layout":1,"size":7}',
        b'{"layout":1,"kind":"flat","size":7}',
        b'{"kind":"flat","layout":1,"size":7,"size":7}',
        b'{"kind":"flat","layout":1,"size":7,"x":1}',
        b'{"kind":"flat","layout":2,"size":7}',
        b'{"kind":"flat","layout":true,"size":7}',
        b'{"kind":"flat","layout":1,"size":7.0}',
        b'{"kind":"flat","layout":1,"size":true}',
        b'{"kind":"flat","layout":1,"size":-7}',
        b'{"kind":"flat","layout":1,"size":NaN}',
        b'{"kind":"flat","layout":1,"size":1' + b"0" * 5000 + b"}",
        b'{"kind":"flat","layout":1}',
        b'{"kind":"other","layout":1,"size":7}',
        MAPPING.replace(b"numpy", b"jax"),
        MAPPING.replace(b"float32", b"int32"),
        MAPPING.replace(b'"float32"', b"[]"),
        MAPPING.replace(b"[2]", b"[-2]"),
        MAPPING.replace(b"[2]", b"2"),
        MAPPING.replace(b"[2]", b"[[2]]"),
        MAPPING.replace(b"[2]", b"[" + b",".join([b"1"] * 65) + b"]"),
        MAPPING.replace(b'"a"', b'""'),
        MAPPING.replace(b'"a"', b"1"),
        MAPPING.replace(b'"a"', b'"\\u0061"'),
        MAPPING.replace(b'[["a","float32",[2]]]', b"7"),
        MAPPING.replace(b'[["a","float32",[2]]]', b"[7]"),
        MAPPING.replace(b'[["a","float32",[2]]]', b'[["a","float32",[1]],["a","float32",[1]]]'),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_bytes_that_are_not_canonical_are_refused(data):
    with pytest.raises(WireFormatError):
        Layout.from_bytes(data)


def test_a_layout_of_another_size_is_refused():
    with pytest.raises(WireFormatError, match="describes 2 values but the round sums 3"):
        Layout.from_bytes(MAPPING, size=3)


def test_corrupted_bytes_never_give_anything_but_an_error_or_another_layout():
    for at in range(len(MAPPING)):
        with pytest.raises(WireFormatError):
            Layout.from_bytes(MAPPING[:at])
        for bit in range(8):
            data = bytearray(MAPPING)
            data[at] ^= 1 << bit
            try:
                layout = Layout.from_bytes(bytes(data))
            except WireFormatError:
                continue
            assert layout.to_bytes() == bytes(data)


@settings(max_examples=300)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.sampled_from(
                        ["kind", "layout", "size", "library", "tensors", "shape", "dtype"]),
                        inner, max_size=6), max_leaves=12))  # fmt: skip
def test_any_json_is_read_or_refused(value):
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    try:
        layout = Layout.from_bytes(data)
    except WireFormatError:
        return
    assert layout.to_bytes() == data


# --- assembling ----------------------------------------------------------------------------------


def test_assemble_gives_names_shapes_and_dtypes_back():
    state = mixed_state()
    layout = Layout.like(state)
    flat = np.concatenate(
        [
            (a.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
            if a.dtype == BFLOAT16
            else a.ravel().astype(np.float64)
            for a in state.values()
        ]
    ).astype(np.float64)
    back = layout.assemble(flat)
    assert list(back) == list(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes(), name


def test_entries_that_need_no_conversion_are_views():
    layout = Layout.like({"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float32)})
    flat = np.arange(7, dtype=np.float32)
    back = layout.assemble(flat)
    assert np.shares_memory(back["a"], flat)
    assert np.shares_memory(back["b"], flat)


def test_one_dtype_for_everything():
    back = Layout.like(mixed_state()).assemble(np.zeros(35, np.float64), dtype="float64")
    assert {array.dtype for array in back.values()} == {np.dtype(np.float64)}


def test_bfloat16_rounds_like_torch(torch):
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 1 << 32, 100_000, dtype=np.uint32)
    bits[:4] = [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001]  # two ties, just below, just above
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    layout = Layout("array", "torch", (TensorSpec("", "bfloat16", values.shape),))
    ours = layout.assemble(values)
    theirs = torch.from_numpy(values.copy()).to(torch.bfloat16)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours.view(torch.int16), theirs.view(torch.int16))


def test_torch_in_torch_out_numpy_on_request(torch):
    state = {"w": torch.ones(2, 2, dtype=torch.bfloat16), "s": torch.tensor(1.0)}
    layout = Layout.like(state)
    flat = np.arange(5, dtype=np.float32)
    back = layout.assemble(flat)
    assert back["w"].dtype == torch.bfloat16
    assert back["w"].tolist() == [[0, 1], [2, 3]]
    assert back["s"].shape == ()
    arrays = layout.assemble(flat, library="numpy")
    assert arrays["w"].dtype.itemsize == 2
    assert arrays["s"].shape == ()


def test_ml_dtypes_arrays_are_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    array = np.array([1.0, 2.0], ml_dtypes.bfloat16)
    layout = Layout.like(array)
    assert layout.tensors[0].dtype == "bfloat16"
    assert layout.pieces(array)[0][0].tolist() == [0x3F80, 0x4000]
    assert layout.assemble(np.ones(2, np.float32)).dtype == ml_dtypes.bfloat16


def test_locate():
    layout = Layout.like(mixed_state())
    assert layout.locate(0) == "tensor 'conv.weight' at [0, 0, 0]"
    assert layout.locate(23) == "tensor 'conv.weight' at [3, 2, 1]"
    assert layout.locate(24) == "tensor 'scale'"
    assert layout.locate(25) == "tensor 'half' at [0]"
    assert Layout.flat(9).locate(4) == "update at [4]"
