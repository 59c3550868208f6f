"""The states of a call, at the end that asks and at the end that answers, and the only moves between them.

A call has two halves. The asking half has exactly one outcome, and the table says where it is decided. The answering
half has exactly one terminal answer. Both hold a slot, each at its end: the asking half from its number until the
terminal answer has come, the answering half until that answer is acknowledged. So a peer that never answers costs
slots, and never memory without bound.

1. Cancelling decides nothing once a request has a number: the peer's terminal answer does.
2. Giving up decides the outcome here; the slot stays taken until the peer has answered.
3. A call whose time runs out is as one that is cancelled: its caller has given up by itself, and the slot stays taken
   until its handler has ended. Otherwise requests of a millisecond would begin handlers without end.
4. An answer to a call whose session has ended is dropped: it is a race that every handler would have to catch.
   Answering twice is misuse.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING


class Asking(Enum):
    """Where a request of ours is."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # members are singletons; Enum hashes their names, which takes longer

    QUEUED = "it waits for a slot and has no number"
    OPEN = "it is sent; the answer is awaited"
    CANCELLED = "the peer is asked to end it; its answer is awaited, items are dropped"
    GIVEN_UP = "its outcome was decided here; the peer's answer will be dropped"
    DONE = "it has its outcome, and no slot"


class AskingInput(Enum):
    """What moves a request of ours."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    NUMBER = "there is a slot"
    ITEM = "an item of a stream comes"
    ANSWER = "the terminal answer comes"
    CANCEL = "cancel()"
    GIVE_UP = "its time runs out, or an item is nonsense"
    REFUSE = "it cannot be sent any more: GOAWAY, or longer than the peer reads"
    END = "the session ends"


ASKING = MappingProxyType(
    {
        (Asking.QUEUED, AskingInput.NUMBER): Asking.OPEN,
        (Asking.QUEUED, AskingInput.CANCEL): Asking.DONE,
        (Asking.QUEUED, AskingInput.GIVE_UP): Asking.DONE,
        (Asking.QUEUED, AskingInput.REFUSE): Asking.DONE,
        (Asking.QUEUED, AskingInput.END): Asking.DONE,
        (Asking.OPEN, AskingInput.ITEM): Asking.OPEN,
        (Asking.OPEN, AskingInput.ANSWER): Asking.DONE,
        (Asking.OPEN, AskingInput.CANCEL): Asking.CANCELLED,
        (Asking.OPEN, AskingInput.GIVE_UP): Asking.GIVEN_UP,
        (Asking.OPEN, AskingInput.END): Asking.DONE,
        (Asking.CANCELLED, AskingInput.ITEM): Asking.CANCELLED,
        (Asking.CANCELLED, AskingInput.ANSWER): Asking.DONE,
        (Asking.CANCELLED, AskingInput.CANCEL): Asking.CANCELLED,
        (Asking.CANCELLED, AskingInput.GIVE_UP): Asking.GIVEN_UP,
        (Asking.CANCELLED, AskingInput.END): Asking.DONE,
        (Asking.GIVEN_UP, AskingInput.ITEM): Asking.GIVEN_UP,
        (Asking.GIVEN_UP, AskingInput.ANSWER): Asking.DONE,
        (Asking.GIVEN_UP, AskingInput.CANCEL): Asking.GIVEN_UP,
        (Asking.GIVEN_UP, AskingInput.END): Asking.DONE,
        (Asking.DONE, AskingInput.CANCEL): Asking.DONE,
    }
)
"""(state, input) → next state, for requests of ours."""


class Answering(Enum):
    """Where a request of the peer's is."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    RUNNING = "the application works on it"
    CANCELLED = "nobody waits for an answer any more; the application still owes the end of it"
    ANSWERED = "the terminal answer is decided, and not yet acknowledged"
    DONE = "the terminal answer is acknowledged, or the session has ended; the slot is free"


class AnsweringInput(Enum):
    """What moves a request of the peer's."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    ITEM = "respond(last=False)"
    ANSWER = "respond() or fail()"
    CANCEL = "the peer cancels it"
    EXPIRE = "its time runs out"
    ACK = "the terminal answer is acknowledged"
    END = "the session ends"


ANSWERING = MappingProxyType(
    {
        (Answering.RUNNING, AnsweringInput.ITEM): Answering.RUNNING,
        (Answering.RUNNING, AnsweringInput.ANSWER): Answering.ANSWERED,
        (Answering.RUNNING, AnsweringInput.CANCEL): Answering.CANCELLED,
        (Answering.RUNNING, AnsweringInput.EXPIRE): Answering.CANCELLED,
        (Answering.RUNNING, AnsweringInput.END): Answering.DONE,
        (Answering.CANCELLED, AnsweringInput.ITEM): Answering.CANCELLED,
        (Answering.CANCELLED, AnsweringInput.ANSWER): Answering.ANSWERED,
        (Answering.CANCELLED, AnsweringInput.CANCEL): Answering.CANCELLED,
        (Answering.CANCELLED, AnsweringInput.EXPIRE): Answering.CANCELLED,
        (Answering.CANCELLED, AnsweringInput.END): Answering.DONE,
        (Answering.ANSWERED, AnsweringInput.ACK): Answering.DONE,
        (Answering.ANSWERED, AnsweringInput.END): Answering.DONE,
        (Answering.DONE, AnsweringInput.ITEM): Answering.DONE,
        (Answering.DONE, AnsweringInput.ANSWER): Answering.DONE,
    }
)
"""(state, input) → next state, for requests of the peer's. Items and answers in the last state are dropped."""
