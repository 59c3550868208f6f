"""Ratatoskr on asyncio: what its other adapters there have in common."""

from ratatoskr_asyncio.address import readable
from ratatoskr_asyncio.runtime import AsyncioRuntime
from ratatoskr_asyncio.signals import until_signalled

__all__ = ["AsyncioRuntime", "readable", "until_signalled"]
