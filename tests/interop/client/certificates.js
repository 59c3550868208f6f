// Keys, certificates, chains and identity files: certificates.md.
import crypto from "node:crypto";
import fs from "node:fs";
import {
    Refused,
    SPACES,
    ZERO,
    ascii,
    ed25519Public,
    ed25519Sign,
    ed25519Verify,
    hex,
    must,
    sha256,
    u8,
    x25519Public,
} from "./common.js";
import { Malformed, decode, encode, isCanonical } from "./wire.js";

export const ROLE = { ISSUER: 1, SERVER: 2, DEVICE: 3, PROVIDER: 4 };
const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const Y8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
const U8 = 0x00b8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0n;
const U8_TOO = 0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5fn;
const SMALL_ED = new Set([0n, 1n, P - 1n, Y8, P - Y8, P, P + 1n]);
const SMALL_X = new Set([0n, 1n, P - 1n, U8, U8_TOO]);
const LABEL = { certificate: "ratatoskr-v1 certificate", request: "ratatoskr-v1 enrol" };

// ------------------------------------------------------------------------------------------------------ "Keys"

const littleEndian = (bytes) => BigInt("0x" + hex(Buffer.from(bytes).reverse()));
const withoutSign = (bytes) => BigInt.asUintN(255, littleEndian(bytes));

