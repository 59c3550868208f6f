// The handshake and its keys: handshake.md. Both roles are here; the server's is for tests with bad servers.
import crypto from "node:crypto";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import {
    SPACES,
    ZERO,
    Refused,
    aeadOpen,
    aeadSeal,
    ascii,
    ed25519Sign,
    hmac,
    must,
    sha256,
    u8,
    x25519,
    x25519Public,
} from "./common.js";
import { verifySignature } from "./certificates.js";

/** handshake.md, "Suites". */
export const SUITES = new Map([
    [0x0001, { name: "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256", hybrid: true, aead: "AESGCM" }],
    [0x0002, { name: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256", hybrid: true, aead: "ChaChaPoly" }],
    [0x0011, { name: "Noise_XX_25519_AESGCM_SHA256", hybrid: false, aead: "AESGCM" }],
    [0x0012, { name: "Noise_XX_25519_ChaChaPoly_SHA256", hybrid: false, aead: "ChaChaPoly" }],
]);
const KEM_PUBLIC = 1184;
const KEM_CIPHERTEXT = 1088;
const P = 2n ** 255n - 19n;
export const SERVER_NAME = /^[a-z0-9.\-_:]{1,255}$/;
const VERSION = 1;

/** "H1 and prologue". */
export function writeH1(suite, name) {
    return Buffer.concat([
        ascii("RTSK"),
        u8(VERSION),
        Buffer.from([suite >> 8, suite & 255]),
        u8(name.length),
        ascii(name),
    ]);
}

export function readH1(m1, suites) {
    must(m1.length >= 8, "handshake.short");
    must(m1.subarray(0, 4).equals(ascii("RTSK")), "handshake.magic");
    must(m1[4] === VERSION, "handshake.version");
    const suite = m1.readUInt16BE(5);
    const name = m1.subarray(8, 8 + m1[7]);
    must(name.length === m1[7] && SERVER_NAME.test(name.toString("latin1")), "handshake.server-name");
    must(suites.includes(suite), "handshake.suite");
    const length = 8 + name.length + 32 + (SUITES.get(suite).hybrid ? KEM_PUBLIC : 0);
    must(m1.length === length, "handshake.length");
    return { suite, name: name.toString("latin1"), h1: m1.subarray(0, 8 + name.length) };
}

/** "Signatures": what sigS and sigC are made over. */
export const proofMessage = (label, h, body) => Buffer.concat([SPACES, ascii(label), ZERO, h, sha256(body)]);
export const SERVER_AUTH = "ratatoskr-v1 server-auth";
export const CLIENT_AUTH = "ratatoskr-v1 device-auth";

/** The second and third thing that whoever has read M2 or M3 must do, given the certificate's body. */
export function verifyProof(certificate, label, { h, body, signature, theirs }) {
    must(certificate.exchange_key.equals(theirs), "proof.exchange");
    must(verifySignature(certificate.signing_key, proofMessage(label, h, body), signature), "proof.signature");
}

/** "State": h, ck, k, n and what is done with them. `trace` is told of each step, for the vectors. */
class State {
    constructor(suite, h1, trace) {
        const { name, aead } = SUITES.get(suite);
        this.aead = aead;
        this.h = name.length <= 32 ? Buffer.concat([ascii(name)], 32) : sha256(ascii(name));
        this.ck = this.h;
        this.k = undefined;
        this.n = 0;
        this.message = 0;
        this.trace = trace ?? (() => {});
        this.mixHash(Buffer.concat([ascii("ratatoskr-v1"), ZERO, h1]));
        this.step("prologue");
    }
    step(token) {
        this.trace(this.message, token, this);
    }
    mixHash(data) {
        this.h = sha256(this.h, data);
    }
    mixKey(secret) {
        const temp = hmac(this.ck, secret);
        this.ck = hmac(temp, u8(1));
        this.k = hmac(temp, this.ck, u8(2));
        this.n = 0;
    }
    mixExchange(secret, key) {
        const shared = x25519(secret, key);
        must(shared, "noise.small-order");
        this.mixKey(shared);
    }
    encryptAndHash(plaintext) {
        const text = this.k ? aeadSeal(this.aead, this.k, this.n++, this.h, plaintext) : plaintext;
        this.mixHash(text);
        return text;
    }
    decryptAndHash(text) {
        const plaintext = this.k ? aeadOpen(this.aead, this.k, this.n, this.h, text) : text;
        must(plaintext, "noise.forged");
        this.n += this.k ? 1 : 0;
        this.mixHash(text);
        return plaintext;
    }
}

/** "What must be refused": a key is a number below p. */
function canonicalKey(key) {
    const number = BigInt("0x" + Buffer.from(key).reverse().toString("hex"));
    must(number < P, "noise.non-canonical");
    return key;
}

function cut(bytes, ...lengths) {
    const parts = [];
    let at = 0;
    for (const length of lengths) {
        must(at + length <= bytes.length, "noise.short");
        parts.push(bytes.subarray(at, (at += length)));
    }
    return [...parts, bytes.subarray(at)];
}

class Handshake {
    /** Secrets that are not given are drawn; vectors give them. */
    constructor({ staticSecret, ephemeral = crypto.randomBytes(32), trace }) {
        this.static = { secret: staticSecret, public: x25519Public(staticSecret) };
        this.ephemeral = { secret: ephemeral, public: x25519Public(ephemeral) };
        this.trace = trace;
    }
    begin(suite, h1) {
        this.suite = suite;
        this.hybrid = SUITES.get(suite).hybrid;
        this.state = new State(suite, h1, this.trace);
    }
    /** body || signature, each with the transcript hash that the signature is over. */
    writePayload(label, body, seed, sign = ed25519Sign) {
        const signature = sign(seed, proofMessage(label, this.state.h, body));
        const text = this.state.encryptAndHash(Buffer.concat([body, signature]));
        this.state.step("payload");
        return text;
    }
    readPayload(text) {
        const h = this.state.h;
        const payload = this.state.decryptAndHash(text);
        this.state.step("payload");
        must(payload.length >= 64, "handshake.signature");
        return { h, body: payload.subarray(0, -64), signature: payload.subarray(-64), theirs: this.theirs };
    }
    readStatic(text) {
        this.theirs = canonicalKey(this.state.decryptAndHash(text));
        must(!this.theirs.equals(this.static.public), "handshake.reflected");
        this.state.step("s");
    }
    writeStatic() {
        const text = this.state.encryptAndHash(this.static.public);
        this.state.step("s");
        return text;
    }
    /** "Exports" and "Split", after the payload of M3. */
    finish() {
        const { ck, h, aead } = this.state;
        const prk = hmac(ck, ascii("ratatoskr-v1 exporter"), ZERO, h);
        // HKDF-Expand to 32 bytes is one block: HMAC(PRK, info || 01).
        const exported = (label) => hmac(prk, ascii("ratatoskr-v1 " + label), ZERO, sha256(Buffer.alloc(0)), u8(1));
        const temp = hmac(ck, Buffer.alloc(0));
        const clientKey = hmac(temp, u8(1));
        const serverKey = hmac(temp, clientKey, u8(2));
        this.state = this.ephemeral = undefined;
        return {
            h,
            prk,
            aead,
            sessionId: exported("session-id"),
            resumeSecret: exported("resume"),
            clientKey,
            serverKey,
        };
    }
}

export class Initiator extends Handshake {
    constructor(options) {
        super(options);
        const { suite = 0x0001, serverName, kemSeed = crypto.randomBytes(64) } = options;
        this.h1 = writeH1(suite, serverName);
        this.begin(suite, this.h1);
        if (this.hybrid) this.kem = ml_kem768.keygen(kemSeed);
    }
    writeM1() {
        const { state } = this;
        state.message = 1;
        state.mixHash(this.ephemeral.public);
        state.step("e");
        const parts = [this.h1, this.ephemeral.public];
        if (this.hybrid) {
            parts.push(state.encryptAndHash(Buffer.from(this.kem.publicKey)));
            state.step("e1");
        }
        state.encryptAndHash(Buffer.alloc(0));
        state.step("payload");
        return Buffer.concat(parts);
    }
    readM2(m2) {
        const { state } = this;
        state.message = 2;
        const [e, ekem, s, payload] = cut(m2, 32, this.hybrid ? KEM_CIPHERTEXT + 16 : 0, 48);
        this.theirEphemeral = canonicalKey(e);
        state.mixHash(e);
        state.step("e");
        state.mixExchange(this.ephemeral.secret, e);
        state.step("ee");
        if (this.hybrid) {
            state.mixKey(Buffer.from(ml_kem768.decapsulate(state.decryptAndHash(ekem), this.kem.secretKey)));
            state.step("ekem1");
        }
        this.readStatic(s);
        state.mixExchange(this.ephemeral.secret, this.theirs);
        state.step("es");
        return this.readPayload(payload);
    }
    writeM3(write) {
        const { state } = this;
        state.message = 3;
        const s = this.writeStatic();
        state.mixExchange(this.static.secret, this.theirEphemeral);
        state.step("se");
        return Buffer.concat([s, write(state.h)]);
    }
}

export class Responder extends Handshake {
    constructor(options) {
        super(options);
        this.suites = options.suites ?? [0x0001];
        this.kemResult = options.kemResult; // { cipherText, sharedSecret } of a vector
    }
    readM1(m1) {
        const { suite, name, h1 } = readH1(m1, this.suites);
        this.serverName = name;
        this.begin(suite, h1);
        const { state } = this;
        state.message = 1;
        const [, e, e1] = cut(m1, h1.length, 32, this.hybrid ? KEM_PUBLIC : 0);
        this.theirEphemeral = canonicalKey(e);
        state.mixHash(e);
        state.step("e");
        if (this.hybrid) {
            this.theirKem = state.decryptAndHash(e1);
            state.step("e1");
        }
        state.decryptAndHash(Buffer.alloc(0));
        state.step("payload");
    }
    encapsulate() {
        try {
            return this.kemResult ?? ml_kem768.encapsulate(this.theirKem);
        } catch {
            throw new Refused("noise.kem-key");
        }
    }
    writeM2(write) {
        const { state } = this;
        state.message = 2;
        const parts = [this.ephemeral.public];
        state.mixHash(this.ephemeral.public);
        state.step("e");
        state.mixExchange(this.ephemeral.secret, this.theirEphemeral);
        state.step("ee");
        if (this.hybrid) {
            const { cipherText, sharedSecret } = this.encapsulate();
            parts.push(state.encryptAndHash(Buffer.from(cipherText)));
            state.mixKey(Buffer.from(sharedSecret));
            state.step("ekem1");
        }
        parts.push(this.writeStatic());
        state.mixExchange(this.static.secret, this.theirEphemeral);
        state.step("es");
        return Buffer.concat([...parts, write(state.h)]);
    }
    readM3(m3) {
        const { state } = this;
        state.message = 3;
        const [s, payload] = cut(m3, 48);
        this.readStatic(s);
        state.mixExchange(this.ephemeral.secret, this.theirs);
        state.step("se");
        return this.readPayload(payload);
    }
}
