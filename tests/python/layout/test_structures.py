"""Nested updates: taken apart, put together, through rounds, bytes and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import veilsum as vs
from veilsum.layout.files import read_update, write_update
from veilsum.layout.structures import check_paths, flatten, is_nested, path_name, unflatten
from veilsum.layout.tensors import Layout

KEYS = st.text("ab/é", min_size=1, max_size=3)
LEAVES = st.integers(0, 99).map(lambda number: np.array([number], np.float32))
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


@given(TREES.filter(is_nested))
def test_what_is_taken_apart_is_put_together(tree):
    try:
        parts = flatten(tree)
    except vs.ParameterError as reason:
        assert "two arrays of the name" in str(reason)
        return
    paths = [path for path, _ in parts]
    assert check_paths(paths)
    back = unflatten(paths, [leaf for _, leaf in parts])
    assert same(back, tree)
    assert Layout.from_bytes(Layout.like(tree).to_bytes()) == Layout.like(tree)


@given(st.lists(st.lists(st.sampled_from(["a", "b", 0, 1, 2]), min_size=1, max_size=3), max_size=5))
def test_paths_are_accepted_exactly_when_they_are_of_one_tree(steps):
    """An untrusted round lists paths; what `check_paths` accepts comes back from `flatten`."""
    paths = [tuple(path) for path in steps]
    leaves = [np.array([index], np.float32) for index in range(len(paths))]
    try:
        again = flatten(unflatten(paths, leaves))
        fits = [path for path, _ in again] == paths
        fits = fits and all(one is other for (_, one), other in zip(again, leaves, strict=True))
    except (vs.ParameterError, TypeError, IndexError, KeyError, AttributeError):
        fits = False
    assert check_paths(paths) == fits


def flower():
    """Flower's NDArrays: a list of arrays of different shapes."""
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((3, 4), (4,), (), (2, 1))]


def flax():
    """Flax's parameters: nested dictionaries."""
    rng = np.random.default_rng(2)
    return {
        "params": {
            name: {
                "kernel": rng.uniform(-1, 1, (3, 2)).astype(np.float32),
                "bias": rng.uniform(-1, 1, 2).astype(np.float64),
            }
            for name in ("Dense_0", "Dense_1")
        },
        "scales": [rng.uniform(-1, 1, 2).astype(np.float16), np.array(0.5, np.float32)],
    }


@pytest.mark.parametrize("make", [flower, flax], ids=["flower", "flax"])
def test_a_round_of_a_nested_update(make):
    update = make()
    plan = vs.Plan(2)
    secret, public = vs.keygen(plan)
    rnd = vs.Round.from_bytes(vs.Round(plan, public, like=update).to_bytes())
    uploads = [vs.encrypt(rnd, update) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    mean = vs.decrypt(vs.open_sum(secret, rnd, total), total)
    wanted, found = flatten(update), flatten(mean)
    assert [path for path, _ in found] == [path for path, _ in wanted]
    for (path, exact), (_, value) in zip(wanted, found, strict=True):
        assert (value.dtype, value.shape) == (exact.dtype, exact.shape), path
        slack = 0.5 / 32767 + np.finfo(exact.dtype).eps
        np.testing.assert_allclose(value, exact, rtol=0, atol=slack)


@pytest.mark.parametrize("make", [flower, flax], ids=["flower", "flax"])
def test_a_nested_update_in_files(tmp_path, make, monkeypatch):
    """Files hold names; a nested round takes and gives them."""
    monkeypatch.chdir(tmp_path)
    update = make()
    plan = vs.Plan(2)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, like=update)
    names = {path_name(path): np.asarray(leaf) for path, leaf in flatten(update)}
    write_update("in.safetensors", names)
    for name in ("a.up", "b.up"):
        vs.encrypt_file(rnd, "in.safetensors", name)
    total = vs.sum_files(rnd, ["a.up", "b.up"], "total.vs")
    key = vs.open_sum(secret, rnd, total)
    vs.decrypt_file(key, total, "mean.safetensors")
    in_memory = vs.decrypt(key, vs.Aggregate.load("total.vs", rnd))
    back = read_update("mean.safetensors")
    assert back.keys() == names.keys()
    for path, leaf in flatten(in_memory):
        np.testing.assert_array_equal(back[path_name(path)], leaf)


