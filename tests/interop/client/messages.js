// Kinds, nonces, digests and the rules of payloads: envelopes.md, at-most-once.md, payloads.md.
import crypto from "node:crypto";
import { ZERO, ascii, sha256, u32 } from "./common.js";
import { Malformed, countFields, decode, encode, isCanonical, schema } from "./wire.js";

/** envelopes.md, "Kinds". */
export const KINDS = [
    ["MARKETPLACE_SEARCH", 10, 1, "Search", "SearchResult", false, "", false],
    ["MARKETPLACE_PUBLISH", 10, 2, "PublishOffer", "OfferPublished", true, "publication_id", false],
    ["MARKETPLACE_ORDER", 10, 3, "PlaceOrder", "OrderPlaced", true, "order_id", false],
    ["MARKETPLACE_CANCEL", 10, 4, "CancelOrder", "OrderCancelled", true, "order_id", false],
    ["MARKETPLACE_BROWSE", 10, 5, "Browse", "OfferFound", false, "", true],
    ["PAYMENT_AUTHORIZE", 11, 1, "AuthorizePayment", "PaymentAuthorized", true, "end_to_end_id", false],
    ["PAYMENT_CAPTURE", 11, 2, "CapturePayment", "PaymentCaptured", true, "capture_id", false],
    ["PAYMENT_REFUND", 11, 3, "RefundPayment", "PaymentRefunded", true, "refund_id", false],
    ["PROVIDER_REGISTER", 12, 1, "RegisterProvider", "ProviderRegistered", true, "registration_id", false],
].map(([name, type, operation, request, response, sealed, once, stream]) => ({
    name,
    type,
    operation,
    request,
    response,
    sealed,
    once,
    stream,
}));
const BY_NUMBER = new Map(KINDS.map((kind) => [`${kind.type}/${kind.operation}`, kind]));
export const kindOf = ({ type, operation }) => BY_NUMBER.get(`${type}/${operation}`);
export const kindNamed = (name) => KINDS.find((kind) => kind.name === name);

/** The field of a business key as bytes; undefined where it is empty or zero, which is no key. */
export function keyBytes(value) {
    if (Buffer.isBuffer(value)) return value.length ? value : undefined;
    return value ? Buffer.from(String(value)) : undefined;
}

/** envelopes.md, "Nonces". */
export const nonceOf = ({ type, operation }, key) =>
    sha256(ascii("ratatoskr-v1 nonce"), ZERO, u32(type), u32(operation), key).subarray(0, 16);

/** at-most-once.md, "What identifies an operation". */
export const digestOf = ({ type, operation }, payload) =>
    sha256(ascii("ratatoskr-v1 operation"), ZERO, u32(type), u32(operation), sha256(payload));

/** A RatatoskrRequest's envelope. `issuedAtMs` is that of the first attempt. */
export function requestEnvelope(kind, message, { issuedAtMs, expiresAtMs = 0 }) {
    const key = kind.once ? keyBytes(message[kind.once]) : undefined;
    return Buffer.concat([
        Buffer.from([1]),
        encode("RatatoskrRequest", {
            type: kind.type,
            operation: kind.operation,
            issued_at_ms: issuedAtMs,
            expires_at_ms: expiresAtMs,
            nonce: key ? nonceOf(kind, key) : crypto.randomBytes(16),
            payload: encode(kind.request, message),
        }),
    ]);
}

export const responseEnvelope = (response) => Buffer.concat([Buffer.from([2]), encode("RatatoskrResponse", response)]);

/** google.rpc, as far as a session itself uses it: envelopes.md, "Errors". */
export const STATUS = {
    CANCELLED: 1,
    UNKNOWN: 2,
    INVALID_ARGUMENT: 3,
    DEADLINE_EXCEEDED: 4,
    RESOURCE_EXHAUSTED: 8,
    OUT_OF_RANGE: 11,
    UNIMPLEMENTED: 12,
    INTERNAL: 13,
    UNAVAILABLE: 14,
};
export const DISPOSITION = { NOT_PROCESSED: 1, MAYBE: 2, FAILED: 3 };

/** What a receiver must read in an error: unknown codes as UNKNOWN, unknown dispositions as MAYBE. */
export const understood = (error) => ({
    ...error,
    code: error.code >= 1 && error.code <= 16 ? error.code : STATUS.UNKNOWN,
    disposition: [1, 2, 3].includes(error.disposition) ? error.disposition : DISPOSITION.MAYBE,
});

// --------------------------------------------------------------------------- payloads.md, the rules of each field

