"""Updates on disk: round trips, agreement with the safetensors package, and hostile files."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import veilsum as vs
from veilsum import ParameterError, WireFormatError
from veilsum.layout import files
from veilsum.layout.tensors import BFLOAT16, Layout, NamedTensors


def tensors():
    return {
        "b": np.arange(3, dtype=np.float16),
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 4), np.float32),
        "brain": np.array([0x3F80, 0xC000, 0x7F7F], np.uint16).view(BFLOAT16),
        "naïve.名": np.arange(2, dtype=np.int64),
    }


def equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert left[name].shape == right[name].shape, name
        assert left[name].tobytes() == right[name].tobytes(), name


def test_safetensors_round_trip(tmp_path):
    files.write_update(tmp_path / "m.safetensors", tensors())
    equal(files.read_update(tmp_path / "m.safetensors"), tensors())


def test_written_tensors_are_aligned(tmp_path):
    files.write_update(tmp_path / "m.safetensors", tensors())
    for name, array in files.read_update(tmp_path / "m.safetensors").items():
        assert array.flags.aligned, name


def test_strided_and_byte_swapped_tensors_are_written_as_they_read(tmp_path):
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    files.write_update(tmp_path / "m.safetensors", {"t": wide.T, "s": wide.astype(">f4")})
    back = files.read_update(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(back["t"], wide.T)
    np.testing.assert_array_equal(back["s"], wide)


def test_the_safetensors_package_reads_what_we_write(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    package = pytest.importorskip(
        "safetensors.torch", reason="safetensors is not installed (extra 'cli')"
    )
    files.write_update(tmp_path / "m.safetensors", tensors())
    theirs = package.load_file(tmp_path / "m.safetensors")
    assert theirs["brain"].dtype == torch.bfloat16
    assert theirs["brain"].view(torch.int16).tolist() == [0x3F80, 0xC000 - 0x10000, 0x7F7F]
    for name, array in tensors().items():
        if name != "brain":
            np.testing.assert_array_equal(theirs[name].numpy(), array)


def test_we_read_what_the_safetensors_package_writes(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    package = pytest.importorskip(
        "safetensors.torch", reason="safetensors is not installed (extra 'cli')"
    )
    state = {
        "w": torch.randn(3, 2),
        "h": torch.randn(3, dtype=torch.float16),
        "b": torch.randn(5, dtype=torch.bfloat16),
        "n": torch.tensor(7),
        "m": torch.tensor([True, False]),
    }
    package.save_file(state, tmp_path / "m.safetensors", metadata={"format": "pt"})
    ours = files.read_update(tmp_path / "m.safetensors")
    assert ours.keys() == state.keys()
    assert ours["b"].dtype == BFLOAT16
    bits = ours["b"].view(np.int16).copy()
    assert torch.equal(torch.from_numpy(bits), state["b"].view(torch.int16))
    for name in "whnm":
        np.testing.assert_array_equal(ours[name], state[name].numpy())


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.array(1.5), np.zeros((0, 3))])
def test_npy_round_trip(tmp_path, array):
    files.write_update(tmp_path / "a.npy", array)
    back = files.read_update(tmp_path / "a.npy")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_inputs_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(10))
    assert isinstance(files.read_update(tmp_path / "a.npy"), np.memmap)
    files.write_update(tmp_path / "m.safetensors", {"a": np.zeros(10)})
    array = files.read_update(tmp_path / "m.safetensors")["a"]
    assert not array.flags.writeable
    assert not array.flags.owndata


# --- names and outputs ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.npz", "a.pt", "a", "a.npy.gz"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(ParameterError, match=r"\.npy and \.safetensors"):
        files.read_update(tmp_path / name)
    with pytest.raises(ParameterError, match=r"\.npy and \.safetensors"):
        files.write_update(tmp_path / name, np.zeros(3))


@pytest.mark.parametrize("name", ["A.NPY", "a.Npy"])
def test_capital_suffixes_are_the_same(tmp_path, name):
    files.write_update(tmp_path / name, np.arange(3.0))
    assert files.read_update(tmp_path / name).tolist() == [0, 1, 2]
    files.write_update(tmp_path / "M.SafeTensors", {"a": np.arange(3.0)})
    assert files.read_update(tmp_path / "M.SafeTensors")["a"].tolist() == [0, 1, 2]
    assert files.locate_update(tmp_path / name).shape == (3,)


def test_a_folder_in_a_file_s_place_is_named(tmp_path):
    for name in ("model", "model.npy", "model.safetensors", "model.pt"):
        (tmp_path / name).mkdir()
        with pytest.raises(IsADirectoryError, match="Is a directory; give") as caught:
            files.read_update(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)


def test_a_name_that_does_not_fit_its_content(tmp_path):
    with pytest.raises(ParameterError, match=r"named tensors .* ends in \.safetensors"):
        files.write_update(tmp_path / "a.npy", {"a": np.zeros(3)})
    with pytest.raises(ParameterError, match=r"one array .* ends in \.npy"):
        files.write_update(tmp_path / "a.safetensors", np.zeros(3))
    with pytest.raises(ParameterError, match="tensor 'c' has dtype complex128"):
        files.write_update(tmp_path / "a.safetensors", {"c": np.zeros(3, complex)})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), files.atomic_file(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    with pytest.raises(KeyboardInterrupt), files.npy_output(path, (3,), "float32") as values:
        values[:] = 1
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_filled_in_place(tmp_path):
    with files.npy_output(tmp_path / "a.npy", (2, 3), "float64") as values:
        values[:] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(6).reshape(2, 3))
    with files.npy_output(tmp_path / "s.npy", (), "float32") as values:
        values[...] = 7
    assert np.load(tmp_path / "s.npy") == 7


def test_an_error_names_the_file_the_user_named(tmp_path):
    path = tmp_path / "none" / "a.npy"
    with pytest.raises(FileNotFoundError) as caught, files.atomic_file(path):
        pass
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError):
        files.read_update(tmp_path / "absent.npy")
    with pytest.raises(FileNotFoundError):
        files.read_update(tmp_path / "absent.safetensors")


def test_secrets_are_written_privately_and_never_over_another(tmp_path):
    before = os.umask(0)
    try:
        files.write_secret(tmp_path / "s", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError) as caught:
        files.write_secret(tmp_path / "s", b"two")
    assert caught.value.filename == str(tmp_path / "s")
    (tmp_path / "link").symlink_to("nowhere")  # a dangling link is in the way as well
    with pytest.raises(FileExistsError):
        files.write_secret(tmp_path / "link", b"two")
    assert files.read_secret(tmp_path / "s") == b"one"
    files.write_secret(tmp_path / "s", b"two", overwrite=True)
    assert files.read_secret(tmp_path / "s") == b"two"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "s"]


# --- hostile files -------------------------------------------------------------------------------


def write_raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def changed(**fields):
    return {"a": {**GOOD["a"], **fields}}


def test_the_good_header_is_good(tmp_path):
    path = write_raw(tmp_path / "m.safetensors", GOOD, struct.pack("<2f", 1, 2))
    assert files.read_update(path)["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xff",
        b"[" * 100_000,
        b"[]",
        b"7",
        {"a": 7},
        {"a": {}},
        changed(shape=2),
        changed(shape=[-2]),
        changed(shape=[2.0]),
        changed(shape=[True, 2]),
        changed(shape=[1] * 65),
        changed(shape=[1 << 62, 1 << 62]),
        changed(shape=[3]),
        changed(data_offsets=[0]),
        changed(data_offsets=[0, 8, 16]),
        changed(data_offsets=[8, 0]),
        changed(data_offsets=[-8, 0]),
        changed(data_offsets=[4, 12]),
        changed(data_offsets=[1 << 62, (1 << 62) + 8]),
        changed(data_offsets="ab"),
        changed(dtype=3),
        changed(dtype=None),
    ],
    ids=lambda header: str(header)[:60],
)
def test_bad_headers_are_refused(tmp_path, header):
    path = write_raw(tmp_path / "m.safetensors", header, bytes(8))
    with pytest.raises(WireFormatError, match=r"m.safetensors is not a .safetensors file"):
        files.read_update(path)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 10_000, 100_000_001])
def test_a_header_longer_than_the_file_is_refused_without_allocating(tmp_path, length):
    path = write_raw(tmp_path / "m.safetensors", GOOD, bytes(8), length=length)
    with pytest.raises(WireFormatError, match="ends inside its header"):
        files.read_update(path)


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_its_length_field(tmp_path, size):
    (tmp_path / "m.safetensors").write_bytes(bytes(size))
    with pytest.raises(WireFormatError):
        files.read_update(tmp_path / "m.safetensors")


#: What stands for a part of a header below; quotes are single ones there.
PARTS = {
    "<a>": "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}",
    "<a open>": "'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]",
    "<first>": "{'dtype':'F32','shape':[2],'data_offsets':[0,8]}",
    "<b at>": "'b':{'dtype':'F32','shape':[2],'data_offsets':",
    "<empty at>": "'z':{'dtype':'F32','shape':[0],'data_offsets':",
    "<meta>": "'__metadata__'",
}
#: Header, bytes of data, and whether the format allows it.
HEADERS = {
    "two tensors": ("{<a>,<b at>[8,16]}}", 16, True),
    "offsets in another order": ("{<b at>[8,16]},<a>}", 16, True),
    "white space behind": ("{<a>} \n\t", 8, True),
    "an unknown field": ("{<a open>,'x':[1,null]}}", 8, True),
    "no tensor": ("{}", 0, True),
    "an empty name": ("{'':<first>}", 8, True),
    "a name beyond the basic plane": ("{'\\ud83d\\ude00':<first>}", 8, True),
    "nothing, before": ("{<empty at>[0,0]},<a>}", 8, True),
    "nothing, behind": ("{<a>,<empty at>[8,8]}}", 8, True),
    "metadata": ("{<meta>:{'format':'pt','é':''},<a>}", 8, True),
    "metadata null": ("{<meta>:null,<a>}", 8, True),
    "a field twice": ("{<a open>,'dtype':'F32'}}", 8, False),
    "an overlap": ("{<a>,<b at>[4,12]}}", 12, False),
    "the same bytes": ("{<a>,<b at>[0,8]}}", 8, False),
    "a hole": ("{<a>,<b at>[12,20]}}", 20, False),
    "a hole at the start": ("{<b at>[8,16]}}", 16, False),
    "bytes at the end": ("{<a>}", 9, False),
    "bytes of no tensor": ("{}", 3, False),
    "too few bytes": ("{<a>}", 7, False),
    "nothing, in the middle": ("{<a>,<empty at>[4,4]}}", 8, False),
    "nothing, beyond": ("{<a>,<empty at>[9,9]}}", 8, False),
    "half a character": ("{'\\ud800':<first>}", 8, False),
    "half a character in metadata": ("{<meta>:{'a':'\\udc00'},<a>}", 8, False),
    "metadata of numbers": ("{<meta>:{'a':3},<a>}", 8, False),
    "metadata in a list": ("{<meta>:['a'],<a>}", 8, False),
    "metadata twice": ("{<meta>:{},<meta>:{},<a>}", 8, False),
    "no number": ("{<a open>,'x':NaN}}", 8, False),
    "an endless number": ("{<a open>,'x':1e999}}", 8, False),
    "a long number": ("{<a open>,'x':1" + 400 * "0" + "}}", 8, False),
    "a negative zero": ("{<b at>[-0,8]}}", 8, False),
    "a real number": ("{<b at>[0,8.0]}}", 8, False),
    "zeros behind": ("{<a>}\0", 8, False),
    "a control character": ("{'\x01':<first>}", 8, False),
}
#: What the format's text forbids and its reader overlooks.
STRICTER = {
    "a tensor twice": ("{<a>,<a>,<b at>[8,16]}}", 16),
    "white space before": (" {<a>}", 8),
    "a key of metadata twice": ("{<meta>:{'a':'1','a':'2'},<a>}", 8),
}


@pytest.mark.parametrize("name", [*HEADERS, *STRICTER])
def test_what_the_format_s_own_reader_refuses_is_refused(tmp_path, name):
    text, size, allowed = HEADERS.get(name) or (*STRICTER[name], False)
    for part, stands_for in PARTS.items():
        text = text.replace(part, stands_for)
    path = write_raw(tmp_path / "m.safetensors", text.replace("'", '"').encode(), bytes(size))
    for read in (files.read_update, files.locate_update):
        if allowed:
            read(path)
            continue
        with pytest.raises(WireFormatError, match=r"m.safetensors is not a .safetensors file: "):
            read(path)
    package = pytest.importorskip(
        "safetensors", reason="safetensors is not installed (extra 'cli')"
    )
    try:
        with package.safe_open(path, framework="np") as file:
            for tensor in file.keys():  # noqa: SIM118
                file.get_tensor(tensor)
    except package.SafetensorError:
        theirs = False
    else:
        theirs = True
    assert theirs == (allowed or name in STRICTER)


def test_names_that_the_format_has_no_place_for(tmp_path):
    with pytest.raises(ParameterError, match="cannot hold a tensor of the name '__metadata__'"):
        files.write_update(tmp_path / "m.safetensors", {"__metadata__": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


# --- what a file says of itself ------------------------------------------------------------------


def test_metadata_is_read_and_written(tmp_path):
    path = tmp_path / "m.safetensors"
    files.write_update(path, {"a": np.zeros(3)}, {"format": "pt", "naïve": "名"})
    back = files.read_update(path)
    assert back.metadata == {"format": "pt", "naïve": "名"}
    files.write_update(tmp_path / "again.safetensors", back)
    assert files.read_update(tmp_path / "again.safetensors").metadata == back.metadata
    files.write_update(path, {"a": np.zeros(3)})
    assert files.read_update(path).metadata == {}
    assert b"__metadata__" not in path.read_bytes()


def test_metadata_travels_in_the_round_to_the_sum(tmp_path, monkeypatch):
    """transformers refuses a file that does not say which framework's it is."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    package = pytest.importorskip("safetensors", reason="safetensors is not installed")
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    state = {"w": torch.ones(2, 3), "h": torch.full((3,), 0.5, dtype=torch.bfloat16)}
    save_file(state, "m.safetensors", metadata={"format": "pt", "epoch": "3"})
    plan = vs.Plan(2)
    secret, public = vs.keygen(plan)
    for like, metadata in (
        (files.read_update("m.safetensors"), {"format": "pt", "epoch": "3"}),
        (state, {"format": "pt"}),  # tensors of torch say so themselves
    ):
        rnd = vs.Round.from_bytes(vs.Round(plan, public, like=like).to_bytes())
        for name in ("a.up", "b.up"):
            vs.encrypt_file(rnd, "m.safetensors", name)
        total = vs.sum_files(rnd, ["a.up", "b.up"], "total.vs")
        vs.decrypt_file(vs.open_sum(secret, rnd, total), total, "mean.safetensors")
        with package.safe_open("mean.safetensors", framework="pt") as file:
            assert file.metadata() == metadata
            assert torch.equal(file.get_tensor("h"), state["h"])


