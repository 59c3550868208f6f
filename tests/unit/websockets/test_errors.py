"""What a caller reads where there is no connection."""

from __future__ import annotations

import pytest

from ratatoskr import Closed, Failure, Fault, Status
from ratatoskr_websockets import ConnectFailed

REJECTION = Failure(Status.PERMISSION_DENIED, "NO_TOKEN", "a token is needed")


@pytest.mark.parametrize(
    ("closed", "text"),
    [
        (
            Closed(Fault.REFUSED, "alert", "refused by the peer", 0x7F3A),
            "Refused (ref 00007f3a). The operator finds the reason under this reference.",
        ),
        (
            Closed(Fault.REFUSED, "certificate.name", "Server proved `a`; you asked for `b`.", 1),
            "Server proved `a`; you asked for `b`.",
        ),
        (
            Closed(Fault.REJECTED, "admission.rejected", "", 0, REJECTION),
            "The server sent this client away: PERMISSION_DENIED/NO_TOKEN: a token is needed",
        ),
        (Closed(Fault.RECORD_FORGED, "record.open", "it does not open"), "RECORD_FORGED: it does not open"),
        (Closed(Fault.HANDSHAKE_TIMEOUT, "timer", ""), "HANDSHAKE_TIMEOUT: the handshake took too long"),
    ],
)
def test_the_text_says_what_to_look_at(closed: Closed, text: str) -> None:
    failed = ConnectFailed.of(closed)
    assert str(failed) == failed.detail == text
    assert (failed.fault, failed.reference, failed.failure) == (closed.fault, closed.reference, closed.failure)