function power(base, exponent) {
    let result = 1n;
    for (let b = base % P, e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
    return result;
}
const D = ((-121665n * power(121666n, P - 2n)) % P) + P; // RFC 8032, 5.1

export function checkSigningKey(key) {
    must(key.length === 32, "key.length");
    const y = withoutSign(key);
    must(!SMALL_ED.has(y), "key.small_order");
    must(y < P, "key.canonical");
    const u = (y * y - 1n + P) % P;
    const v = (D * y * y + 1n) % P;
    const square = (u * power(v, P - 2n)) % P;
    must(square === 0n || power(square, (P - 1n) / 2n) === 1n, "key.curve");
}

export function checkExchangeKey(key) {
    must(key.length === 32, "key.length");
    must(littleEndian(key) < P, "key.canonical");
    must(!SMALL_X.has(littleEndian(key)), "key.small_order");
}

/** "A signature": the platform's verifier has no cofactor; what it leaves open is closed before. */
export function verifySignature(key, message, signature) {
    if (signature.length !== 64) return false;
    if (SMALL_ED.has(withoutSign(signature.subarray(0, 32)))) return false;
    if (littleEndian(signature.subarray(32)) >= L) return false;
    return ed25519Verify(key, message, signature);
}

export const kidOf = (signingKey) => sha256(ascii("ratatoskr-v1 key"), ZERO, u8(1), signingKey);

// --------------------------------------------------------------------------------------- "Reading a certificate"

const isName = (text) => /^[\x20-\x7e]{1,128}$/.test(text) && !text.startsWith(" ") && !text.endsWith(" ");
const isServerName = (text) => /^[a-z0-9.\-_:]{1,255}$/.test(text);

function readSigned(prefix, message, bodyMessage, bytes) {
    const rule = (name) => `${prefix}.${name}`;
    const parse = (name, from) => {
        try {
            return decode(name, from);
        } catch (error) {
            throw error instanceof Malformed ? new Refused(rule("malformed"), error.message) : error;
        }
    };
    must(bytes.length <= 4096, rule("too_long"));
    const outer = parse(message, bytes);
    const body = parse(bodyMessage, outer.body);
    must(isCanonical(message, bytes, outer) && isCanonical(bodyMessage, outer.body, body), rule("canonical"));
    must(body.version === 1, rule("version"));
    must(body.role >= 1 && body.role <= 4, rule("role"));
    must(isName(body.subject) && !body.subject.startsWith("self-issued:"), rule("subject"));
    must(body.tenant === "" || isName(body.tenant), rule("tenant"));
    const { names } = body;
    must(!names.length || body.role === ROLE.SERVER, rule("names"));
    must(names.length <= 16 && new Set(names).size === names.length && names.every(isServerName), rule("names"));
    must(outer.signature.length === 64, rule("signature"));
    for (const check of [() => checkExchangeKey(body.exchange_key), () => checkSigningKey(body.signing_key)])
        try {
            check();
        } catch (error) {
            throw new Refused(rule(error.rule === "key.small_order" ? "small_order" : "key"), error.rule);
        }
    return { ...body, bytes, body: outer.body, signature: outer.signature, kid: kidOf(body.signing_key) };
}

export function readCertificate(bytes) {
    const read = readSigned("certificate", "IdentityCertificate", "CertificateBody", bytes);
    must(read.not_before_ms < read.not_after_ms && read.not_after_ms <= 253402300799999, "certificate.validity");
    must(read.issuer.length === 32, "certificate.issuer");
    must(read.serial.length === 16, "certificate.serial");
    must(read.path_length <= (read.role === ROLE.ISSUER ? 1 : 0), "certificate.path_length");
    return { ...read, fingerprint: sha256(bytes) };
}

export function readCertificateRequest(bytes) {
    const read = readSigned("request", "CertificateRequest", "CertificateRequestBody", bytes);
    must(signedBy(LABEL.request, read, read.signing_key), "request.signature");
    return read;
}

const signedMessage = (label, body) => Buffer.concat([SPACES, ascii(label), ZERO, sha256(body)]);
const signedBy = (label, { body, signature }, key) => verifySignature(key, signedMessage(label, body), signature);

/** An encoded certificate; for tests, which need certificates that nobody else would issue. */
export function issueCertificate(fields, issuerSeed) {
    const body = encode("CertificateBody", {
        version: 1,
        issuer: kidOf(ed25519Public(issuerSeed)),
        serial: crypto.randomBytes(16),
        ...fields,
    });
    const signature = ed25519Sign(issuerSeed, signedMessage(LABEL.certificate, body));
    return encode("IdentityCertificate", { body, signature });
}

// ------------------------------------------------------------------------------------------- "Judging a chain"

const same = (one, other) => Buffer.compare(one, other) === 0;

/**
 * `trust`: roots (read certificates), pinned (fingerprints), revoked ([issuer kid, serial] pairs), selfIssued, earliestMs.
 * Gives who the peer is, as it counts: certificate, subject, tenant, role, kid, enrolled.
 */
export function judgeChain(encoded, trust, { roles, nowMs, serverName = undefined }) {
    const { roots = [], pinned = [], revoked = [], selfIssued = false, earliestMs = 0 } = trust;
    const time = Math.max(nowMs, earliestMs);
    must(encoded.length >= 1 && encoded.length <= 2, "certificate.chain");
    const chain = encoded.map((bytes) => readCertificate(bytes));
    const [peer] = chain;
    must(roles.includes(peer.role) && peer.role !== ROLE.ISSUER, "certificate.role");
    const who = { certificate: peer, kid: peer.kid, role: peer.role, enrolled: true };
    Object.assign(who, { subject: peer.subject, tenant: peer.tenant });
    let path = [peer];
    if (pinned.some((fingerprint) => same(fingerprint, peer.fingerprint))) {
        // believed whoever issued it
    } else if (same(peer.issuer, peer.kid)) {
        must(selfIssued && peer.role === ROLE.PROVIDER, "certificate.issuer");
        must(chain.length === 1, "certificate.chain");
        must(signedBy(LABEL.certificate, peer, peer.signing_key), "certificate.signature");
        Object.assign(who, { enrolled: false, subject: `self-issued:${hex(peer.kid)}`, tenant: "" });
    } else {
        const root = chooseRoot(roots, chain.at(-1).issuer, time);
        must(root, "certificate.issuer");
        path = [...chain, root];
        for (let i = 0; i + 1 < path.length; i++) {
            const [lower, above] = [path[i], path[i + 1]];
            must(above.role === ROLE.ISSUER, "certificate.role");
            must(!(lower.role === ROLE.ISSUER && same(lower.issuer, lower.kid)), "certificate.chain");
            must(same(lower.issuer, above.kid), "certificate.issuer");
            must(signedBy(LABEL.certificate, lower, above.signing_key), "certificate.signature");
        }
        must(chain.length - 1 <= root.path_length, "certificate.path_length");
    }
    for (const one of path) {
        must(
            !revoked.some(([issuer, serial]) => same(issuer, one.issuer) && same(serial, one.serial)),
            "certificate.revoked",
        );
        must(one.not_before_ms <= time, "certificate.not_yet_valid");
        must(time < one.not_after_ms, "certificate.expired");
    }
    if (serverName !== undefined) must(peer.names.includes(serverName), "certificate.name");
    return who;
}

function chooseRoot(roots, kid, time) {
    const valid = (one) => Number(one.not_before_ms <= time && time < one.not_after_ms);
    return roots
        .filter((one) => same(one.kid, kid))
        .sort((a, b) => valid(b) - valid(a) || b.path_length - a.path_length || b.not_after_ms - a.not_after_ms)[0];
}

// ------------------------------------------------------------------------------------------------- "At rest"

/** Blocks of a file: [name, bytes]. */
export function readArmour(text) {
    must(Buffer.byteLength(text) <= 2 ** 20, "armour");
    const lines = text.split(/\r?\n/);
    const blocks = [];
    for (let i = 0; i < lines.length; i++) {
        if (lines[i] === "" || lines[i].startsWith("#")) continue;
        const begin = /^-----BEGIN RATATOSKR ([A-Z ]+)-----$/.exec(lines[i]);
        must(begin, "armour", `line ${i + 1}`);
        const end = lines.indexOf(`-----END RATATOSKR ${begin[1]}-----`, i);
        must(end > 0, "armour", `${begin[1]} does not end`);
        const base64 = lines.slice(i + 1, end).join("");
        const bytes = Buffer.from(base64, "base64");
        must(bytes.toString("base64") === base64, "armour", "no base64");
        blocks.push([begin[1], bytes]);
        i = end;
    }
    return blocks;
}

export function identityOf(exchangeSecret, signingSeed, chain) {
    const signingKey = ed25519Public(signingSeed);
    return { exchangeSecret, signingSeed, signingKey, kid: kidOf(signingKey), chain };
}

export function loadIdentity(path) {
    const [secret, ...rest] = readArmour(fs.readFileSync(path, "utf8"));
    must(secret?.[0] === "SECRET KEYS" && secret[1].length === 64, "identity");
    must(rest.length >= 1 && rest.length <= 2 && rest.every(([name]) => name === "CERTIFICATE"), "identity");
    const [exchangeSecret, signingSeed] = [secret[1].subarray(0, 32), secret[1].subarray(32)];
    const own = readCertificate(rest[0][1]);
    must(same(own.exchange_key, x25519Public(exchangeSecret)), "identity");
    must(same(own.signing_key, ed25519Public(signingSeed)), "identity");
    return identityOf(
        exchangeSecret,
        signingSeed,
        rest.map(([, bytes]) => bytes),
    );
}

export function loadRoots(path) {
    const blocks = readArmour(fs.readFileSync(path, "utf8"));
    must(
        blocks.every(([name]) => name === "CERTIFICATE"),
        "armour",
    );
    return blocks.map(([, bytes]) => readCertificate(bytes));
}
