"""Makes channel.json: one whole handshake and its first records, for each published suite.

    python -m tests.vectors.make_channel

Every secret is derived from a label, except the encapsulation of ML-KEM, whose randomness the cryptography package
draws by itself: the file records its ciphertext and shared secret. So a new file differs from the old one, and both
are right. A test computes every message of the file again, by hand and through the handshake.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ratatoskr.channel import SUITES, ClientHandshake, Entropy, Kem, KemKey, RecordCipher, RecordType, ServerHandshake
from ratatoskr.channel.suites import ML_KEM_768

FILE = Path(__file__).with_name("channel.json")
SERVER_NAME = "yggdrasil.example"


class RecordingKem:
    """ML-KEM-768 that remembers what its last encapsulation made, or gives out what it was handed."""

    public_bytes = ML_KEM_768.public_bytes
    ciphertext_bytes = ML_KEM_768.ciphertext_bytes

    def __init__(self, replay: tuple[bytes, bytes] | None = None) -> None:
        self.replay = replay

    def keypair(self, entropy: Entropy) -> KemKey:
        return ML_KEM_768.keypair(entropy)

    def encapsulate(self, public: bytes, entropy: Entropy) -> tuple[bytes, bytes]:
        if self.replay is None:
            self.replay = ML_KEM_768.encapsulate(public, entropy)
        return self.replay


class FixedEntropy:
    """Gives out the bytes of a string, once."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def __call__(self, length: int) -> bytes:
        taken, self.stream = self.stream[:length], self.stream[length:]
        assert len(taken) == length, "the entropy of this run is used up"
        return taken


def secret(label: str, length: int = 32) -> bytes:
    """Bytes that look random and are the same in every run."""
    return b"".join(sha256(f"{label} {part}".encode()).digest() for part in range(-(-length // 32)))[:length]


def secrets_of(suite_id: int) -> dict[str, Any]:
    """What the two sides of one vector start from."""
    hybrid = SUITES[suite_id].kem is not None
    names = ("client static", "client ephemeral", "server static", "server ephemeral")
    vector: dict[str, Any] = {name.replace(" ", "_"): secret(f"{suite_id} {name}").hex() for name in names}
    if hybrid:
        vector["client_kem_seed"] = secret(f"{suite_id} client kem seed", 64).hex()
    for name, length in (("payload_2", 300), ("payload_3", 500)):
        vector[name] = secret(f"{suite_id} {name}", length).hex()
    return vector


def run(suite_id: int, vector: dict[str, Any]) -> dict[str, Any]:
    """The vector with all that follows from its secrets, in hexadecimal."""

    def of(name: str) -> bytes:
        return bytes.fromhex(vector.get(name, ""))

    replay = (of("kem_ciphertext"), of("kem_shared")) if "kem_shared" in vector else None
    recording = RecordingKem(replay)
    kem: Kem | None = None if SUITES[suite_id].kem is None else recording
    suite = replace(SUITES[suite_id], kem=kem)
    client = ClientHandshake(
        static=X25519PrivateKey.from_private_bytes(of("client_static")),
        suite=suite,
        server_name=SERVER_NAME,
        entropy=FixedEntropy(of("client_ephemeral") + of("client_kem_seed")),
    )
    server = ServerHandshake(
        static=X25519PrivateKey.from_private_bytes(of("server_static")),
        suites=[suite],
        entropy=FixedEntropy(of("server_ephemeral")),
    )
    made: dict[str, bytes] = {}
    made["m1"] = client.m1()
    server.read_m1(made["m1"])
    made["m2"] = server.m2(lambda h: (made.update(h_2=h), of("payload_2"))[1])
    client.read_m2(made["m2"])
    made["m3"] = client.m3(lambda h: (made.update(h_3=h), of("payload_3"))[1])
    server.read_m3(made["m3"])
    ends = client.establish(), server.establish()
    made |= {"h": ends[0].h, "session_id": ends[0].session_id, "resume_secret": ends[0].resume_secret}
    if kem is not None:
        assert recording.replay is not None
        made["kem_ciphertext"], made["kem_shared"] = recording.replay
    first = {"suite": suite_id, "name": suite.name, "server_name": SERVER_NAME}
    records = {"client_records": records_of(ends[0].send, 0), "server_records": records_of(ends[1].send, 1)}
    return first | vector | {name: value.hex() for name, value in made.items()} | records


def records_of(cipher: RecordCipher, side: int) -> list[dict[str, str]]:
    """The first records of one side: the server's response, then data around a change of the key."""
    kinds = [RecordType.RESPONSE] * side + [RecordType.DATA, RecordType.DATA_REKEY, RecordType.DATA]
    plaintexts = [secret(f"record {side} {number}", 17 * number) for number in range(len(kinds))]
    return [
        {"plaintext": plaintext.hex(), "record": cipher.protect(kind, plaintext).hex()}
        for kind, plaintext in zip(kinds, plaintexts, strict=True)
    ]


def main() -> None:
    """Write the file."""
    vectors = [run(suite_id, secrets_of(suite_id)) for suite_id in SUITES]
    about = "Handshakes and first records of the channel, in hexadecimal. Payload 2 is B2 and sigS, 3 is B3 and sigC."
    FILE.write_text(json.dumps({"about": about, "vectors": vectors}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
