"""The limits, one after the other, taken away: a bug for each, planted into the core while a test runs.

A fragment of a function's source is replaced by another, so what is tested is the core as it is but for this. A
fragment that is not there any more, or stands there twice, is an error: the limit has moved, and the bug with it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

from ratatoskr import admission, v1
from ratatoskr.channel import RecordReader, handshake
from ratatoskr.connection.liveness import Liveness
from ratatoskr.connection.machine import Machine
from ratatoskr.identity import TrustPolicy
from ratatoskr.messages import MessageValidator, validator
from ratatoskr.messages.wire import Shape
from ratatoskr.session import Session
from ratatoskr.session.answering import Answerer
from ratatoskr.session.asking import Asker
from ratatoskr.session.charges import Charges
from ratatoskr.session.draining import Draining
from ratatoskr.session.inbox import Inbox
from ratatoskr.session.incoming import IncomingCalls
from ratatoskr.session.outbox import Outbox
from ratatoskr.session.outgoing import OutgoingCalls
from ratatoskr.session.streams import Streams
from ratatoskr.timers import Now, Timer, Timers
from tests.attacks.floods import bombs, calls, controls, handshakes, records, streams
from tests.attacks.floods.attack import Attack

Plant = Callable[[pytest.MonkeyPatch], None]


class Planted(NamedTuple):
    """A limit, how it is taken away, and attacks that must then cost more than they may."""

    limit: str
    plant: Plant
    attacks: tuple[Attack, ...]


def replaced(owner: type | ModuleType, name: str, fragment: str, by: str) -> Plant:
    """The function as it is, but for a fragment of its source."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        function = getattr(owner, name)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(fragment) == 1, f"{name} does not hold {fragment!r} once: the limit has moved"
        made: dict[str, object] = {}
        exec(compile(source.replace(fragment, by), f"<{name} without a limit>", "exec"), function.__globals__, made)
        monkeypatch.setattr(owner, name, made[name])

    return plant


def never_set(*timers: Timer) -> Plant:
    """These deadlines do not exist."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        honest = Timers.set

        def without(self: Timers, timer: Timer, deadline: float) -> None:
            if timer not in timers:
                honest(self, timer, deadline)

        monkeypatch.setattr(Timers, "set", without)

    return plant


def answers_each_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pong for each, not one for all that came together."""
    receive, say = Liveness.receive, Liveness.controls
    pings: list[v1.Control] = []

    def receive_each(self: Liveness, control: v1.Control, now: Now) -> None:
        if control.HasField("ping"):
            pings.append(control)
        receive(self, control, now)

    def answer_each(self: Liveness, now: Now) -> list[v1.Control]:
        due = say(self, now)
        due += [v1.Control(pong=v1.Pong(token=each.ping.token)) for each in pings[1:]]
        pings.clear()
        return due

    monkeypatch.setattr(Liveness, "receive", receive_each)
    monkeypatch.setattr(Liveness, "controls", answer_each)


CHARGED = (
    controls.pings,
    controls.full_flights,
    controls.nothing,
    controls.padding,
    controls.seals,
    controls.no_kind,
    controls.go_away,
    controls.disconnect,
    controls.empty_grants,
    controls.small_grants,
)
FLIGHTS = (bombs.empty_controls, bombs.empty_hops, bombs.empty_envelopes, bombs.unknown_fields, bombs.groups)
PAYLOADS = (*bombs.empty_submessages, *bombs.packed_numbers, *bombs.unknown_in_payload)

