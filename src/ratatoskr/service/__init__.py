"""Service: what adapters share. Pending calls, the router, at-most-once decisions, retries; nothing here does I/O.

Runtime-neutral: what is awaited here is what an adapter, a store or a handler gave.
"""

from ratatoskr.service.call import Call
from ratatoskr.service.dispatch import Job, Service
from ratatoskr.service.host import Host, Level, Note, PeerLink
from ratatoskr.service.memory import MemoryStore, StoreFull
from ratatoskr.service.once import OncePolicy, operation_digest
from ratatoskr.service.pending import Exchange, PendingCalls, Settled
from ratatoskr.service.retry import NO_RETRIES, RetryBudget, RetryPolicy, verdict
from ratatoskr.service.router import AsyncHandler, Middleware, Next, Router, SyncHandler
from ratatoskr.service.store import Claim, Entry, OnceKey, OnceStore, StoreTransaction, Transaction

__all__ = [
    "NO_RETRIES",
    "AsyncHandler",
    "Call",
    "Claim",
    "Entry",
    "Exchange",
    "Host",
    "Job",
    "Level",
    "MemoryStore",
    "Middleware",
    "Next",
    "Note",
    "OnceKey",
    "OncePolicy",
    "OnceStore",
    "PeerLink",
    "PendingCalls",
    "RetryBudget",
    "RetryPolicy",
    "Router",
    "Service",
    "Settled",
    "StoreFull",
    "StoreTransaction",
    "SyncHandler",
    "Transaction",
    "operation_digest",
    "verdict",
]
