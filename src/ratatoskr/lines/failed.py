"""Why there is no connection."""

from __future__ import annotations

from ratatoskr.errors import Failure, Fault, RatatoskrError
from ratatoskr.events import Closed


class ConnectFailed(RatatoskrError):
    """No connection came about; nothing was asked and nothing was done.

    ``fault`` is the row of the table of faults: ``fault.may_reconnect`` says whether trying again by itself can help.
    ``reference`` is the number under which the server logged its refusal, 0 for none. ``failure`` is what the
    server's application said, None where it was not that which refused. ``retry_delay``: seconds after which trying
    again makes sense, as the server says; None where it says nothing.
    """

    def __init__(
        self,
        fault: Fault,
        detail: str,
        *,
        reference: int = 0,
        failure: Failure | None = None,
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.reference = reference
        self.failure = failure
        self.retry_delay: float | None = failure.retry_delay if failure is not None else retry_delay

    @classmethod
    def of(cls, closed: Closed) -> ConnectFailed:
        """The exception for a connection that ended before it was open."""
        if closed.rule == "alert":
            detail = (
                f"Refused (ref {reference_text(closed.reference)}). The operator finds the reason under this reference."
            )
        elif closed.failure is not None:
            detail = f"The server sent this client away: {closed.failure}"
        elif closed.fault is Fault.REFUSED:
            detail = closed.detail
        else:
            detail = f"{closed.fault.name}: {closed.detail or closed.fault.meaning}"
        return cls(closed.fault, detail, reference=closed.reference, failure=closed.failure)


def reference_text(reference: int) -> str:
    """A reference as both ends show it to people."""
    return f"{reference:08x}"
