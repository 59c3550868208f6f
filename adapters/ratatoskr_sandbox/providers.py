"""The registry of providers.

Who holds a provider's certificate registers its subject and may publish at once; registering again changes what is
known of it. Somebody who is not enrolled yet can only apply: the application waits for review, opens no account, and
gives no right to the name, however many others apply for it.
"""

from __future__ import annotations

from typing import Final

from ratatoskr import Fail, Status, v1
from ratatoskr_sandbox import ledger
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount
from ratatoskr_sandbox.refusals import refused_field
from ratatoskr_sandbox.series import PROVIDERS

MAX_OFFERS: Final = 100
"""Offers that a provider may have in the catalogue at once."""
MAX_PAYMENT: Final = Amount("EUR", 10_000_00)
"""The largest single payment to a provider; other currencies are not limited."""
MAX_APPLICATIONS: Final = 1000
"""Applications under review at once: anybody can make them."""
RESERVED_ACCOUNTS: Final = ("system:", "wallet:")
"""Beginnings of account names that only the platform gives."""


def register(work: Work, applicant: Party, request: v1.RegisterProvider, *, enrolled: bool) -> v1.ProviderRegistered:
    """Enter a provider, or take an application."""
    if enrolled:
        if request.subject != applicant.subject:
            raise refused_field(
                "subject",
                Status.PERMISSION_DENIED,
                "SUBJECT_NOT_YOURS",
                f"you are {applicant.subject!r}",
            )
        _open_payout_account(work, applicant, request.payout_account)
    elif work.db.execute("SELECT count(*) FROM providers WHERE NOT active").fetchone() >= (MAX_APPLICATIONS,):
        raise Fail(Status.RESOURCE_EXHAUSTED, "TOO_MANY_APPLICATIONS", "too many applications wait for review")
    (number,) = work.db.execute(
        """INSERT INTO providers (tenant, subject, applicant, active, legal_name, country, payout_account)
           VALUES (?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (tenant, subject, applicant) DO UPDATE
               SET legal_name = excluded.legal_name, country = excluded.country,
                   payout_account = excluded.payout_account
           RETURNING number""",
        (
            applicant.tenant,
            request.subject,
            applicant.subject,
            int(enrolled),
            request.legal_name,
            request.country,
            request.payout_account,
        ),
    ).fetchone()
    work.db.execute("DELETE FROM documents WHERE provider = ?", (number,))
    work.db.executemany(
        "INSERT INTO documents (provider, kind, media_type, sha256, size_bytes) VALUES (?, ?, ?, ?, ?)",
        [(number, each.kind, each.media_type, each.sha256, each.size_bytes) for each in request.documents],
    )
    return v1.ProviderRegistered(
        registration_id=request.registration_id,
        provider_id=PROVIDERS.name(number),
        status=v1.PROVIDER_STATUS_ACTIVE if enrolled else v1.PROVIDER_STATUS_UNDER_REVIEW,
        limits=v1.ProviderLimits(offers=MAX_OFFERS, payment=MAX_PAYMENT.to_money()) if enrolled else None,
    )


def active_id(work: Work, party: Party) -> str:
    """The id of a provider who may publish. Fails with PROVIDER_NOT_REGISTERED for everybody else."""
    query = "SELECT number FROM providers WHERE tenant = ? AND subject = ? AND active"
    row = work.db.execute(query, party).fetchone()
    if row is None:
        raise Fail(
            Status.FAILED_PRECONDITION,
            "PROVIDER_NOT_REGISTERED",
            "register with PROVIDER_REGISTER first",
        )
    return PROVIDERS.name(row[0])


def payout_account(work: Work, id: str) -> str:
    """Where payments to a provider go. Fails with PROVIDER_UNKNOWN."""
    query = "SELECT payout_account FROM providers WHERE number = ? AND active"
    row = work.db.execute(query, (PROVIDERS.number(id),)).fetchone()
    if row is None:
        raise Fail(Status.NOT_FOUND, "PROVIDER_UNKNOWN", f"there is no provider {id}")
    return str(row[0])


def check_payment(work: Work, creditor_account: str, amount: Amount) -> None:
    """Fail with PAYMENT_TOO_LARGE for a payment above what the provider who is paid may take."""
    row = work.db.execute("SELECT 1 FROM providers WHERE active AND payout_account = ?", (creditor_account,)).fetchone()
    if row and amount.currency == MAX_PAYMENT.currency and amount.minor > MAX_PAYMENT.minor:
        raise Fail(
            Status.FAILED_PRECONDITION, "PAYMENT_TOO_LARGE", f"a provider takes at most {MAX_PAYMENT} in one payment"
        )


def _open_payout_account(work: Work, owner: Party, account: str) -> None:
    if account.startswith(RESERVED_ACCOUNTS):
        raise refused_field(
            "payout_account", Status.INVALID_ARGUMENT, "ACCOUNT_RESERVED", f"only the platform names {account!r}"
        )
    if not ledger.open_account(work, account, owner) and ledger.owner_of(work, account) != owner:
        raise refused_field(
            "payout_account", Status.ALREADY_EXISTS, "ACCOUNT_TAKEN", f"{account!r} belongs to somebody else"
        )
