"""All commands. Importing this needs what the extra ``cli`` installs."""

from __future__ import annotations

from ratatoskr_cli import call, demo, identities, kinds, receipts, serve
from ratatoskr_cli.arguments import Commands
from ratatoskr_websockets import ConnectFailed

__all__ = ["ConnectFailed", "add_all"]


def add_all(commands: Commands) -> None:
    """Every command, in the order in which people need them."""
    for module in (demo, identities, serve, call, kinds, receipts):
        module.add(commands)
