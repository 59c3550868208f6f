"""Kinds: what a message is about, and the policy that follows from it.

A kind is a (message type, operation) with its request and response class and its policy. Type and operation are
fields of the envelope, so the policy is known before a payload is parsed, and a gateway can enforce it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ratatoskr.errors import LocalProtocolError

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

MessageClass: TypeAlias = type[Req]

CUSTOM_TYPES_FROM = 1000
"""Message types below this belong to the protocol."""


class MessageType(IntEnum):
    """What a message is about; the numbers of ``ratatoskr.v1.MessageType``."""

    CONNECTION_REQUEST = 1
    CONNECTION_RESPONSE = 2
    MARKETPLACE_REQUEST = 10
    PAYMENT_REQUEST = 11
    PROVIDER_REGISTRATION = 12


_RESERVED_TYPES = frozenset(range(CUSTOM_TYPES_FROM)) - frozenset(MessageType) | {
    MessageType.CONNECTION_REQUEST,
    MessageType.CONNECTION_RESPONSE,
}
_KEY_TYPES = frozenset(
    {FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
    | {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
)
"""What a business key may be; bytes count as strings here."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[Req, Res]):
    """One operation of the protocol or of an application, typed by its request and response.

    ``sealed``: requests and answers are delivered only under a verified seal. Otherwise they are *deferred*:
    delivered on the channel's authentication, and sealed when their span closes.

    ``once``: the operation is executed at most once. The name of the request field that holds the business key,
    or True where callers pass ``key=``.

    ``stream``: the answer is any number of ``response`` items, one after the other.
    """

    type: int
    operation: int
    name: str
    request: MessageClass[Req]
    response: MessageClass[Res]
    sealed: bool = True
    once: bool | str = False
    stream: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.type < 1 << 31 or not 0 < self.operation < 1 << 32:
            raise LocalProtocolError(f"kind {self.name}: type must be from 1 to 2**31-1, operation from 1 to 2**32-1")
        if self.type in _RESERVED_TYPES:
            raise LocalProtocolError(f"kind {self.name}: types below {CUSTOM_TYPES_FROM} belong to the protocol")
        if self.once and not self.sealed:
            raise LocalProtocolError(f"kind {self.name}: what executes at most once must be sealed")
        if self.once and self.stream:
            raise LocalProtocolError(f"kind {self.name}: what executes at most once has one answer, not a stream")
        if isinstance(self.once, str):
            field = self.request.DESCRIPTOR.fields_by_name.get(self.once)
            if field is None:
                raise LocalProtocolError(f"kind {self.name}: {self.request.DESCRIPTOR.name} has no field {self.once!r}")
            if field.is_repeated or field.cpp_type not in _KEY_TYPES:
                raise LocalProtocolError(f"kind {self.name}: {self.once} is neither text, bytes nor an integer")

    def __str__(self) -> str:
        return f"{self.name} ({self.type}/{self.operation})"

    def key_in(self, message: Message) -> bytes | None:
        """The business key that the request itself carries; None where it carries none."""
        if not isinstance(self.once, str):
            return None
        value = getattr(message, self.once)
        return (value if isinstance(value, bytes) else str(value).encode()) if value else None

    def business_key(self, message: Message, key: str | bytes | None = None) -> bytes | None:
        """The business key of a request: from the field that ``once`` names, or ``key``.

        None for a kind that is not executed at most once. Raises LocalProtocolError where a key is needed and missing,
        or given beside the field.
        """
        if isinstance(self.once, str):
            if key is not None:
                raise LocalProtocolError(f"{self.name} takes its key from the field {self.once}; leave key= out")
            found = self.key_in(message)
            if found is None:
                raise LocalProtocolError(
                    f"{self.name} runs at most once and needs a key: set {self.once} in the message"
                )
            return found
        if key:
            try:
                return key.encode() if isinstance(key, str) else key
            except UnicodeEncodeError:
                raise LocalProtocolError(f"{self.name}: the key {key!r} is no text: it has no UTF-8") from None
        if self.once:
            raise LocalProtocolError(f'{self.name} runs at most once and needs a key: set once="field" or pass key=')
        return None


AnyKind = Kind[Any, Any]


class KindRegistry:
    """The kinds that one side knows. Immutable; ``registry | [kind]`` makes a larger one."""

    __slots__ = ("_kinds", "_names")

    def __init__(self, kinds: Iterable[AnyKind] = ()) -> None:
        table: dict[tuple[int, int], AnyKind] = {}
        names: dict[str, AnyKind] = {}
        for kind in kinds:
            known = table.setdefault((kind.type, kind.operation), kind)
            if known != kind:
                raise LocalProtocolError(f"{known} and {kind} have the same type and operation")
            known = names.setdefault(kind.name.upper(), kind)
            if known != kind:
                raise LocalProtocolError(f"{known} and {kind} have the same name")
        self._kinds = table
        self._names = names

    def get(self, type: int, operation: int) -> AnyKind | None:
        """The kind, or None where it is not known here."""
        return self._kinds.get((type, operation))

    def __or__(self, more: Iterable[AnyKind]) -> KindRegistry:
        return KindRegistry([*self, *more])

    def __iter__(self) -> Iterator[AnyKind]:
        return iter(self._kinds.values())

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, kind: object) -> bool:
        if not isinstance(kind, Kind):
            return False
        known = self._kinds.get((kind.type, kind.operation))
        return known is kind or known == kind

    def by_name(self, name: str) -> AnyKind:
        """The kind of that name, in any letter case; LocalProtocolError names those that there are."""
        kind = self._names.get(name.upper())
        if kind is None:
            raise LocalProtocolError(f"no kind {name!r}; there are: {', '.join(sorted(k.name for k in self))}")
        return kind
