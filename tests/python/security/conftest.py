"""The rules' tests run on every engine that is here; a skip says why one is not.

`stage` is one engine, `stages` are all of them. The plain engine, which encrypts nothing, is known
while these tests run and to no other test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from security.stages import ENGINES, Stage, register, unregister, why_not


@pytest.fixture(scope="module", autouse=True)
def _plain_engine() -> Iterator[None]:
    register()
    yield
    unregister()


@pytest.fixture(scope="module", params=ENGINES)
def stage(request: pytest.FixtureRequest, _plain_engine: None) -> Stage:
    """One engine after the other."""
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return Stage(request.param)


@pytest.fixture(scope="module")
def stages(_plain_engine: None) -> list[Stage]:
    """All engines that are here: at least two."""
    return [Stage(engine) for engine in ENGINES if not why_not(engine)]
