"""Reading: from bytes in any chunking to whole records, and how long one may take to arrive."""

from __future__ import annotations

from collections.abc import Callable

from ratatoskr.channel import RecordReader, RecordType
from ratatoskr.timers import Timer, Timers


class Reader:
    """What came and is not yet judged."""

    __slots__ = ("_partial", "_records", "_timers", "unread")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._records = RecordReader()
        self._partial = False
        self.unread: bool = False
        """Whether there may be a whole record."""

    @property
    def buffered(self) -> int:
        """Bytes that are held."""
        return self._records.buffered

    def feed(self, data: bytes) -> None:
        """Bytes came."""
        self._records.feed(data)
        self.unread = True

    def next(self, longest: Callable[[int], int | None], ends_by: float) -> tuple[RecordType, bytes, bytes] | None:
        """The next record: type, header, body; None where there is no whole one, which has to be until ``ends_by``.

        ``longest`` gives the length that a type of record may have now, in bytes. Raises ProtocolFault.
        """
        record = self._records.next(longest)
        if record is None:
            self.unread = False
            if self._records.partial and not self._partial:
                self._partial = True
                self._timers.set(Timer.RECORD, ends_by)
        elif self._partial:
            self._partial = False
            self._timers.stop(Timer.RECORD)
        return record

    def stop(self) -> None:
        """Nothing more is read."""
        self._records = RecordReader()
        self.unread = False