def test_metadata_that_every_client_would_carry_is_bounded():
    like = NamedTensors({"a": "x" * (1 << 16)})
    like["w"] = np.zeros(2, np.float32)
    with pytest.raises(ParameterError, match="save the example with less of it"):
        Layout.like(like)
    like.metadata["a"] = "x" * ((1 << 16) - len('{"a": ""}'))
    layout = Layout.like(like)
    assert Layout.from_bytes(layout.to_bytes()) == layout
    assert layout.file_metadata == like.metadata


@pytest.mark.parametrize("metadata", ["[]", '{"a":3}', '"text"'])
def test_malformed_metadata_of_a_round_is_refused(metadata):
    good = b'{"kind":"mapping","layout":1,"library":"numpy","tensors":[["w","float32",[2]]]}'
    Layout.from_bytes(good)
    more = f'"metadata":{metadata},"tensors"'.encode()
    with pytest.raises(WireFormatError, match="malformed metadata"):
        Layout.from_bytes(good.replace(b'"tensors"', more))


def test_a_dtype_that_cannot_be_summed_is_named(tmp_path):
    path = write_raw(tmp_path / "m.safetensors", changed(dtype="F8_E4M3"), bytes(8))
    with pytest.raises(ParameterError, match="tensor 'a' has dtype F8_E4M3"):
        files.read_update(path)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_every_truncation_and_flip_gives_an_error_or_arrays(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    content = {"a": np.arange(3, dtype=np.float32)} if suffix != ".npy" else np.arange(3.0)
    files.write_update(path, content)
    good = path.read_bytes()
    for at in range(len(good)):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]):
            path.write_bytes(bad)
            try:
                back = files.read_update(path)
            except (WireFormatError, ParameterError):
                continue
            for array in back.values() if isinstance(back, dict) else [back]:
                array.tobytes()  # every value it claims to have is there


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(WireFormatError, match=r"a.npy is not a .npy file of numbers"):
        files.read_update(tmp_path / "a.npy")


