"""The words for what can go wrong hold together."""

from __future__ import annotations

import pytest

from ratatoskr import v1
from ratatoskr.errors import (
    CallError,
    CallFailed,
    CallRefused,
    Disposition,
    Fail,
    Failure,
    Fault,
    FaultClass,
    FieldViolation,
    LocalProtocolError,
    OutcomeUnknown,
    ProtocolFault,
    RatatoskrError,
    Status,
    WouldBlock,
)

VIOLATION = FieldViolation("amount.currency", "string.pattern", "must be three letters")


def test_status_numbers_are_those_of_google_rpc() -> None:
    assert [each.value for each in Status] == list(range(17))
    assert (Status.OK, Status.NOT_FOUND, Status.UNAUTHENTICATED) == (0, 5, 16)


def test_dispositions_are_those_of_the_schema() -> None:
    schema = {v.name.removeprefix("DISPOSITION_"): v.number for v in v1.Disposition.DESCRIPTOR.values if v.number}
    assert {each.name: each.value for each in Disposition} == schema


def test_every_fault_has_a_code_of_its_own_in_the_range_for_applications() -> None:
    codes = [each.code for each in Fault]
    assert len(set(codes)) == len(codes)
    assert all(code in {1000, 1001} or 4400 <= code <= 4503 for code in codes)
    assert all(each.meaning for each in Fault)


def test_a_session_that_ended_with_a_fault_is_not_continued_and_a_lost_transport_is() -> None:
    assert {each for each in Fault if each.cls is FaultClass.SESSION and each.may_reconnect} == {
        Fault.SESSION_EXPIRED,  # these three end a session that has no connection
        Fault.SESSION_UNKNOWN,
        Fault.SESSION_ABANDONED,
    }
    assert [each for each in Fault if each.cls is FaultClass.NONE] == [Fault.CLEAN]
    assert {each for each in Fault if each.cls is FaultClass.TRANSPORT and not each.may_reconnect} == {
        Fault.REFUSED,
        Fault.REJECTED,
        Fault.SESSION_REPLACED,
    }


def test_representations_name_the_row_alone() -> None:
    assert repr(Fault.SEAL_INVALID) == "Fault.SEAL_INVALID"
    fault = ProtocolFault(Fault.SEAL_INVALID, "seal.signature", "does not verify")
    assert str(fault) == "SEAL_INVALID [seal.signature]: does not verify"
    assert (fault.fault, fault.rule, fault.detail) == (Fault.SEAL_INVALID, "seal.signature", "does not verify")


@pytest.mark.parametrize("error", [LocalProtocolError, WouldBlock, ProtocolFault, Fail, CallError])
def test_one_root_and_misuse_is_no_fault(error: type[Exception]) -> None:
    assert issubclass(error, RatatoskrError)
    assert issubclass(error, LocalProtocolError) == (error in {LocalProtocolError, WouldBlock})


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (Disposition.NOT_PROCESSED, CallRefused),
        (Disposition.MAYBE, OutcomeUnknown),
        (Disposition.FAILED, CallFailed),
    ],
)
def test_the_exception_follows_the_disposition(disposition: Disposition, expected: type[CallError]) -> None:
    failure = Failure(Status.ABORTED, "BUSY", "try later", disposition)
    error = CallError.of(failure)
    assert type(error) is expected
    assert error.failure is failure
    assert str(error) == "ABORTED/BUSY: try later"


def test_a_failure_names_the_fields_that_broke_rules() -> None:
    failure = Failure(Status.INVALID_ARGUMENT, "BAD", "no", violations=(VIOLATION, VIOLATION))
    one = "; amount.currency: must be three letters [string.pattern]"
    assert str(failure) == f"INVALID_ARGUMENT/BAD: no{one}{one}"


def test_what_a_handler_raises_becomes_the_failure() -> None:
    raised = Fail(Status.NOT_FOUND, "NO_OFFER", "no such offer", retry_delay=2.5, violations=(VIOLATION,))
    assert raised.failure == Failure(
        Status.NOT_FOUND, "NO_OFFER", "no such offer", Disposition.FAILED, 2.5, (VIOLATION,)
    )
    assert str(raised) == str(raised.failure)
    assert not isinstance(raised, CallError), "what is caught from a call is not passed on by accident"
    assert Fail(Status.NOT_FOUND, "NO_OFFER").failure.message == "NO_OFFER"
    assert Fail(Status.UNKNOWN, "X", disposition=Disposition.MAYBE).failure.disposition is Disposition.MAYBE
