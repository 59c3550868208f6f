"""Service: what adapters share. Pending calls, the router, at-most-once decisions, retries; nothing here does I/O.

Runtime-neutral: what is awaited here is what an adapter, a store or a handler gave.
"""

from ratatoskr.service.call import Call
from ratatoskr.service.caller import Caller
from ratatoskr.service.calls import Calls
from ratatoskr.service.directory import Directory
from ratatoskr.service.dispatch import Job, Service
from ratatoskr.service.footing import Footing
from ratatoskr.service.host import Host, Level, Note, Signal, Task
from ratatoskr.service.link import CallOptions, CourierLink, PeerLink
from ratatoskr.service.memory import MemoryStore
from ratatoskr.service.once import OncePolicy, operation_digest
from ratatoskr.service.outbox import (
    Courier,
    Head,
    MemoryOutboxStore,
    Outbox,
    OutboxFull,
    OutboxHost,
    OutboxInUse,
    OutboxPolicy,
    OutboxStore,
    Parcel,
    Posted,
    Posting,
    PostSettled,
    Settlement,
)
from ratatoskr.service.pending import Exchange, PendingCalls, Settled
from ratatoskr.service.reconnecting import Attempt, Reconnecting
from ratatoskr.service.recovery import ATOMIC, NotExecuted, Recover, RecoverFunction
from ratatoskr.service.redial import Redial, Redialing
from ratatoskr.service.retry import DEFAULT_RETRIES, NO_RETRIES, RetryBudget, RetryPolicy, verdict
from ratatoskr.service.router import AsyncHandler, Middleware, Next, Router, StreamHandler, SyncHandler
from ratatoskr.service.store import (
    Claim,
    Entry,
    OnceKey,
    OnceStore,
    StoreFull,
    StoreTransaction,
    SubjectFull,
    Transaction,
)
from ratatoskr.service.stream import Stream

__all__ = [
    "ATOMIC",
    "DEFAULT_RETRIES",
    "NO_RETRIES",
    "AsyncHandler",
    "Attempt",
    "Call",
    "CallOptions",
    "Caller",
    "Calls",
    "Claim",
    "Courier",
    "CourierLink",
    "Directory",
    "Entry",
    "Exchange",
    "Footing",
    "Head",
    "Host",
    "Job",
    "Level",
    "MemoryOutboxStore",
    "MemoryStore",
    "Middleware",
    "Next",
    "NotExecuted",
    "Note",
    "OnceKey",
    "OncePolicy",
    "OnceStore",
    "Outbox",
    "OutboxFull",
    "OutboxHost",
    "OutboxInUse",
    "OutboxPolicy",
    "OutboxStore",
    "Parcel",
    "PeerLink",
    "PendingCalls",
    "PostSettled",
    "Posted",
    "Posting",
    "Reconnecting",
    "Recover",
    "RecoverFunction",
    "Redial",
    "Redialing",
    "RetryBudget",
    "RetryPolicy",
    "Router",
    "Service",
    "Settled",
    "Settlement",
    "Signal",
    "StoreFull",
    "StoreTransaction",
    "Stream",
    "StreamHandler",
    "SubjectFull",
    "SyncHandler",
    "Task",
    "Transaction",
    "operation_digest",
    "verdict",
]
