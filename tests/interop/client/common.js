// What every page uses: notation (index.md), faults and their codes (faults.md), keys of node:crypto from raw bytes.
import crypto from "node:crypto";

export const SPACES = Buffer.alloc(64, 0x20);
export const ZERO = Buffer.from([0]);

export const ascii = (text) => Buffer.from(text, "latin1");
export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const unhex = (text) => Buffer.from(text, "hex");

export const sha256 = (...parts) => crypto.createHash("sha256").update(Buffer.concat(parts)).digest();
export const hmac = (key, ...parts) => crypto.createHmac("sha256", key).update(Buffer.concat(parts)).digest();

export const u8 = (value) => Buffer.from([value]);
export function u32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
}
export function u64(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(value));
    return bytes;
}

/** faults.md, "Classes": name -> class and code. */
export const FAULTS = {
    CLEAN: ["clean", 1000],
    ABANDONED: ["transport", 1001],
    REFUSED: ["transport", 4401],
    REJECTED: ["transport", 4403],
    RECORD_MALFORMED: ["transport", 4400],
    RECORD_TOO_LONG: ["transport", 4413],
    RECORD_FORGED: ["transport", 4402],
    KEY_EXHAUSTED: ["transport", 4426],
    TRANSPORT_LOST: ["transport", 4499],
    HANDSHAKE_TIMEOUT: ["transport", 4408],
    ACCEPT_TIMEOUT: ["transport", 4418],
    RECORD_STALLED: ["transport", 4416],
    PEER_SILENT: ["transport", 4417],
    DRAIN_TIMEOUT: ["transport", 4419],
    FLIGHT_INVALID: ["session", 4440],
    ENVELOPE_INVALID: ["session", 4441],
    SEAL_MISSING: ["session", 4442],
    SEAL_INVALID: ["session", 4443],
    SEAL_OVERDUE: ["session", 4444],
    LIMIT_EXCEEDED: ["session", 4429],
    ACK_INVALID: ["session", 4445],
    ANSWER_INVALID: ["session", 4446],
    DISCONNECTED: ["session", 4447],
    SESSION_DIVERGED: ["session", 4448],
    SESSION_EXPIRED: ["session", 4410],
    SESSION_UNKNOWN: ["session", 4404],
};

/** The rules whose fault is not REFUSED; the tables of records.md, flights.md, connection.md, resume.md. */
const RULES = {
    "record.type": "RECORD_MALFORMED",
    "record.alert": "RECORD_MALFORMED",
    "record.length": "RECORD_TOO_LONG",
    "record.forged": "RECORD_FORGED",
    "record.key-exhausted": "KEY_EXHAUSTED",
    "timer.handshake": "HANDSHAKE_TIMEOUT",
    "timer.accept": "ACCEPT_TIMEOUT",
    "timer.record": "RECORD_STALLED",
    "timer.drain": "DRAIN_TIMEOUT",
    "timer.session": "SESSION_EXPIRED",
    liveness: "PEER_SILENT",
    close: "ABANDONED",
    disconnect: "CLEAN",
    "transport.eof": "TRANSPORT_LOST",
    "admission.rejected": "REJECTED",
    "flight.budget": "FLIGHT_INVALID",
    "flight.malformed": "FLIGHT_INVALID",
    "flight.number": "FLIGHT_INVALID",
    "flight.hops": "FLIGHT_INVALID",
    "flight.count": "LIMIT_EXCEEDED",
    "flight.controls": "LIMIT_EXCEEDED",
    "span.length": "SEAL_OVERDUE",
    "span.time": "SEAL_OVERDUE",
    "envelope.length": "LIMIT_EXCEEDED",
    "envelope.budget": "ENVELOPE_INVALID",
    "envelope.form": "ENVELOPE_INVALID",
    "envelope.malformed": "ENVELOPE_INVALID",
    "envelope.canonical": "ENVELOPE_INVALID",
    "request.type": "ENVELOPE_INVALID",
    "request.nonce": "ENVELOPE_INVALID",
    "request.metadata": "LIMIT_EXCEEDED",
    "response.leaf": "ENVELOPE_INVALID",
    "response.result": "ENVELOPE_INVALID",
    "response.unary": "ENVELOPE_INVALID",
    "response.error": "ENVELOPE_INVALID",
    "response.violations": "LIMIT_EXCEEDED",
    "seal.missing": "SEAL_MISSING",
    "seal.form": "SEAL_INVALID",
    "seal.signature": "SEAL_INVALID",
    "flight.ack": "ACK_INVALID",
    "disconnect.final": "FLIGHT_INVALID",
    "disconnect.fault": "DISCONNECTED",
    "disconnect.seal": "SEAL_MISSING",
    "control.number": "FLIGHT_INVALID",
    "controls.rate": "LIMIT_EXCEEDED",
    "cancels.rate": "LIMIT_EXCEEDED",
    "errors.rate": "LIMIT_EXCEEDED",
    "requests.open": "LIMIT_EXCEEDED",
    "response.request": "ANSWER_INVALID",
    "response.item": "ANSWER_INVALID",
    "stream.credit": "LIMIT_EXCEEDED",
    "resume.positions": "SESSION_DIVERGED",
    "session.unknown": "SESSION_UNKNOWN",
};

