"""The states of a post in an outbox, and the only moves between them.

1. What is doubtful stays doubtful: that a later attempt surely did nothing says nothing about the first. So a post that
   may have been executed never ends as *not processed*.
2. ``SENT`` is on disk before the first byte goes. A process that finds it there knows only that its predecessor began.
3. An outcome is forgotten when the application says so, and not before.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType


class Posting(Enum):
    """Where a post is."""

    WAITING = "surely nothing was done about it"
    SENT = "it is being sent, and nothing was done about it before"
    DOUBTFUL = "it may have been executed; it is sent until the outcome is known"
    SETTLED = "its outcome is stored; the application has not said done()"
    FORGOTTEN = "nothing is left of it"


class PostingInput(Enum):
    """What moves a post."""

    SEND = "its turn has come"
    REFUSED = "an attempt surely did nothing, and another may do better"
    UNSURE = "an attempt ended, and nobody knows what it did"
    FOUND = "it is to be sent, and an earlier process had begun to"
    OUTCOME = "the final outcome has come"
    EXPIRE = "its time is over"
    CANCEL = "cancel()"
    DONE = "done()"


POSTING = MappingProxyType(
    {
        (Posting.WAITING, PostingInput.SEND): Posting.SENT,
        (Posting.WAITING, PostingInput.EXPIRE): Posting.SETTLED,
        (Posting.WAITING, PostingInput.CANCEL): Posting.SETTLED,
        (Posting.SENT, PostingInput.REFUSED): Posting.WAITING,
        (Posting.SENT, PostingInput.UNSURE): Posting.DOUBTFUL,
        (Posting.SENT, PostingInput.FOUND): Posting.DOUBTFUL,
        (Posting.SENT, PostingInput.OUTCOME): Posting.SETTLED,
        (Posting.DOUBTFUL, PostingInput.SEND): Posting.DOUBTFUL,
        (Posting.DOUBTFUL, PostingInput.REFUSED): Posting.DOUBTFUL,
        (Posting.DOUBTFUL, PostingInput.UNSURE): Posting.DOUBTFUL,
        (Posting.DOUBTFUL, PostingInput.OUTCOME): Posting.SETTLED,
        (Posting.DOUBTFUL, PostingInput.EXPIRE): Posting.SETTLED,
        (Posting.SETTLED, PostingInput.DONE): Posting.FORGOTTEN,
        (Posting.FORGOTTEN, PostingInput.DONE): Posting.FORGOTTEN,
    }
)
"""(state, input) → next state."""

UNSETTLED = (Posting.WAITING, Posting.SENT, Posting.DOUBTFUL)
"""States without an outcome."""
