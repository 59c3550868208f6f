// What a receiver checks of a flight before the session knows of it: flights.md, "Receiving", 1 to 7.
import { chainNext, leafOf, sealHolds } from "./chain.js";
import { Refused, must } from "./common.js";
import { kindOf } from "./messages.js";
import { Malformed, countFields, decode, isCanonical } from "./wire.js";

/** The flight, and its messages with their places in the chain. Nothing of the session is changed. */
export function readFlight(session, bytes) {
    const flight = parseFlight(session, bytes);
    const messages = checkMessages(session, flight);
    checkSeal(session, flight, messages);
    return { flight, messages };
}

function parseFlight({ limits }, bytes) {
    const { flight_messages, controls } = limits;
    const budget = 8 + 7 * flight_messages + 4 * controls;
    must(bytes.length <= 4096 || countFields("Flight", bytes, budget), "flight.budget");
    return parse("Flight", bytes, "flight.malformed");
}

function checkMessages(session, flight) {
    const { limits, in: before } = session;
    const { envelopes, hops } = flight;
    must(flight.first_number === before.number + 1, "flight.number", `${flight.first_number}`);
    must(envelopes.length <= limits.flight_messages, "flight.count");
    must(before.number - before.sealed + envelopes.length <= limits.span_messages, "span.length");
    must(flight.controls.length <= limits.controls, "flight.controls");
    let lastIndex = -1;
    for (const { index, timeout_ms } of hops) {
        must(index > lastIndex && index < envelopes.length && timeout_ms <= 86400000, "flight.hops");
        lastIndex = index;
    }
    let { number, chain } = before;
    return envelopes.map((envelope, i) => {
        const message = { ...checkEnvelope(limits, envelope), hop: hops.find(({ index }) => index === i), envelope };
        message.number = ++number;
        message.previous = chain;
        message.leaf = leafOf(session.id, before.dir, number, envelope);
        message.chain = chain = chainNext(chain, message.leaf);
        return message;
    });
}

function checkEnvelope(limits, envelope) {
    must(envelope.length <= limits.envelope_bytes, "envelope.length");
    must(envelope[0] === 1 || envelope[0] === 2, "envelope.form");
    const isRequest = envelope[0] === 1;
    const name = isRequest ? "RatatoskrRequest" : "RatatoskrResponse";
    const body = envelope.subarray(1);
    const budget = isRequest ? 8 + 3 * limits.metadata_entries : 256;
    must(body.length <= 4096 || countFields(name, body, budget), "envelope.budget");
    const value = parse(name, body, "envelope.malformed");
    const kind = kindOf(value);
    if (isRequest) {
        must(value.type > 2, "request.type");
        must(value.nonce.length === 16 && value.nonce.some((byte) => byte), "request.nonce");
        const size = value.metadata.reduce((sum, one) => sum + 32 + utf8(one.name) + utf8(one.value), 0);
        must(value.metadata.length <= limits.metadata_entries && size <= limits.metadata_bytes, "request.metadata");
    } else {
        const { payload, error, last, index } = value;
        must(value.request_leaf.length === 32, "response.leaf");
        must(payload !== undefined || error || (kind?.stream && last), "response.result");
        must(!error || error.violations.length <= 8, "response.violations");
        must(kind?.stream || (index === 0 && last), "response.unary");
        must(!error || last, "response.error");
    }
    if (kind?.sealed) must(isCanonical(name, body, value), "envelope.canonical");
    return { isRequest, value, kind };
}

function checkSeal(session, { seal }, messages) {
    if (seal) {
        must(seal.signature_suite === 1 && seal.signature.length === 64, "seal.form");
        const place = {
            sessionId: session.id,
            signer: session.peer.kid,
            recipient: session.own.kid,
            dir: session.in.dir,
            number: session.in.number + messages.length,
            chain: messages.at(-1)?.chain ?? session.in.chain,
            signedAtMs: seal.signed_at_ms,
        };
        must(sealHolds(session.peer.signingKey, place, seal.signature), "seal.signature");
    }
    must(seal || !messages.some(({ kind }) => kind?.sealed), "seal.missing");
}

const utf8 = (text) => Buffer.byteLength(text);

function parse(name, bytes, rule) {
    try {
        return decode(name, bytes);
    } catch (error) {
        throw error instanceof Malformed ? new Refused(rule, error.message) : error;
    }
}
