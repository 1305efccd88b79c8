"""What is public is pickled and copied; what is not says how it travels."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import veilsum as vs


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    plan = vs.Plan(2)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, like={"a": np.zeros(3, np.float32)})
    uploads = [vs.encrypt(rnd, {"a": np.ones(3, np.float32)}) for _ in range(2)]
    total = vs.weighted_sum(rnd, uploads)
    path = tmp_path_factory.mktemp("sums") / "total.vs"
    total.save(path)
    return {
        "plan": plan,
        "public": public,
        "round": rnd,
        "the core's round": total.round,
        "total": total,
        "upload": uploads[0],
        "request": total.opening_request(),
        "file": vs.AggregateFile(path, rnd),
        "secret": secret,
        "key": vs.open_sum(secret, rnd, total),
        "identity": vs.Identity.generate(),
        "public identity": vs.Identity.generate(post_quantum=True).public,
        "the core's public identity": vs._core.PublicIdentity(vs.Identity.generate().public),
    }


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "public",
        "round",
        "the core's round",
        "total",
        "public identity",
        "the core's public identity",
    ],
)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_public_objects_travel(things, name, protocol):
    thing = things[name]
    for again in (
        pickle.loads(pickle.dumps(thing, protocol)), copy.copy(thing), copy.deepcopy([thing])[0]
    ):  # fmt: skip
        assert again.to_bytes() == thing.to_bytes()
    holder = pickle.loads(pickle.dumps({"a": thing, "b": [thing]}, protocol))
    assert holder["a"] is holder["b"][0]


def test_what_was_pickled_works(things):
    rnd = pickle.loads(pickle.dumps(things["round"]))
    total = pickle.loads(pickle.dumps(things["total"]))
    vs.encrypt(rnd, {"a": np.ones(3, np.float32)})
    np.testing.assert_allclose(vs.decrypt(things["key"], total)["a"], 1, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("upload", r"to_bytes\(\), and make it again with Upload.from_bytes\(data, rnd\)"),
        ("request", r"OpeningRequest.from_bytes\(data, rnd\)"),
        ("file", r"send the file, and open it with AggregateFile\(path, rnd\)"),
        ("secret", "cannot be pickled or copied"),
        ("key", "cannot be pickled or copied"),
        ("identity", "cannot be pickled or copied"),
    ],
)
def test_what_does_not_travel_says_what_does(things, name, remedy):
    for work in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=remedy):
            work(things[name])


def test_the_remedy_works(things):
    upload, rnd = things["upload"], things["round"]
    data, described = pickle.loads(pickle.dumps((upload.to_bytes(), rnd)))
    assert vs.Upload.from_bytes(data, described).digest == upload.digest