PLANTED = [
    # What a peer may make us do for nothing
    Planted("control_rate", replaced(Charges, "control", "raise _exceeded", "_exceeded"), CHARGED),
    Planted("a grant costs what it is", replaced(Charges, "grant", "self.control(now)", "pass"), CHARGED[-2:]),
    Planted(
        "nothing is charged",
        replaced(Session, "receive", "self._charges.control(now.mono)", "pass"),
        (controls.nothing, controls.padding, controls.seals),
    ),
    Planted(
        "cancels_per_minute",
        replaced(Charges, "cancel", "raise _exceeded", "_exceeded"),
        (calls.reset_in_a_flight, calls.reset, calls.cancels, calls.late_cancels),
    ),
    Planted("errors_per_minute", replaced(Charges, "error", "raise _exceeded", "_exceeded"), calls.ERRORS),
    Planted("one Pong a flight", answers_each_ping, (controls.full_flights, controls.pings_in_time)),
    Planted(
        "one GoingAway",
        replaced(Draining, "go_away_received", "first = not self.announced", "first = True"),
        (controls.go_away,),
    ),
    Planted(
        "controls name what was asked",
        replaced(Session, "_check_asked", "if not 0 < number <= self._validator.position.number:", "if False:"),
        (calls.cancels_of_nothing,),
    ),
    Planted(
        "nothing new while draining",
        replaced(Answerer, "ask", "if self.refusal is not None:", "if False:"),
        (controls.requests_after_go_away,),
    ),
    # Slots
    Planted(
        "requests_open",
        replaced(IncomingCalls, "accept", "self.open >= limits.requests_open or over_bytes", "over_bytes"),
        (calls.reset_in_a_chunk, calls.unacknowledged, calls.unread, calls.endless),
    ),
    Planted(
        "request_bytes_open",
        replaced(
            IncomingCalls,
            "accept",
            "self.open >= limits.requests_open or over_bytes",
            "self.open >= limits.requests_open",
        ),
        (calls.many_bytes,),
    ),
    Planted(
        "a slot returns when its handler ends",
        replaced(
            Answerer,
            "cancel",
            "call.move(AnsweringInput.CANCEL)",
            "self._fail(call, CANCELLED_UNSEEN, AnsweringInput.ANSWER)",
        ),
        (calls.reset_in_a_chunk,),
    ),
    Planted(
        "a slot returns when its handler ends, in time or not",
        replaced(
            Answerer,
            "sweep",
            "call.move(AnsweringInput.EXPIRE)",
            "self._fail(call, CANCELLED_UNSEEN, AnsweringInput.ANSWER)",
        ),
        (calls.hasty,),
    ),
    Planted(
        "a cancel in its request's flight starts no handler",
        replaced(Inbox, "withdraw", "isinstance(event, RequestReceived)", "False"),
        (calls.reset_in_a_flight,),
    ),
    Planted(
        "a request that has expired starts no handler",
        replaced(Answerer, "ask", "elif _has_expired(request, received.kind, now):", "elif False:"),
        (calls.stale,),
    ),
    # Streams
    Planted(
        "outbox_messages",
        replaced(Outbox, "has_room", "len(self._entries) < limits.outbox_messages", "True"),
        (streams.unacknowledged_short,),
    ),
    Planted(
        "outbox_bytes",
        replaced(Outbox, "has_room", "self.bytes < limits.outbox_bytes", "True"),
        (streams.unacknowledged, streams.unacknowledged_many),
    ),
    Planted(
        "item_bytes_queued",
        replaced(Streams, "_fits", "self._bytes + size <= self._limits.item_bytes_queued", "True"),
        (streams.unacknowledged, streams.unacknowledged_many, streams.unread),
    ),
    Planted("credit", replaced(Streams, "check_room", "place >= call.credit", "False"), (streams.no_credit,)),
    Planted(
        "stream_credit_ahead",
        replaced(OutgoingCalls, "answered", "call.items >= call.granted", "False"),
        (streams.unasked, streams.given_up, streams.cancelled),
    ),
    Planted(
        "items that nobody wants are dropped",
        replaced(Asker, "answer", "if before is Asking.OPEN else None", "if True else None"),
        (streams.given_up, streams.cancelled),
    ),
    Planted(
        "span_messages",
        replaced(MessageValidator, "_parse", "self._number - self._sealed + count > limits.span_messages", "False"),
        (streams.unsealed,),
    ),
    # Times
    Planted("span_timeout", never_set(Timer.SPAN), (streams.never_sealed,)),
    Planted("write_timeout", never_set(Timer.WRITE), (controls.pings_unread, streams.unread)),
    Planted("liveness_timeout", never_set(Timer.LIVENESS), (controls.silence,)),
    Planted("drain_timeout", never_set(Timer.DRAIN), (controls.requests_after_go_away,)),
    Planted("close_timeout", never_set(Timer.CLOSE), (controls.last_word, calls.unread)),
    Planted(
        "record_timeout", never_set(Timer.RECORD), (records.header_alone, records.all_but_one, records.now_and_then)
    ),
    Planted(
        "handshake_timeout",
        never_set(Timer.HANDSHAKE),
        (handshakes.first_bytes, handshakes.dripping, handshakes.first_messages, handshakes.half_open),
    ),
    Planted("accept_timeout", never_set(Timer.ACCEPT), (handshakes.unanswered,)),
    # Lengths and counts
    Planted(
        "record_bytes",
        replaced(RecordReader, "next", "end - body > allowed", "False"),
        (records.too_long, handshakes.long_m1, handshakes.long_m2, handshakes.long_m3),
    ),
    Planted(
        "handshake_bytes",
        replaced(Machine, "_longest", "return self._side.m3_limit", "return 1 << 24"),
        (handshakes.long_m3,),
    ),
    Planted(
        "the length of a first message",
        replaced(Machine, "_longest", "return self._side.m1_limit", "return 1 << 24"),
        (handshakes.long_m1,),
    ),
    Planted(
        "envelope_bytes",
        replaced(MessageValidator, "_link", "len(envelope) > longest", "False"),
        (records.long_envelope,),
    ),
    Planted(
        "flight_messages",
        replaced(MessageValidator, "_parse", "count > limits.flight_messages", "False"),
        (bombs.envelopes,),
    ),
    Planted(
        "controls",
        replaced(MessageValidator, "_parse", "len(flight.controls) > limits.controls", "False"),
        (bombs.controls,),
    ),
    Planted(
        "metadata_entries",
        replaced(validator, "_check_request", "len(metadata) > limits.metadata_entries", "False"),
        (bombs.entries[2],),
    ),
    Planted(
        "metadata_bytes",
        replaced(validator, "_check_request", "size > limits.metadata_bytes", "False"),
        (bombs.total[2],),
    ),
    # Fields are counted before they are parsed
    Planted(
        "fields of a flight",
        replaced(MessageValidator, "_parse", "if _FLIGHT.exceeds(", "if not data and _FLIGHT.exceeds("),
        FLIGHTS,
    ),
    Planted(
        "fields of an envelope",
        replaced(validator, "_parse_envelope", "if _ENVELOPES[form].exceeds(body, fields):", "if False:"),
        (bombs.empty_metadata, bombs.unknown_in_envelope),
    ),
    Planted(
        "fields of a payload",
        replaced(validator, "_open_payload", "shape_of(cls).exceeds(data, PAYLOAD_FIELDS)", "False"),
        PAYLOADS,
    ),
    Planted(
        "no groups",
        replaced(Shape, "left", "else:\n            return -1", "else:\n            return budget"),
        (bombs.groups,),
    ),
    Planted(
        "the first four bytes", replaced(handshake, "parse_h1", "if magic != _MAGIC:", "if False:"), (handshakes.noise,)
    ),
    Planted(
        "fields of a handshake payload",
        replaced(admission, "_parse", "_MESSAGE_FIELDS, MAX_DEPTH) < 0", "_MESSAGE_FIELDS, MAX_DEPTH) > 1 << 30"),
        (handshakes.empty_certificates, handshakes.packed_suites, handshakes.empty_certificates_of_servers),
    ),
    Planted(
        "the length of a token",
        replaced(admission.ConnectionRequest, "decode", "len(message.token) <= MAX_TOKEN_BYTES", "True"),
        (handshakes.long_token,),
    ),
    Planted(
        "the length of a chain",
        replaced(TrustPolicy, "judge", "if not 1 <= len(chain) <= MAX_CHAIN:", "if False:"),
        (handshakes.certificates,),
    ),
]
