"""Outbox: requests that survive the process until their outcome is known."""

from ratatoskr.service.outbox.courier import Courier
from ratatoskr.service.outbox.memory import MemoryOutboxStore
from ratatoskr.service.outbox.news import OutboxHost
from ratatoskr.service.outbox.outbox import Outbox, Posted, PostSettled
from ratatoskr.service.outbox.policy import OutboxPolicy
from ratatoskr.service.outbox.states import Posting
from ratatoskr.service.outbox.store import Head, OutboxFull, OutboxInUse, OutboxStore, Parcel, Settlement

__all__ = [
    "Courier",
    "Head",
    "MemoryOutboxStore",
    "Outbox",
    "OutboxFull",
    "OutboxHost",
    "OutboxInUse",
    "OutboxPolicy",
    "OutboxStore",
    "Parcel",
    "PostSettled",
    "Posted",
    "Posting",
    "Settlement",
]
