"""Opening asks for no values: at as many keys it is the same for ten of them and for 10^9."""

from __future__ import annotations

import pytest

from bench.openings import Opening


@pytest.mark.parametrize("keys", [1, 8])
def test_members_receive_and_send_as_much_for_any_vector(tmp_path, keys):
    """Requests, endorsements, certificates and answers; and what they open is the sum's key."""
    seen = set()
    for values in (10, 10**5, 10**9):
        (tmp_path / str(values)).mkdir()
        opening = Opening(tmp_path / str(values), values, clients=3, members=3, keys=keys)
        assert (opening.round.size, opening.round.upload_keys) == (values, keys)
        answer = opening.member_step().value
        opening.check(answer)
        seen.add((opening.member_bytes, len(answer)))
        with pytest.raises(AssertionError):  # it does look: at another upload's key
            opening.expected[0][0] += 1
            opening.check(answer)
    assert len(seen) == 1
