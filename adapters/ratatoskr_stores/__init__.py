"""Stores: where outcomes of at-most-once requests are kept, and requests until they have one (:class:`SqliteOutbox`).

========================  =====================  ====================  ===================
store                     restart of a process   power loss            ``begin()``
========================  =====================  ====================  ===================
:class:`MemoryStore`      forgets everything     forgets everything    no
:class:`SqliteStore`      keeps everything       keeps everything      yes
========================  =====================  ====================  ===================

The class of each store says more about what survives what.
"""

from ratatoskr.service import MemoryStore, StoreFull, SubjectFull
from ratatoskr_stores.outbox import SqliteOutbox
from ratatoskr_stores.posts import SqliteOutboxStore
from ratatoskr_stores.sqlite import SqliteStore
from ratatoskr_stores.transaction import SqliteTransaction, TransactionLost

__all__ = [
    "MemoryStore",
    "SqliteOutbox",
    "SqliteOutboxStore",
    "SqliteStore",
    "SqliteTransaction",
    "StoreFull",
    "SubjectFull",
    "TransactionLost",
]
