"""How the sandbox refuses: a google.rpc code, a stable reason, and the field that is to blame."""

from __future__ import annotations

from ratatoskr import Fail, FieldViolation, Status


def refused_field(field: str, status: Status, reason: str, description: str) -> Fail:
    """A failure that one field of the request is the cause of."""
    return Fail(status, reason, f"{field}: {description}", violations=(FieldViolation(field, reason, description),))
