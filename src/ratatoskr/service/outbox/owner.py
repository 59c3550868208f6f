"""Whose an outbox is: the client as the server will know it, whatever keys it has.

A server knows a request by the tenant and the subject that ask, and by its key. So what may have been executed is asked
for under the same name, or it is executed once more.
"""

from __future__ import annotations

from ratatoskr.identity import Certificate
from ratatoskr.identity.claims import SELF_ISSUED_PREFIX

_BETWEEN = "\n"
"""In no subject and no tenant."""


def owner_of(certificate: Certificate) -> bytes:
    """The owner, as a store keeps it. The same for a certificate that was renewed, also with new keys.

    Who certifies itself has no other name than its key, as a server sees it that has not pinned it.
    """
    own = certificate.is_self_issued
    subject = SELF_ISSUED_PREFIX + certificate.kid.hex() if own else certificate.subject
    return _BETWEEN.join((certificate.role.name, subject, certificate.tenant)).encode()


def shown(owner: bytes) -> str:
    """The owner, for people."""
    role, subject, tenant = owner.decode().split(_BETWEEN)
    return f"{role} `{subject}`" + (f" of `{tenant}`" if tenant else "")
