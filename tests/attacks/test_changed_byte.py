"""One changed byte anywhere on the wire: one clear Closed on each side, at once or at a named timer.

The conversation is that of a whole business call: the handshake, a search and its answer, a payment and its answer,
the close. Every byte of it is changed once, in each direction.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest

from ratatoskr.channel import XX_AESGCM, XXHFS_AESGCM, RecordReader, RecordType, Suite
from ratatoskr.connection import State
from ratatoskr.errors import Fault
from ratatoskr.events import ConnectionRequested, RequestReceived, ResponseReceived
from ratatoskr.limits import MAX_RECORD_BYTES
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from ratatoskr.testing import Pair
from ratatoskr.testing.pair import End
from ratatoskr.v1 import PAYMENT_STATUS_AUTHORIZED, AuthorizePayment, Money, PaymentAuthorized, Search, SearchResult
from tests.attacks.hostile import AUTHORITY, DEVICE, SERVER

DIRECTIONS = ("from the client", "from the server")
PATIENCE = 200.0
"""Longer than every timer that may be waited for, in seconds."""

AT_ONCE = {
    Fault.REFUSED,
    Fault.REJECTED,
    Fault.RECORD_MALFORMED,
    Fault.RECORD_TOO_LONG,
    Fault.RECORD_FORGED,
    Fault.TRANSPORT_LOST,
}
AT_A_TIMER = {
    Fault.HANDSHAKE_TIMEOUT,
    Fault.ACCEPT_TIMEOUT,
    Fault.RECORD_STALLED,
    Fault.SEAL_OVERDUE,
    Fault.PEER_SILENT,
    Fault.DRAIN_TIMEOUT,
}


class Conversation:
    """One pair that talks business; ``changed`` is the byte to change, by direction and offset, None for none."""

    def __init__(self, suite: Suite, changed: tuple[str, int] | None = None) -> None:
        self.pair = pair = Pair(
            client=AUTHORITY.client_config(DEVICE, suites=(suite,)),
            server=AUTHORITY.server_config(identity=SERVER, suites=(suite,)),
        )
        self.wires = {"from the client": bytearray(), "from the server": bytearray()}
        self.delivered: list[str] = []
        for direction, end in zip(DIRECTIONS, (pair.client, pair.server), strict=True):
            end.link.tamper = self._tamper(direction, changed)
        pair.server.on_event = self._serve
        pair.client.on_event = self._count
        client = pair.client.connection
        client.request(MARKETPLACE_SEARCH, Search(query="lamp"))
        pair.run()
        if pair.client.closed is None:
            client.request(
                PAYMENT_AUTHORIZE,
                AuthorizePayment(
                    end_to_end_id="ORDER-1",
                    debtor_account="DE89370400440532013000",
                    creditor_account="FR7630006000011234567890189",
                    amount=Money(currency="EUR", units=12),
                ),
            )
        pair.run()
        if client.state is State.OPEN:
            client.close()
        pair.run()
        self.at_once = pair.client.closed is not None and pair.server.closed is not None
        pair.run(seconds=PATIENCE)

    def _tamper(self, direction: str, changed: tuple[str, int] | None) -> Callable[[bytes], bytes]:
        wire = self.wires[direction]

        def tamper(data: bytes) -> bytes:
            at = len(wire)
            wire.extend(data)
            if changed is None or changed[0] != direction or not at <= changed[1] < at + len(data):
                return data
            flipped = bytearray(data)
            flipped[changed[1] - at] ^= 1 << changed[1] % 8
            return bytes(flipped)

        return tamper

    def _serve(self, event: object) -> bool:
        connection = self.pair.server.connection
        match event:
            case ConnectionRequested():
                connection.accept()
            case RequestReceived(kind=kind) if kind == MARKETPLACE_SEARCH:
                connection.respond(event.id, SearchResult())
            case RequestReceived():
                self.delivered.append("payment")
                connection.respond(
                    event.id,
                    PaymentAuthorized(
                        payment_id="p-1",
                        end_to_end_id="ORDER-1",
                        status=PAYMENT_STATUS_AUTHORIZED,
                        amount=Money(currency="EUR", units=12),
                        authorized_until_ms=1,
                    ),
                )
            case _:
                return False
        return True

    def _count(self, event: object) -> bool:
        if isinstance(event, ResponseReceived):
            self.delivered.append("answer")
        return False


def records(wire: bytes) -> list[tuple[RecordType, bytes]]:
    """Type and body of all records of a stream."""
    reader = RecordReader()
    reader.feed(wire)
    found = []
    while (record := reader.next(lambda _: MAX_RECORD_BYTES)) is not None:
        found.append((record[0], record[2]))
    assert not reader.partial
    return found


def check(end: End, *, at_once: bool, may_be_clean: bool, where: str) -> None:
    """One clear end."""
    closed = end.closed
    assert closed is not None, f"{where}: the {end.name} never ended; it saw {end.events}"
    assert closed.rule, where
    if not (may_be_clean and closed.clean):
        assert not closed.clean, f"{where}: the {end.name} noticed nothing"
        assert closed.fault in (AT_ONCE if at_once else AT_ONCE | AT_A_TIMER), f"{where}: {closed}"


def test_the_conversation_has_every_kind_of_record() -> None:
    whole = Conversation(XXHFS_AESGCM)
    assert whole.delivered == ["answer", "payment", "answer"]
    assert whole.pair.client.closed is not None
    assert whole.pair.client.closed.clean
    assert whole.pair.server.closed is not None
    assert whole.pair.server.closed.clean
    client, server = ([type for type, _ in records(bytes(whole.wires[each]))] for each in DIRECTIONS)
    assert client[:2] == [RecordType.M1, RecordType.M3]
    assert server[:2] == [RecordType.M2, RecordType.RESPONSE]
    assert {*client[2:], *server[2:]} == {RecordType.DATA}
    assert min(len(client), len(server)) >= 5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("suite", [XX_AESGCM, XXHFS_AESGCM], ids=lambda suite: suite.name)
def test_every_changed_byte_is_noticed_by_both(suite: Suite, direction: str) -> None:
    """With the hybrid suite for the handshake messages, which alone differ; with the classic one for everything.

    The last record of all is the one exception: nobody answers it. Its reader notices, its writer has ended cleanly.
    """
    wire = bytes(Conversation(suite).wires[direction])
    starts = [*accumulate((4 + len(body) for _, body in records(wire)), initial=0)]
    lengths = {start + more for start in starts for more in (1, 2, 3)}
    end = starts[2] if suite.kem is not None else len(wire)
    for offset in range(end):
        conversation = Conversation(suite, (direction, offset))
        pair = conversation.pair
        where = f"byte {offset} of {len(wire)} {direction}"
        assert conversation.at_once or offset in lengths, f"{where} is no length and waited for a timer"
        last = direction == DIRECTIONS[0] and offset >= starts[-2]
        check(pair.client, at_once=conversation.at_once, may_be_clean=last, where=where)
        check(pair.server, at_once=conversation.at_once, may_be_clean=False, where=where)
        assert conversation.delivered.count("payment") <= 1
