// What M2, M3 and RESPONSE say: admission.md.
import crypto from "node:crypto";
import { Refused, must } from "./common.js";
import { Malformed, countFields, decode, encode, isCanonical } from "./wire.js";

/** "Limits": default, least that is accepted. */
const ANNOUNCED = {
    record_bytes: [262144, 4096],
    envelope_bytes: [245760, 3072],
    requests_open: [256, 1],
    request_bytes_open: [8388608, 1],
    flight_messages: [256, 1],
    span_messages: [256, 1],
    controls: [16, 4],
    metadata_entries: [32, 1],
    metadata_bytes: [8192, 1],
    cancels_per_minute: [100, 1],
};
export const DEFAULT_LIMITS = Object.fromEntries(Object.entries(ANNOUNCED).map(([name, [value]]) => [name, value]));

/** The smaller of both, for both directions. */
export function agree(own, announced) {
    const agreed = {};
    for (const [name, [, least]] of Object.entries(ANNOUNCED)) {
        must(announced[name] >= least, "admission.limits", name);
        agreed[name] = announced[name] < own[name] ? announced[name] : own[name];
    }
    return agreed;
}

function read(name, bytes) {
    must(countFields(name, bytes, 256), "admission.malformed", `${name} has too many fields`);
    let value;
    try {
        value = decode(name, bytes);
    } catch (error) {
        throw error instanceof Malformed ? new Refused("admission.malformed", `${name}: ${error.message}`) : error;
    }
    must(isCanonical(name, bytes, value), "admission.field", `${name} is not canonical`);
    return value;
}
const chainOf = ({ chain }) => chain.map((certificate) => encode("IdentityCertificate", certificate));

/** "M2". */
export function readHello(bytes) {
    const hello = read("ServerHello", bytes);
    must(hello.accept_timeout_ms >= 1 && hello.accept_timeout_ms <= 3600000, "admission.field", "accept_timeout_ms");
    must(hello.request_bytes >= 1024, "admission.field", "request_bytes");
    return { ...hello, chain: chainOf(hello) };
}
const certificates = (chain) => chain.map((bytes) => decode("IdentityCertificate", bytes));

export const writeHello = ({ chain, timeMs, requestBytes = 14000, acceptTimeoutMs = 10000 }) =>
    encode("ServerHello", {
        chain: certificates(chain),
        time_ms: timeMs,
        request_bytes: requestBytes,
        accept_timeout_ms: acceptTimeoutMs,
    });

/** "M3". */
export function writeRequest({ chain, suites, token, limits, resume, sessionMs, nowMs }) {
    const payload = encode("ConnectionRequest", {
        chain: certificates(chain),
        suites,
        versions: [1],
        token,
        limits,
        resume,
        session_ms: sessionMs,
    });
    return encode("RatatoskrRequest", {
        type: 1,
        operation: 1,
        nonce: crypto.randomBytes(16),
        issued_at_ms: nowMs,
        payload,
    });
}

export function readRequest(bytes) {
    const request = read("RatatoskrRequest", bytes);
    const payload = read("ConnectionRequest", request.payload);
    const field = (holds, name) => must(holds, "admission.field", name);
    field(request.type === 1 && request.operation === 1, "type");
    field(request.nonce.length === 16, "nonce");
    field(payload.suites.length >= 1 && payload.suites.length <= 16, "suites");
    field(payload.versions.length >= 1 && payload.versions.length <= 16, "versions");
    field(payload.token.length <= 4096, "token");
    field(payload.session_ms <= 604800000, "session_ms");
    if (payload.resume) {
        field(payload.resume.session_id.length === 32 && payload.resume.attempt > 0, "resume");
        checkPositions(payload.resume);
    }
    return { ...payload, chain: chainOf(payload) };
}

/** resume.md, "Positions": their form. */
function checkPositions({ received, sent, proof }) {
    must(proof.length === 32, "admission.field", "proof");
    for (const position of [received, sent])
        must(position?.chain.length === 32 && position.sealed <= position.number, "admission.field", "position");
}

/** "RESPONSE": acceptance as its payload, or a rejection as its error. */
export function readResponse(plaintext) {
    const { response } = read("ConnectionAnswer", plaintext);
    must(response?.type === 2 && response.operation === 1, "admission.field", "type");
    if (response.error) return { error: response.error };
    must(response.payload !== undefined, "admission.field", "neither payload nor error");
    const accepted = read("ConnectionResponse", response.payload);
    if (accepted.resumed) checkPositions(accepted.resumed);
    return { accepted };
}

export function writeResponse({ limits, sessionMs = 0, resumed, error, retentionMs = 0 }) {
    const payload = error
        ? undefined
        : encode("ConnectionResponse", { limits, retention_ms: retentionMs, resumed, session_ms: sessionMs });
    const response = { type: 2, operation: 1, last: true, payload, error };
    const bare = encode("ConnectionAnswer", { response, padding: Buffer.alloc(128) }).length;
    const padding = 128 + ((512 - (bare % 512)) % 512);
    return encode("ConnectionAnswer", { response, padding: Buffer.alloc(padding) }); // a length of two bytes in any case
}