const CEL = {
    "money.positive": (m) => m.units > 0 || (m.units === 0 && m.nanos > 0),
    "money.not_negative": (m) => m.units >= 0 && m.nanos >= 0,
    "money.sign": (m) => m.units === 0 || m.nanos === 0 || m.units > 0 === m.nanos > 0,
};
const celRules = (options, kind) =>
    options.flatMap((option) => option[`(buf.validate.${kind})`]?.cel ?? []).map((rule) => rule.id);
const list = (value) => (Array.isArray(value) ? value : [value]);
const characters = (text) => [...text].length;

const CHECKS = {
    pattern: (value, pattern) => new RegExp(pattern, "u").test(value),
    min_len: (value, least) => (typeof value === "string" ? characters(value) : value.length) >= least,
    max_len: (value, most) => (typeof value === "string" ? characters(value) : value.length) <= most,
    len: (value, length) => value.length === length,
    gt: (value, bound) => value > bound,
    gte: (value, bound) => value >= bound,
    lte: (value, bound) => value <= bound,
    not_in: (value, excluded) => !list(excluded).includes(value),
};

function scalarViolations(field, rules, value, path) {
    const found = [];
    for (const [type, ofType] of Object.entries(rules)) {
        if (["required", "repeated", "cel"].includes(type)) continue;
        for (const [name, bound] of Object.entries(ofType)) {
            const holds = name === "defined_only" ? value in field.values : CHECKS[name](value, bound);
            const both = "gte" in ofType && "lte" in ofType && (name === "gte" || name === "lte");
            if (!holds) found.push({ field: path, rule: both ? `${type}.gte_lte` : `${type}.${name}` });
        }
    }
    return found;
}

/** The violations of a payload: path and rule id. */
export function violations(name, value, prefix = "") {
    const found = [];
    const { fields, options } = schema(name);
    for (const rule of celRules(options, "message"))
        if (!CEL[rule](value)) found.push({ field: prefix.replace(/\.$/, ""), rule });
    for (const field of fields) {
        const path = prefix + field.name;
        const rules = Object.assign({}, ...field.options.map((option) => option["(buf.validate.field)"] ?? {}));
        const given = value[field.name];
        if (rules.required && given === undefined) found.push({ field: path, rule: "required" });
        if (field.repeated) {
            const { min_items = 0, max_items = Infinity, items = {} } = rules.repeated ?? {};
            if (given.length < min_items) found.push({ field: path, rule: "repeated.min_items" });
            if (given.length > max_items) found.push({ field: path, rule: "repeated.max_items" });
            given.forEach((one, i) => found.push(...valueViolations(field, items, one, `${path}[${i}]`)));
        } else if (given !== undefined) {
            for (const rule of celRules(field.options, "field"))
                if (!CEL[rule](given)) found.push({ field: path, rule });
            found.push(...valueViolations(field, rules, given, path));
        }
    }
    return found;
}
const valueViolations = (field, rules, value, path) =>
    field.message ? violations(field.message, value, `${path}.`) : scalarViolations(field, rules, value, path);

/** flights.md, "Rules of the call", 2: the message, or the rule that the payload breaks. */
export function openPayload(name, sealed, payload) {
    if (payload.length > 4096 && !countFields(name, payload, 16384)) return { rule: "payload.budget" };
    let message;
    try {
        message = decode(name, payload);
    } catch (error) {
        if (error instanceof Malformed) return { rule: "payload.malformed" };
        throw error;
    }
    if (sealed && !isCanonical(name, payload, message)) return { rule: "payload.canonical" };
    const broken = violations(name, message);
    return broken.length ? { rule: "payload.schema", violations: broken.slice(0, 8) } : { message };
}

/** flights.md, "Rules of the call": of a request. `undefined` as rule where it keeps them all. */
export function openRequest(request, nowMs) {
    const kind = kindOf(request);
    if (!kind) return { rule: "kind.unknown" };
    const opened = openPayload(kind.request, kind.sealed, request.payload);
    if (opened.rule) return opened;
    if (kind.once) {
        const key = keyBytes(opened.message[kind.once]);
        if (key && !nonceOf(kind, key).equals(request.nonce)) return { rule: "nonce.key" };
    }
    if (request.expires_at_ms && !kind.once && request.expires_at_ms <= nowMs) return { rule: "request.expired" };
    return opened;
}

export const STATUS_OF_RULE = {
    "kind.unknown": STATUS.UNIMPLEMENTED,
    "nonce.key": STATUS.INVALID_ARGUMENT,
    "request.expired": STATUS.DEADLINE_EXCEEDED,
    "payload.budget": STATUS.RESOURCE_EXHAUSTED,
    "payload.malformed": STATUS.INVALID_ARGUMENT,
    "payload.canonical": STATUS.INVALID_ARGUMENT,
    "payload.schema": STATUS.INVALID_ARGUMENT,
};
