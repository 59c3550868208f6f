"""Authority: identities for tests, and configurations that believe them."""

from __future__ import annotations

import pytest

from ratatoskr.channel import XX_AESGCM
from ratatoskr.identity import CertificateRefused, Role, TrustPolicy
from ratatoskr.limits import Limits
from ratatoskr.testing import Authority, Pair, seeded
from ratatoskr.testing.clock import START


def test_the_same_seed_makes_the_same_keys() -> None:
    assert Authority(1).device().certificate == Authority(1).device().certificate
    assert Authority(1).device().certificate != Authority(2).device().certificate
    assert Authority("a").root.certificate != Authority("b").root.certificate


def test_every_identity_has_keys_of_its_own() -> None:
    authority = Authority()
    assert authority.device().kid != authority.device().kid


@pytest.mark.parametrize(
    ("make", "role"),
    [
        (lambda authority: authority.server("a.test", "b.test"), Role.SERVER),
        (lambda authority: authority.device(), Role.DEVICE),
        (lambda authority: authority.provider(), Role.PROVIDER),
    ],
)
def test_it_believes_its_own(make: object, role: Role) -> None:
    authority = Authority()
    identity = make(authority)  # type: ignore[operator]
    assert authority.trust.judge(identity.chain, roles={role}, at=START).enrolled
    with pytest.raises(CertificateRefused):
        Authority(1).trust.judge(identity.chain, roles={role}, at=START)


def test_identities_may_be_out_of_date() -> None:
    authority = Authority()
    old = authority.issue(Role.DEVICE, "old", not_before=START - 10, not_after=START - 5)
    with pytest.raises(CertificateRefused, match="expired"):
        authority.trust.judge(old.chain, roles={Role.DEVICE}, at=START)


def test_configurations_are_what_they_are_told_to_be() -> None:
    authority = Authority()
    limits, trust, entropy = Limits(requests_open=3), TrustPolicy(), seeded("mine")
    identity = authority.device("till")
    client = authority.client_config(
        identity, trust=trust, entropy=entropy, limits=limits, suites=(XX_AESGCM,), token=b"t"
    )
    assert (client.identity, client.trust, client.entropy) == (identity, trust, entropy)
    assert (client.limits, client.suites, client.token) == (limits, (XX_AESGCM,), b"t")
    server = authority.server_config("a.test", "b.test", limits=limits)
    assert server.identity.certificate.names == ("a.test", "b.test")
    assert authority.server_config(identity=server.identity).identity is server.identity
    assert authority.server_config().identity.certificate.names == ("yggdrasil.test",)


def test_a_pair_may_have_a_server_of_any_name() -> None:
    pair = Pair(Authority(), server_name="shop.test")
    pair.open()
    assert pair.client.connection.peer is not None
    assert pair.client.connection.peer.names == ("shop.test",)


def test_seeded_entropy_repeats_and_does_not_end() -> None:
    first, second = seeded("x"), seeded("x")
    assert first(5) + first(100) + first(0) == second(105)
    assert seeded("x")(32) != seeded("y")(32)
