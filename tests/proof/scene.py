"""What the processes of one run have in common: a seed with what follows from it, a directory, and no more."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from pathlib import Path

from ratatoskr import STANDARD_KINDS, Config
from ratatoskr.messages.nonces import business_nonce
from ratatoskr.testing import Authority
from tests.proof.bank import TRANSFER
from tests.proof.evidence import Payment

SERVER = "server"
CLIENTS = ("loop", "redial", "outbox")
"""By the way in which they ask: :mod:`tests.proof.desks`."""
ACCOUNTS = 3
"""Of each client; it makes one payment of each at a time."""
BALANCE = 100
MOST = 20
"""A payment is of 1 to so much; now and then there is too little money."""
SERVER_NAME = "localhost"
DATABASE = "bank.sqlite"


@dataclass(frozen=True)
class Scene:
    """One bank. ``born``: seconds since the epoch, when its identities begin to be valid."""

    home: Path
    seed: int
    born: float

    def arguments(self) -> list[str]:
        """For the command line of a program that has the same scene."""
        return [f"--home={self.home}", f"--seed={self.seed}", f"--born={self.born}"]

    def accounts(self, client: str) -> list[str]:
        """Whose money the client spends."""
        return [f"{client}.{number}" for number in range(ACCOUNTS)]

    @property
    def opening(self) -> dict[str, int]:
        """All accounts, with what they hold at first."""
        return {account: BALANCE for client in CLIENTS for account in self.accounts(client)}

    def payment(self, account: str, place: int) -> Payment:
        """One line of the work list, which has no end."""
        source = random.Random(f"{self.seed} {account} {place}")
        creditor = source.choice([each for each in self.opening if each != account])
        return Payment(f"{account}/{place}", account, creditor, source.randint(1, MOST), place)

    def payment_of(self, key: str) -> Payment:
        """The payment with that key."""
        return self.payment(account_of(key), int(key.rpartition("/")[2]))

    def server_config(self) -> Config:
        """The server's identity is the same in each of its lives."""
        return replace(self._authority().server_config(SERVER_NAME), entropy=os.urandom)

    def client_config(self, client: str) -> Config:
        """So is each client's."""
        authority = self._authority()
        authority.server(SERVER_NAME)
        devices = {name: authority.device(name) for name in CLIENTS}
        return authority.client_config(devices[client], entropy=os.urandom, kinds=STANDARD_KINDS | [TRANSFER])

    def _authority(self) -> Authority:
        return Authority(f"proof {self.seed}", now=self.born)


def account_of(key: str) -> str:
    """Whose payment it is."""
    return key.rpartition("/")[0]


def nonce_of(key: str) -> bytes:
    """The nonce of a payment's requests."""
    return business_nonce(TRANSFER.type, TRANSFER.operation, key.encode())
