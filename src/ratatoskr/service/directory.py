"""Directory: the peers whose connections are open, by name."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from ratatoskr.errors import CallRefused, Disposition, Failure, Status
from ratatoskr.identity import VerifiedPeer


class Named(Protocol):
    """Something at whose other end there is a peer."""

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end."""
        ...


N = TypeVar("N", bound=Named)


class Directory(Generic[N]):
    """What is connected now, the longest connected first."""

    def __init__(self) -> None:
        self._present: dict[tuple[str, str], list[N]] = {}

    def enter(self, link: N) -> None:
        """Its connection is open."""
        self._present.setdefault(_name(link), []).append(link)

    def leave(self, link: N) -> None:
        """Its connection has ended. No-op where it never entered."""
        name = _name(link)
        present = self._present.get(name, [])
        if link in present:
            present.remove(link)
            if not present:
                del self._present[name]

    def find(self, subject: str, tenant: str = "") -> N | None:
        """The one of that name; the latest where there are several."""
        present = self._present.get((tenant, subject))
        return present[-1] if present else None

    def reach(self, subject: str, tenant: str = "") -> N:
        """As :meth:`find`. Raises CallRefused, surely not processed, where nobody of that name is connected."""
        found = self.find(subject, tenant)
        if found is None:
            raise CallRefused(
                Failure(
                    Status.UNAVAILABLE, "NOT_CONNECTED", f"{subject} is not connected here", Disposition.NOT_PROCESSED
                )
            )
        return found


def _name(link: Named) -> tuple[str, str]:
    return link.peer.tenant, link.peer.subject
