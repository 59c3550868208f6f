"""What stands inside the handshake: any B2, B3 and CONNECTION_RESPONSE, signed and protected as they should be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.admission import announced
from ratatoskr.errors import Fault, Status
from ratatoskr.events import ConnectionRequested, Opened
from ratatoskr.limits import Limits
from tests.attacks.hostile import CLIENT, DEVICE, SERVER, SERVER_SIDE, HostilePeer, Rewrite, make_victim
from tests.attacks.victim import Victim
from tests.unit.messages.support import field

GOOD_LIMITS = announced(Limits())


def hello(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "chain": SERVER.wire_chain(),
        "time_ms": 1_700_000_000_000,
        "request_bytes": 16384,
        "accept_timeout_ms": 10_000,
    }
    return v1.ServerHello(**(fields | changes)).SerializeToString(deterministic=True)


def request(payload: bytes | None = None, **changes: Any) -> bytes:
    inner: dict[str, Any] = {
        "chain": DEVICE.wire_chain(),
        "suites": [0x11],
        "versions": [1],
        "limits": GOOD_LIMITS,
    }
    outer: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_CONNECTION_REQUEST,
        "operation": 1,
        "nonce": bytes(range(16)),
    }
    for name, value in changes.items():
        (inner if name in v1.ConnectionRequest.DESCRIPTOR.fields_by_name else outer)[name] = value
    if payload is None:
        payload = v1.ConnectionRequest(**inner).SerializeToString(deterministic=True)
    return v1.RatatoskrRequest(payload=payload, **outer).SerializeToString(deterministic=True)


def answer(payload: bytes | None = None, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_CONNECTION_RESPONSE,
        "operation": 1,
        "last": True,
    }
    if "error" not in changes:
        fields["payload"] = (
            v1.ConnectionResponse(limits=GOOD_LIMITS).SerializeToString() if payload is None else payload
        )
    response = v1.RatatoskrResponse(**(fields | changes))
    return v1.ConnectionAnswer(response=response).SerializeToString(deterministic=True)


def limits(**changes: int) -> v1.SessionLimits:
    result = v1.SessionLimits()
    result.CopyFrom(GOOD_LIMITS)
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def accepted(**changes: int) -> bytes:
    return answer(v1.ConnectionResponse(limits=limits(**changes)).SerializeToString())


TOO_LITTLE = ({"record_bytes": 4095}, {"envelope_bytes": 3071}, {"requests_open": 0}, {"request_bytes_open": 0})
"""What no peer may announce."""

B2 = {
    "nothing": (b"", "admission.field"),
    "noise": (b"\xff" * 40, "admission.malformed"),
    "an unknown field": (hello() + field(99, 1), "admission.field"),
    "a field twice": (hello() + hello(), "admission.field"),
    "no time to decide": (hello(accept_timeout_ms=0), "admission.field"),
    "a day to decide": (hello(accept_timeout_ms=86_400_000), "admission.field"),
    "no room for an answer": (hello(request_bytes=1023), "admission.field"),
}
B3 = {
    "nothing": (b"", "admission.field"),
    "noise": (b"\xff" * 40, "admission.malformed"),
    "an unknown field": (request() + field(99, 1), "admission.field"),
    "another type": (request(type=10), "admission.field"),
    "another operation": (request(operation=2), "admission.field"),
    "a short nonce": (request(nonce=b"short"), "admission.field"),
    "a payload of noise": (request(b"\xff"), "admission.malformed"),
    "an unknown field in the payload": (request(field(99, 1)), "admission.field"),
    "no suites": (request(suites=[]), "admission.field"),
    "seventeen suites": (request(suites=range(17)), "admission.field"),
    "no versions": (request(versions=[]), "admission.field"),
    "a downgraded suite": (request(suites=[1, 0x11]), "admission.downgrade"),
    "a suite that was never offered": (request(suites=[1]), "admission.downgrade"),
    "a version that is not spoken": (request(versions=[2]), "admission.downgrade"),
    "a token too long": (request(token=bytes(4097)), "admission.field"),
    "no limits": (request(limits=v1.SessionLimits()), "admission.limits"),
    **{f"limits {each}": (request(limits=limits(**each)), "admission.limits") for each in TOO_LITTLE},
}
ANSWERS = {
    "nothing": (b"", "admission.field"),
    "noise": (b"\xff" * 40, "admission.malformed"),
    "an unknown field": (answer() + field(99, 1), "admission.field"),
    "another type": (answer(type=10), "admission.field"),
    "another operation": (answer(operation=2), "admission.field"),
    "a payload of noise": (answer(b"\xff"), "admission.malformed"),
    "no limits": (answer(b""), "admission.limits"),
    **{f"limits {each}": (accepted(**each), "admission.limits") for each in TOO_LITTLE},
}


def meet(side: str, *, body: Rewrite | bytes, to: str) -> Victim:
    """A victim that is told this in B2, B3 or the answer."""
    rewrite: Rewrite = (lambda _: body) if isinstance(body, bytes) else body
    if to == "answer":
        peer = HostilePeer(make_victim(side), rewrite_answer=rewrite)
    else:
        peer = HostilePeer(make_victim(side), rewrite_body=rewrite)
    if side == SERVER_SIDE:
        peer.begin()
        peer.request()
    else:
        peer.challenge()
        if to == "answer":
            peer.answer()
    return peer.victim


@pytest.mark.parametrize("name", B2)
def test_a_client_refuses_a_hello_by_its_rule(name: str) -> None:
    body, rule = B2[name]
    victim = meet(CLIENT, body=body, to="hello")
    assert victim.verdict() == (Fault.REFUSED, rule)
    assert victim.written()[:4] == b"\x1f\0\0\6"


@pytest.mark.parametrize("name", B3)
def test_a_server_refuses_a_connection_request_by_its_rule(name: str) -> None:
    body, rule = B3[name]
    victim = meet(SERVER_SIDE, body=body, to="request")
    assert victim.verdict() == (Fault.REFUSED, rule)
    assert not victim.seen(ConnectionRequested)
    assert victim.written()[:4] == b"\x1f\0\0\6"


@pytest.mark.parametrize("name", ANSWERS)
def test_a_client_refuses_a_connection_response_by_its_rule(name: str) -> None:
    """It has spoken its last word with the third message: it closes without another."""
    body, rule = ANSWERS[name]
    victim = meet(CLIENT, body=body, to="answer")
    assert victim.verdict() == (Fault.REFUSED, rule)
    assert not victim.seen(Opened)
    assert victim.written() == b""


def test_a_rejection_is_told_as_it_was_meant() -> None:
    error = v1.Error(
        code=7, reason="NOT_TODAY", message="come back", disposition=v1.DISPOSITION_NOT_PROCESSED, retry_delay_ms=2000
    )
    victim = meet(CLIENT, body=answer(error=error), to="answer")
    closed = victim.closed
    assert closed is not None
    assert closed.fault is Fault.REJECTED
    failure = closed.failure
    assert failure is not None
    assert (failure.status, failure.reason) == (Status.PERMISSION_DENIED, "NOT_TODAY")
    assert failure.retry_delay == 2.0


def test_a_client_does_not_send_more_than_the_server_reads() -> None:
    """A token that is longer than the server announced ends here, not there."""
    peer = HostilePeer(make_victim(CLIENT, token=bytes(1000)), rewrite_body=lambda _: hello(request_bytes=1024))
    peer.challenge()
    assert peer.victim.verdict() == (Fault.REFUSED, "admission.length")


def test_honest_payloads_of_the_same_making_are_taken() -> None:
    assert meet(CLIENT, body=hello(), to="hello").verdict() is None
    assert meet(SERVER_SIDE, body=request(), to="request").seen(ConnectionRequested)
    assert meet(CLIENT, body=answer(), to="answer").seen(Opened)


fields = st.lists(st.tuples(st.integers(1, 12), st.one_of(st.integers(0, (1 << 64) - 1), st.binary(max_size=40))))
payloads = st.one_of(
    st.binary(max_size=100),
    fields.map(lambda fields: b"".join(field(*each) for each in fields)),
    st.sampled_from([hello(), request(), answer()]).flatmap(
        lambda whole: st.integers(0, len(whole) * 8 - 1).map(lambda bit: flipped(whole, bit))
    ),
)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(("side", "to"), [(CLIENT, "hello"), (CLIENT, "answer"), (SERVER_SIDE, "request")])
@given(body=payloads)
@settings(max_examples=300)
def test_any_payload_is_taken_or_refused(side: str, to: str, body: bytes) -> None:
    victim = meet(side, body=body, to=to)
    verdict = victim.verdict()
    if verdict is None:
        assert any(isinstance(event, Opened | ConnectionRequested) for event in victim.events) or victim.written()
        victim.finish()
    else:
        assert verdict[0] in (Fault.REFUSED, Fault.REJECTED)