def test_torch_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'train')")
    update = [torch.ones(2, 3), torch.zeros(4, dtype=torch.bfloat16)]
    layout = Layout.like(update)
    values = np.concatenate([np.ones(6), np.zeros(4)]).astype(np.float32)
    back = layout.assemble(values)
    assert [(type(part), part.dtype) for part in back] == [
        (torch.Tensor, torch.float32), (torch.Tensor, torch.bfloat16)
    ]  # fmt: skip


def test_limits_of_a_nested_update():
    layout = Layout.like(flax())
    assert {limit for _, limit in layout.segments(2.0)} == {2.0}
    nested = {
        "params": {
            "Dense_0": {"kernel": 1, "bias": 2},
            "Dense_1": {"kernel": 3, "bias": 4},
        },
        "scales": [5, 6],
    }
    assert [limit for _, limit in layout.segments(nested)] == [1, 2, 3, 4, 5, 6]
    named = {path_name(path): index for index, (path, _) in enumerate(flatten(flax()), 1)}
    assert [limit for _, limit in layout.segments(named)] == [1, 2, 3, 4, 5, 6]
    assert [limit for _, limit in Layout.like(flower()).segments([1, 2, 3, 4])] == [1, 2, 3, 4]
    with pytest.raises(vs.ParameterError, match="no entry for tensor 'scales/1'"):
        layout.segments({**nested, "scales": [5]})
    with pytest.raises(vs.ParameterError, match=r"limit of 'params/Dense_0/bias' is -2"):
        layout.segments({**named, "params/Dense_0/bias": -2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.pop("scales"), "no tensor 'scales/0'"),
        (lambda tree: tree.update(more=[np.zeros(1, np.float32)]), "a tensor 'more/0'"),
        (
            lambda tree: tree["params"]["Dense_0"].update(kernel=np.zeros(3, np.float32)),
            r"tensor 'params/Dense_0/kernel' has shape \[3\]",
        ),
        (
            lambda tree: tree["scales"].__setitem__(1, np.array(1)),
            "tensor 'scales/1' has dtype int64",
        ),
    ],
)
def test_the_first_difference_is_named(change, words):
    layout = Layout.like(flax())
    tree = flax()
    change(tree)
    with pytest.raises(vs.ParameterError, match=words):
        layout.pieces(tree)


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"a": {"b": {}}}, r"tensor 'a/b' is an empty dict.*leave it out"),
        ([np.zeros(1, np.float32), []], r"tensor '1' is an empty list.*leave it out"),
        ({"a": {3: np.zeros(1)}}, "key 3; names of tensors"),
        ({"a/b": np.zeros(1), "a": {"b": np.zeros(1)}}, "two arrays of the name 'a/b'"),
        ([np.zeros(1), "text"], "tensor '1' is a str"),
        ([[0.5, 1.0], np.zeros(1)], r"tensor '0' is a list; .*numpy.asarray"),
        ([], "update is a list"),
    ],
)
def test_what_no_tree_can_be_is_refused(update, words):
    with pytest.raises(vs.ParameterError, match=words):
        Layout.like(update)


def test_a_very_deep_update_is_refused():
    tree = np.zeros(1, np.float32)
    for _ in range(100):
        tree = {"a": tree}
    with pytest.raises(vs.ParameterError, match="deeper than 64"):
        Layout.like(tree)


@pytest.mark.parametrize(
    "paths",
    [
        [["a"], ["a"]],
        [["a"], ["a", "b"]],
        [["a", "b"], ["c"], ["a", "d"]],
        [[1]],
        [[0], [2]],
        [[0], ["a"]],
        [[]],
        [[""]],
        [[True]],
        [[-1]],
        [[0.0]],
        ["a"],
        [["a"] * 65],
        [["a/b"], ["a", "b"]],
    ],
    ids=str,
)
def test_malformed_paths_of_a_round_are_refused(paths):
    record = {
        "kind": "tree", "layout": 1, "library": "numpy",
        "tensors": [[path, "float32", [2]] for path in paths],
    }  # fmt: skip
    data = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(vs.WireFormatError):
        Layout.from_bytes(data)
