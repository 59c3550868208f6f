"""resume.json: proofs, positions that agree or not, and what a server and a client make of each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ratatoskr import STANDARD_KINDS, Direction, v1
from ratatoskr.admission import Resume, Resumed
from ratatoskr.errors import Failure, ProtocolFault
from ratatoskr.identity import Identity, Role, VerifiedPeer, VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import MessageSerializer, NonceSource, Position
from ratatoskr.session import ResumableSession
from ratatoskr.session.session import Session
from tests.vectors.cast import DEVICE, NOW_MS, PROVIDER, SERVER, SERVER_NAME, TRUST, Stream, certified, secret
from tests.vectors.scene import SEARCH, SESSION_ID, TIME, search
from tests.vectors.stranger import resume as by_hand

SECRET, H = secret("a resume secret"), secret("a transcript hash")
ATTEMPT = 4
"""The last that the server accepted."""


class Nowhere:
    """A connection that nobody has."""

    def replaced(self) -> None:
        """Another one goes on with the session."""


def verified(identity: Identity) -> VerifiedPeer:
    roles = set(Role) - {Role.ISSUER}
    return TRUST.judge(identity.wire_chain(), roles=roles, at=TIME.wall)


class Scene:
    """A session of a server, or of its client, that has lost its transport.

    Its own direction has five messages, of which the peer acknowledged two; three have come from the peer.
    """

    def __init__(self, *, client: bool) -> None:
        own, peer = (DEVICE, SERVER) if client else (SERVER, DEVICE)
        direction = Direction.FROM_CLIENT if client else Direction.FROM_SERVER
        limits = Limits(span_messages=4, flight_messages=4)
        session = Session(direction, STANDARD_KINDS, limits, NonceSource(Stream("resume")))
        session.bind(SESSION_ID, own, VerifyKey(peer.keys.public.signing_key), limits)
        self.own = MessageSerializer(own, SESSION_ID, direction, peer.kid)
        self.theirs = MessageSerializer(peer, SESSION_ID, direction.other, own.kid)
        self._say(session, 2)
        self._hear(session, 2, ack=2)
        self._hear(session, 1, ack=2, seal=False)
        self._say(session, 3)
        self.session = ResumableSession(session, own.kid, is_client=client)
        self.session.begin(Nowhere(), SECRET, verified(peer), 120.0)
        self.session._attempt = 0 if client else ATTEMPT

    def _say(self, session: Session, count: int) -> None:
        for _ in range(count):
            session.request(SEARCH, v1.Search(query="seeds"))
        session.start(TIME)
        while (data := session.build(TIME, [])) is not None:
            for envelope in v1.Flight.FromString(data).envelopes:
                self.own.append(envelope)

    def _hear(self, session: Session, count: int, *, ack: int, seal: bool = True) -> None:
        first = self.theirs.number + 1
        envelopes = [b"\1" + search(str(at)).SerializeToString(deterministic=True) for at in range(count)]
        for envelope in envelopes:
            self.theirs.append(envelope)
        flight = v1.Flight(first_number=first, envelopes=envelopes, ack=ack)
        if seal:
            flight.seal.CopyFrom(self.theirs.seal(NOW_MS))
        session.receive(flight.SerializeToString(), TIME)
        while session.take() is not None:
            pass

    def account(self) -> dict[str, Any]:
        """What this end holds, for who does not hold its session."""
        sender = self.session.session._sender
        chain = {number: sender.chain_at(number) for number in range(6)}
        received, sent = self.session.session.positions()
        return {
            "chain": {number: value.hex() for number, value in chain.items() if value is not None},
            "received": received.number,
            "received_chain": received.chain.hex(),
            "span_messages": 4,
            "positions": {"received": position(received), "sent": position(sent)},
        }


def position(place: Position) -> dict[str, Any]:
    return {"number": place.number, "chain": place.chain.hex(), "sealed": place.sealed}


def places(scene: Scene) -> Iterator[tuple[str, Position, Position]]:
    """What the peer says that it has received and sent."""
    chain = scene.session.session._sender.chain_at
    theirs = scene.theirs

    def received(number: int, sealed: int | None = None) -> Position:
        value = chain(number)
        return Position(number, value or secret("a chain"), number if sealed is None else sealed)

    sent = Position(theirs.number, theirs.chain, 2)
    yield "all that was sent", received(5), sent
    yield "what was acknowledged, and no more", received(2), sent
    yield "something between, not all sealed", received(4, sealed=2), sent
    yield "more was sent than came", received(5), Position(9, secret("more"), 2)
    yield "four messages without a seal", received(5, sealed=1), sent
    yield "less than was acknowledged", received(1), sent
    yield "more than was sent", received(6), sent
    yield "another history of what was sent", received(4)._replace(chain=secret("another history")), sent
    yield "five messages without a seal", received(5, sealed=0), sent
    yield "less was sent than came", received(5), Position(2, secret("less"), 2)
    yield "another history of what came", received(5), sent._replace(chain=secret("another history"))


def agreements() -> dict[str, Any]:
    """Of a server, with what a client says."""
    scene = Scene(client=False)
    own = scene.account()
    held = {number: bytes.fromhex(value) for number, value in own["chain"].items()}
    entries = []
    for what, received, sent in places(scene):
        said = scene.session.session.divergence(received, sent)
        rule = by_hand.disagreement(
            {**own, "chain": held, "received_chain": bytes.fromhex(own["received_chain"])},
            received._asdict(),
            sent._asdict(),
        )
        assert (said is None) == (rule == 0), what
        entries.append({"what": what, "received": position(received), "sent": position(sent), "broken": rule})
    return {"own": own, "accounts": entries}


def requests() -> Iterator[tuple[str, Resume, Identity, Identity]]:
    """What a client asks, who it is, who the server is now."""
    scene = Scene(client=False)
    _, received, sent = next(places(scene))
    good = Resume(SESSION_ID, ATTEMPT + 1, received, sent, by_hand.client_proof(SECRET, H))
    yield "the next attempt", good, DEVICE, SERVER
    yield "an attempt far ahead", replace(good, attempt=2**64 - 1), DEVICE, SERVER
    yield "another session", replace(good, session_id=secret("another session")), DEVICE, SERVER
    yield "another proof", replace(good, proof=secret("another proof")), DEVICE, SERVER
    yield (
        "a proof over another handshake",
        replace(good, proof=by_hand.client_proof(SECRET, secret("h"))),
        DEVICE,
        SERVER,
    )
    yield "the proof of a server", replace(good, proof=by_hand.server_proof(SECRET, H)), DEVICE, SERVER
    yield "another client", good, PROVIDER, SERVER
    yield "the same client with a new certificate for its keys", good, _renewed(), SERVER
    yield "the same name with another key", good, _namesake(), SERVER
    yield "a server with other keys", good, DEVICE, PROVIDER
    yield "the attempt that was accepted last", replace(good, attempt=ATTEMPT), DEVICE, SERVER
    yield "an attempt before that", replace(good, attempt=1), DEVICE, SERVER
    yield "positions that do not agree", replace(good, sent=Position(0, secret("nothing"), 0)), DEVICE, SERVER
    yield (
        "an old attempt, and positions that do not agree",
        replace(good, attempt=ATTEMPT, sent=Position(0, secret("nothing"), 0)),
        DEVICE,
        SERVER,
    )


def _renewed() -> Identity:
    return certified(_issuer_of(DEVICE), "device-1", Role.DEVICE, tenant="tenant-1", not_after=TIME.wall + 60)


def _namesake() -> Identity:
    """Somebody of the same name, tenant and role."""
    from ratatoskr.identity import CertificateRequest, issue
    from tests.vectors.cast import keys

    other, issuer = keys("namesake of the device"), _issuer_of(DEVICE)
    asked = CertificateRequest.create(other, role=Role.DEVICE, subject="device-1", tenant="tenant-1")
    certificate = issue(issuer, asked, not_before=TIME.wall - 60, not_after=TIME.wall + 60, entropy=Stream("namesake"))
    return Identity(other, issuer.chain_for(certificate))


def _issuer_of(identity: Identity) -> Identity:
    from tests.vectors.cast import ISSUER, ROOT

    return ISSUER if len(identity.chain) > 1 else ROOT


def judgements() -> list[dict[str, Any]]:
    """What the server says, each time as if nobody had asked before."""
    found = []
    for what, wish, client, server in requests():
        session = Scene(client=False).session
        verdict = session.judge(wish, verified(client), server.kid, H, Nowhere())
        said = verdict.reason if isinstance(verdict, Failure) else verdict.name
        assert session.attempt == (wish.attempt if said == "GRANTED" else ATTEMPT)
        peer = verified(client)
        found.append(
            {
                "what": what,
                "resume": wish.to_message().SerializeToString(deterministic=True).hex(),
                "client": {
                    "tenant": peer.tenant,
                    "role": int(peer.role),
                    "subject": peer.subject,
                    "kid": peer.kid.hex(),
                },
                "server_kid": server.kid.hex(),
                "verdict": said,
            }
        )
    return found


def confirmations() -> list[dict[str, Any]]:
    """What a client makes of a server that goes on."""
    found = []
    scene = Scene(client=True)
    _, received, sent = next(places(scene))
    good = Resumed(received, sent, by_hand.server_proof(SECRET, H))
    answers = {
        "good": good,
        "another proof": replace(good, proof=secret("another proof")),
        "the proof of a client": replace(good, proof=by_hand.client_proof(SECRET, H)),
        "positions that do not agree": replace(good, received=received._replace(chain=secret("another history"))),
    }
    for what, answer in answers.items():
        rule = ""
        try:
            Scene(client=True).session.confirm(answer, H)
        except ProtocolFault as fault:
            rule = fault.rule
        data = answer.to_message().SerializeToString(deterministic=True)
        found.append({"what": what, "resumed": data.hex(), "rule": rule})
    return found


def make() -> dict[str, Any]:
    """resume.json"""
    peer, server = verified(DEVICE), verified(SERVER)
    assert SERVER_NAME in server.names
    return {
        "about": "Proofs and positions of a resume; what a server and a client say to each other's.",
        "session_id": SESSION_ID.hex(),
        "secret": SECRET.hex(),
        "h": H.hex(),
        "client_proof": by_hand.client_proof(SECRET, H).hex(),
        "server_proof": by_hand.server_proof(SECRET, H).hex(),
        "positions": agreements(),
        "server": {
            "attempt": ATTEMPT,
            "own_kid": SERVER.kid.hex(),
            "client": {"tenant": peer.tenant, "role": int(peer.role), "subject": peer.subject, "kid": peer.kid.hex()},
            "own": Scene(client=False).account(),
            "judgements": judgements(),
        },
        "client": {"own": Scene(client=True).account(), "confirmations": confirmations()},
    }