/** A rule is broken: index.md, "Rules". `rule` is what a test asserts, `fault` what becomes of the connection. */
export class Refused extends Error {
    constructor(rule, detail = "") {
        super(detail ? `${rule}: ${detail}` : rule);
        this.rule = rule;
        this.fault = RULES[rule] ?? "REFUSED";
    }
    get ofSession() {
        return FAULTS[this.fault][0] === "session";
    }
}

export function must(holds, rule, detail) {
    if (!holds) throw new Refused(rule, detail);
}

// Raw keys. node:crypto reads X25519 and Ed25519 keys as DER, whose last 32 bytes are the key.
const DER = {
    x25519: { private: unhex("302e020100300506032b656e04220420"), public: unhex("302a300506032b656e032100") },
    ed25519: { private: unhex("302e020100300506032b657004220420"), public: unhex("302a300506032b6570032100") },
};
const privateKey = (kind, raw) =>
    crypto.createPrivateKey({ key: Buffer.concat([DER[kind].private, raw]), format: "der", type: "pkcs8" });
const publicKey = (kind, raw) =>
    crypto.createPublicKey({ key: Buffer.concat([DER[kind].public, raw]), format: "der", type: "spki" });
const publicOf = (kind, raw) =>
    crypto.createPublicKey(privateKey(kind, raw)).export({ format: "der", type: "spki" }).subarray(-32);

export const x25519Public = (secret) => publicOf("x25519", secret);
export const ed25519Public = (seed) => publicOf("ed25519", seed);
export const ed25519Sign = (seed, message) => crypto.sign(null, message, privateKey("ed25519", seed));
export const ed25519Verify = (key, message, signature) =>
    crypto.verify(null, message, publicKey("ed25519", key), signature);

/** X25519; undefined where it gives 32 zero bytes, which the platform reports as an error (RFC 7748, 6.1). */
export function x25519(secret, peer) {
    try {
        return crypto.diffieHellman({ privateKey: privateKey("x25519", secret), publicKey: publicKey("x25519", peer) });
    } catch {
        return undefined;
    }
}

/** The two AEADs with their nonces: records.md, "Protected records". Opening gives undefined for a forgery. */
const nonceOf = (name, counter) => {
    const nonce = Buffer.alloc(12);
    if (name === "AESGCM") nonce.writeBigUInt64BE(BigInt(counter), 4);
    else nonce.writeBigUInt64LE(BigInt(counter), 4);
    return nonce;
};
const NODE_NAMES = { AESGCM: "aes-256-gcm", ChaChaPoly: "chacha20-poly1305" };

export function aeadSeal(name, key, counter, associated, plaintext) {
    const cipher = crypto.createCipheriv(NODE_NAMES[name], key, nonceOf(name, counter), { authTagLength: 16 });
    cipher.setAAD(associated, { plaintextLength: plaintext.length });
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

export function aeadOpen(name, key, counter, associated, ciphertext) {
    if (ciphertext.length < 16) return undefined;
    const cipher = crypto.createDecipheriv(NODE_NAMES[name], key, nonceOf(name, counter), { authTagLength: 16 });
    cipher.setAAD(associated, { plaintextLength: ciphertext.length - 16 });
    cipher.setAuthTag(ciphertext.subarray(-16));
    try {
        return Buffer.concat([cipher.update(ciphertext.subarray(0, -16)), cipher.final()]);
    } catch {
        return undefined;
    }
}
