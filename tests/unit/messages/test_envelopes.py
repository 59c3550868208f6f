"""Envelopes, and failures on their way through the wire."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, FieldViolation, Status
from ratatoskr.limits import MIN_ENVELOPE_BYTES
from ratatoskr.messages.envelopes import (
    MAX_VIOLATIONS,
    failure_from_error,
    failure_to_error,
    request_envelope,
    response_envelope,
)
from tests.unit.messages.support import authorized, payment, search

WIDE = ["x", "é", "…", "😀", "\udc80", "a\ud800b"]
"""One to four bytes a character, and halves of surrogate pairs, which UTF-8 has no bytes for."""


def test_an_envelope_is_one_byte_and_the_message() -> None:
    assert request_envelope(payment()) == b"\x01" + payment().SerializeToString(deterministic=True)
    assert request_envelope(search()) == b"\x01" + search().SerializeToString(deterministic=True)
    assert response_envelope(authorized()) == b"\x02" + authorized().SerializeToString(deterministic=True)


def worst(text: str) -> Failure:
    violation = FieldViolation(text * 500, text * 500, text * 500)
    return Failure(
        Status.UNAUTHENTICATED, text * 2000, text * 2000, Disposition.FAILED, 1e12, (violation,) * (MAX_VIOLATIONS + 5)
    )


@pytest.mark.parametrize("text", WIDE, ids=ascii)
def test_the_longest_error_fits_into_the_shortest_envelope(text: str) -> None:
    error = failure_to_error(worst(text))
    response = v1.RatatoskrResponse(
        request_number=(1 << 64) - 1,
        request_leaf=bytes([255]) * 32,
        type=v1.MessageType.ValueType((1 << 31) - 1),
        operation=(1 << 32) - 1,
        last=True,
        replayed=True,
        error=error,
    )
    assert len(response_envelope(response)) <= MIN_ENVELOPE_BYTES
    assert len(error.violations) == MAX_VIOLATIONS
    for cut, size in [(error.reason, 64), (error.message, 512), (error.violations[0].field, 64)]:
        assert size - 4 < len(cut.encode()) <= size, "as much as there is room for"


def test_text_is_cut_between_characters() -> None:
    error = failure_to_error(Failure(Status.ABORTED, "é" * 33, "a" + "😀" * 200))
    assert error.reason == "é" * 32
    assert error.message == "a" + "😀" * 127


def test_what_has_no_bytes_becomes_a_question_mark() -> None:
    assert failure_to_error(Failure(Status.ABORTED, "R", "a\ud800b")).message == "a?b"


@pytest.mark.parametrize(
    ("delay", "milliseconds", "read"),
    [
        (None, 0, None),
        (0.0, 1, 0.001),
        (0.0001, 1, 0.001),
        (-5.0, 1, 0.001),
        (2.5, 2500, 2.5),
        (86_400.0, 86_400_000, 86_400.0),
        (86_400.001, 86_400_000, 86_400.0),
        (1e300, 86_400_000, 86_400.0),
        (inf, 86_400_000, 86_400.0),
        (-inf, 1, 0.001),
        (nan, 1, 0.001),
    ],
)
def test_a_retry_delay_is_from_a_millisecond_to_a_day(delay: float | None, milliseconds: int, read: float) -> None:
    error = failure_to_error(Failure(Status.ABORTED, "BUSY", "later", retry_delay=delay))
    assert error.retry_delay_ms == milliseconds
    assert failure_from_error(error).retry_delay == read


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, Status.CANCELLED),
        (16, Status.UNAUTHENTICATED),
        (0, Status.UNKNOWN),
        (17, Status.UNKNOWN),
        ((1 << 32) - 1, Status.UNKNOWN),
    ],
)
def test_codes_of_a_later_protocol_read_as_unknown(code: int, status: Status) -> None:
    assert failure_from_error(v1.Error(code=code, disposition=v1.DISPOSITION_FAILED)).status is status


@pytest.mark.parametrize(
    ("number", "disposition"),
    [(1, Disposition.NOT_PROCESSED), (2, Disposition.MAYBE), (3, Disposition.FAILED)]
    + [(number, Disposition.MAYBE) for number in (0, 4, -1, (1 << 31) - 1)],
)
def test_a_disposition_that_nobody_knows_is_the_careful_one(number: int, disposition: Disposition) -> None:
    error = v1.Error(code=1, disposition=v1.Disposition.ValueType(number))
    assert failure_from_error(error).disposition is disposition


violations = st.builds(FieldViolation, *(st.text(max_size=16),) * 3)
failures = st.builds(
    Failure,
    st.sampled_from([each for each in Status if each]),
    st.text(max_size=16),
    st.text(max_size=128),
    st.sampled_from(Disposition),
    st.none() | st.integers(1, 86_400_000).map(lambda ms: ms / 1000),
    st.lists(violations, max_size=MAX_VIOLATIONS).map(tuple),
)


@given(failures)
def test_a_failure_that_fits_comes_out_as_it_went_in(failure: Failure) -> None:
    error = v1.Error.FromString(failure_to_error(failure).SerializeToString())
    assert failure_from_error(error) == failure


@given(st.builds(Failure, st.sampled_from(Status), st.text(), st.text(), st.sampled_from(Disposition), st.floats()))
def test_no_failure_that_a_handler_makes_raises(failure: Failure) -> None:
    failure_from_error(failure_to_error(failure))
