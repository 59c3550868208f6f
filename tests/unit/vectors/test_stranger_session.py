"""A resume, and whole conversations, by a stranger: from the secrets of the handshakes to the last record."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from tests.unit.vectors.files import identity, load, rule, what
from tests.vectors.stranger import admission, noise, records, resume
from tests.vectors.stranger.certificates import SERVER, Policy, verifies
from tests.vectors.stranger.chain import entry, leaf_of, link, start
from tests.vectors.stranger.flights import Asked, Receiver
from tests.vectors.stranger.protobuf import decode, encode

RESUME = load("resume.json")
SESSIONS = [load("session-0001.json"), load("session-0012.json")]
LONGEST = {0x01: 2000, 0x02: 16384, 0x03: 16384, 0x04: 16384, 0x10: 262144, 0x11: 262144, 0x1F: 6}


def account(own: dict[str, Any]) -> dict[str, Any]:
    """What an end holds, in bytes."""
    chain = {int(number): bytes.fromhex(value) for number, value in own["chain"].items()}
    return {**own, "chain": chain, "received_chain": bytes.fromhex(own["received_chain"])}


def place(said: dict[str, Any]) -> dict[str, Any]:
    return {**said, "chain": bytes.fromhex(said["chain"])}


def test_proofs() -> None:
    secret, h = bytes.fromhex(RESUME["secret"]), bytes.fromhex(RESUME["h"])
    assert resume.client_proof(secret, h).hex() == RESUME["client_proof"]
    assert resume.server_proof(secret, h).hex() == RESUME["server_proof"]


@pytest.mark.parametrize("case", RESUME["positions"]["accounts"], ids=what)
def test_positions_agree_or_break_one_of_five_rules(case: dict[str, Any]) -> None:
    own = account(RESUME["positions"]["own"])
    assert resume.disagreement(own, place(case["received"]), place(case["sent"])) == case["broken"]


@pytest.mark.parametrize("case", RESUME["server"]["judgements"], ids=what)
def test_a_server_judges(case: dict[str, Any]) -> None:
    server = RESUME["server"]
    session = {
        "ended": False,
        "session_id": bytes.fromhex(RESUME["session_id"]),
        "secret": bytes.fromhex(RESUME["secret"]),
        "peer": server["client"],
        "own_kid": server["own_kid"],
        "attempt": server["attempt"],
        "own": account(server["own"]),
    }
    wish = decode("Resume", bytes.fromhex(case["resume"]))
    wish |= {name: admission.position(wish[name]) for name in ("received", "sent")}
    verdict = resume.judge(session, wish, case["client"], case["server_kid"], bytes.fromhex(RESUME["h"]))
    assert verdict == case["verdict"]


@pytest.mark.parametrize("case", RESUME["client"]["confirmations"], ids=what)
def test_a_client_goes_on_or_does_not(case: dict[str, Any]) -> None:
    session = {"secret": bytes.fromhex(RESUME["secret"]), "own": account(RESUME["client"]["own"])}
    answer = decode("Resumed", bytes.fromhex(case["resumed"]))
    answer |= {name: admission.position(answer[name]) for name in ("received", "sent")}
    assert resume.confirm(session, answer, bytes.fromhex(RESUME["h"])) == case["rule"]


# Whole conversations


class Listener:
    """Somebody who has the secrets of both ends, and follows what they say."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.vector = vector
        self.people = {name: identity(vector[name]) for name in ("client", "server")}
        self.session_id = b""
        self.resume_secret = b""
        self.said: dict[str, list[bytes]] = {"client": [], "server": []}
        """The envelopes of each direction, by number from 1."""
        self.readers: dict[str, Receiver] = {}
        """Who reads what each of the two says."""
        self.controls: Counter[str] = Counter()
        self.again = 0
        self.grants: list[int] = []

    def listen(self) -> None:
        for transport in self.vector["transports"]:
            self._transport(transport)

    def _transport(self, transport: dict[str, Any]) -> None:
        client, server = self._ends(transport)
        keys: tuple[bytes, bytes] = (b"", b"")
        directions: dict[str, records.Direction] = {}
        for record in transport["records"]:
            ((kind, header, body),) = records.cut(bytes.fromhex(record["record"]), LONGEST)
            assert kind == record["type"]
            name = record["from"]
            if kind == 0x01:
                assert body == client.h1 + client.write(1)
                server.read(1, body[len(client.h1) :])
            elif kind == 0x02:
                client.read(2, body)
                server.write(2, lambda _: client.payloads[2][0])
                self._judge_server(client)
            elif kind == 0x03:
                server.read(3, body)
                client.write(3, lambda _: server.payloads[3][0])
                assert client.h == server.h == bytes.fromhex(transport["h"])
                keys = client.split()
                assert [each.hex() for each in keys] == [transport["client_key"], transport["server_key"]]
                assert client.export(b"session-id").hex() == transport["session_id"]
                assert client.export(b"resume").hex() == transport["resume_secret"]
                self._judge_client(client, server)
                directions = {"client": records.Direction(self.vector["suite"], keys[0]),
                              "server": records.Direction(self.vector["suite"], keys[1])}  # fmt: skip
            else:
                assert directions[name].counter == record["counter"]
                plaintext = directions[name].open(kind, header, body)
                assert plaintext.hex() == record["plaintext"]
                if kind == 0x04:
                    self._answer(plaintext, client)
                else:
                    self._flight(name, plaintext, lost=record.get("lost", False))

    def _ends(self, transport: dict[str, Any]) -> tuple[noise.Handshake, noise.Handshake]:
        suite = self.vector["suite"]
        h1 = noise.h1(suite, self.vector["server_name"].encode())
        kem = [bytes.fromhex(transport.get(name, "")) for name in ("kem_seed", "kem_ciphertext", "kem_shared")]

        def secrets(name: str) -> noise.Secrets:
            ephemeral = bytes.fromhex(transport[f"{name}_ephemeral"])
            return noise.Secrets(self.people[name]["exchange_private"], ephemeral, kem[0], (kem[1], kem[2]))

        return noise.Handshake(suite, h1, True, secrets("client")), noise.Handshake(suite, h1, False, secrets("server"))

    # Who they are

    def _policy(self) -> Policy:
        return Policy([identity("root")["chain"][0]])

    def _judge(self, chain: list[dict[str, Any]], roles: set[int], name: str | None) -> dict[str, Any]:
        at_ms = load("identities.json")["now_ms"]
        return self._policy().judge([encode("IdentityCertificate", each) for each in chain], roles, at_ms, name)

    def _judge_server(self, client: noise.Handshake) -> None:
        payload, h = client.payloads[2]
        hello = admission.hello(payload[:-64])
        peer = self._judge(hello["chain"], {SERVER}, self.vector["server_name"])
        assert peer["exchange_key"] == client.theirs["s"]
        signed = noise.transcript(b"ratatoskr-v1 server-auth", h, payload[:-64])
        assert verifies(peer["signing_key"], payload[-64:], signed)

    def _judge_client(self, client: noise.Handshake, server: noise.Handshake) -> None:
        payload, h = server.payloads[3]
        request = admission.request(payload[:-64])
        peer = self._judge(request["chain"], {3, 4}, None)
        assert peer["exchange_key"] == server.theirs["s"]
        signed = noise.transcript(b"ratatoskr-v1 device-auth", h, payload[:-64])
        assert verifies(peer["signing_key"], payload[-64:], signed)
        assert request["token"] == b"a token"
        wish = request.get("resume")
        if not self.session_id:
            assert wish is None
            self.session_id, self.resume_secret = client.export(b"session-id"), client.export(b"resume")
            self.readers = {"client": self._reader("client", "server"), "server": self._reader("server", "client")}
            return
        assert wish is not None
        assert (wish["session_id"], wish["attempt"]) == (self.session_id, 1)
        assert wish["proof"] == resume.client_proof(self.resume_secret, h)
        self._positions("client", wish)

    def _reader(self, speaker: str, listener: str) -> Receiver:
        own = self.people[speaker]
        direction = 0 if speaker == "client" else 1
        return Receiver(
            self.session_id, direction, own["signing_public"], own["kid"], self.people[listener]["kid"],
            now_ms=load("identities.json")["now_ms"],
        )  # fmt: skip

    def _positions(self, speaker: str, said: dict[str, Any]) -> None:
        """Both places are those of the chains that were heard."""
        other = "server" if speaker == "client" else "client"
        received, sent = admission.position(said["received"]), admission.position(said["sent"])
        reader = self.readers[other]
        assert (received["number"], received["chain"], received["sealed"]) == (
            reader.number,
            reader.chain,
            reader.sealed,
        )
        assert sent["number"] == len(self.said[speaker])
        assert sent["chain"] == self._chain(speaker, sent["number"])

    def _chain(self, speaker: str, number: int) -> bytes:
        direction = 0 if speaker == "client" else 1
        chain = start(self.session_id, direction)
        for at, envelope in enumerate(self.said[speaker][:number], 1):
            chain = link(chain, leaf_of(entry(self.session_id, direction, at, envelope)))
        return chain

    # What they say

    def _answer(self, plaintext: bytes, client: noise.Handshake) -> None:
        assert len(plaintext) % 512 == 0
        answer = admission.response(plaintext)
        assert ("resumed" in answer) == bool(self.said["client"])
        if "resumed" in answer:
            assert answer["resumed"]["proof"] == resume.server_proof(self.resume_secret, client.h)
            self._positions("server", answer["resumed"])

    def _flight(self, speaker: str, plaintext: bytes, *, lost: bool) -> None:
        flight = decode("Flight", plaintext)
        first, said = flight["first_number"], self.said[speaker]
        for number, envelope in enumerate(flight.get("envelopes", []), first):
            if number <= len(said):
                assert said[number - 1] == envelope, "what is sent again is the same, byte for byte"
                self.again += 1
                continue
            assert number == len(said) + 1
            said.append(envelope)
            credit = {hop.get("index", 0): hop.get("credit", 0) for hop in flight.get("hops", [])}
            self._expect(speaker, number, envelope, credit.get(number - first, 0) or 16)
        if lost:
            return
        for control in flight.get("controls", []):
            self.controls.update(list(control))
            if "grant" in control:
                number, items = control["grant"]["request_number"], control["grant"]["items"]
                self.readers["server" if speaker == "client" else "client"].asked[number].granted = items
                self.grants.append(items)
        reader = self.readers[speaker]
        reader.sent = len(self.said["server" if speaker == "client" else "client"])
        assert rule(lambda: reader.receive(plaintext)) == ""

    def _expect(self, speaker: str, number: int, envelope: bytes, granted: int) -> None:
        """A request opens a call at its speaker's reader of answers."""
        if envelope[:1] != b"\1":
            return
        message = decode("RatatoskrRequest", envelope[1:])
        other = "server" if speaker == "client" else "client"
        leaf = leaf_of(entry(self.session_id, 0 if speaker == "client" else 1, number, envelope))
        self.readers[other].asked[number] = Asked(leaf, (message["type"], message["operation"]), granted=granted)


@pytest.mark.parametrize("vector", SESSIONS, ids=what)
def test_a_conversation_can_be_followed_to_its_end(vector: dict[str, Any]) -> None:
    listener = Listener(vector)
    listener.listen()
    for reader in listener.readers.values():
        assert reader.disconnected
        assert reader.number == reader.sealed
        assert reader.asked == {}
    assert listener.again == 3
    assert listener.grants == [4, 4]
    assert listener.controls["ping"] == listener.controls["pong"] == 1
    assert listener.controls["go_away"] == 1
    assert listener.controls["disconnect"] == 2


@pytest.mark.parametrize("vector", SESSIONS, ids=what)
def test_a_conversation_has_what_it_is_to_show(vector: dict[str, Any]) -> None:
    first, second = vector["transports"]
    assert any(record.get("lost") for record in first["records"])
    assert not any(record.get("lost") for record in second["records"])
    assert [record["type"] for record in second["records"][:4]] == [1, 2, 3, 4]
    assert sha256(first["h"].encode()).digest() != sha256(second["h"].encode()).digest()
    notes = [
        record["note"] for transport in vector["transports"] for record in transport["records"] if "note" in record
    ]
    assert len(notes) > 12
