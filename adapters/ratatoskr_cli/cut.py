"""A customer of the demo whose line is cut: what was asked has been sent, and its answer does not come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from ratatoskr.service import Redial
from ratatoskr_cli.client import Target
from ratatoskr_cli.proof import Customer, check, connected
from ratatoskr_cli.relay import relay

REDIAL = Redial(first_delay=0.1, longest_delay=1.0, give_up_after=10.0, session_timeout=30.0)
"""Clients have more patience where nobody watches."""
_PORTS = {"ws": 80, "wss": 443}


@asynccontextmanager
async def cut_off(target: Target, sent: int) -> AsyncGenerator[Customer]:
    """A customer for the time of a block. When it has sent so many bytes and the server says something, that is lost
    and the line is cut, once.

    Raises CheckFailed, besides what :func:`connected` raises, unless what was asked last was answered in the session
    in which it was asked, over a second line, and the answer is the one that was on its way.
    """
    where = urlsplit(target.url)
    async with (
        relay(where.hostname or "", where.port or _PORTS[where.scheme]) as between,
        connected(replace(target, proxy=between.url, redial=REDIAL)) as customer,
    ):
        session_id = customer.peer.session_id
        between.cut_at_reply(sent)
        yield customer
        check(between.cuts == 1, "the line was to be cut, and was not")
        check(between.lines == 2, f"the line was cut once, and there were {between.lines} in all")
        check(customer.peer.session_id == session_id, "the line was cut, and the session did not survive that")
        check(not customer.said.replayed, "the line was cut, and the answer that was on its way was not sent again")