def test_an_archive_in_disguise(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(WireFormatError):
        files.read_update(tmp_path / "a.npy")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_an_error_or_arrays(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    for name in ("x.npy", "x.safetensors"):
        (folder / name).write_bytes(data)
        try:
            files.read_update(folder / name)
        except (WireFormatError, ParameterError):
            continue


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_is_wrong_with_a_npy_file_is_said_in_plain_words(tmp_path, version):
    """At every length: nothing there, cut inside its header or data, of another format, objects."""
    whole, path = io.BytesIO(), tmp_path / "u.npy"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.lib.format.write_array(whole, array, version=version)
    raw = whole.getvalue()
    data = len(raw) - array.nbytes
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        says = "is empty" if length == 0 else "is cut short: it ends inside its "
        says += "" if length == 0 else "header" if length < data else "data"
        for read in (files.read_update, files.locate_update):
            with pytest.raises(
                vs.WireFormatError, match=f"u.npy is not a .npy file of.*it {says}$"
            ):
                read(path)
    path.write_bytes(raw)
    np.testing.assert_array_equal(files.read_update(path), array)
    for other in (b"hello, this is a text", b"PK"):
        path.write_bytes(other)
        with pytest.raises(vs.WireFormatError, match="it does not begin as one"):
            files.read_update(path)
    np.save(path, np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(vs.WireFormatError, match=r"it holds Python objects.*save an array of floa"):
        files.read_update(path)
