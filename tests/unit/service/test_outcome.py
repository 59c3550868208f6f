"""What is stored is what the wire carries: a replayed answer is the same as the first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, FieldViolation, Status
from ratatoskr.messages.envelopes import failure_to_error
from ratatoskr.service.outcome import decode_outcome, encode_outcome
from tests.unit.service.support import NOTE, say

failures = st.builds(
    Failure,
    st.sampled_from([each for each in Status if each]),
    st.text(max_size=80),
    st.text(max_size=600),
    st.sampled_from(Disposition),
    st.none() | st.floats(0, 1e6),
    st.lists(st.builds(FieldViolation, st.text(), st.text(), st.text()), max_size=10).map(tuple),
)


@given(failures)
def test_a_replayed_failure_is_the_same_on_the_wire(failure: Failure) -> None:
    replayed = decode_outcome(NOTE, encode_outcome(failure))
    assert isinstance(replayed, Failure)
    assert failure_to_error(replayed) == failure_to_error(failure)


@given(st.text())
def test_a_replayed_answer_is_the_same(text: str) -> None:
    answer = say(text)
    replayed = decode_outcome(NOTE, encode_outcome(answer))
    assert isinstance(replayed, v1.GoAway)
    assert replayed == answer
    assert replayed.SerializeToString() == answer.SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        v1.RatatoskrResponse(last=True).SerializeToString(),
        v1.RatatoskrResponse(payload=b"\xff").SerializeToString(),
    ],
)
def test_what_cannot_be_read_is_nothing(data: bytes) -> None:
    assert decode_outcome(NOTE, data) is None
