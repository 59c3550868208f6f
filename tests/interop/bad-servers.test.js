// Servers that lie, and how the client leaves each: by which rule, and what it says before it goes (faults.md).
import assert from "node:assert/strict";
import crypto from "node:crypto";
import net from "node:net";
import { test } from "node:test";
import { ROLE } from "./client/certificates.js";
import { connect } from "./client/connection.js";
import { Refused } from "./client/common.js";
import { kindNamed } from "./client/messages.js";
import { verifyReceipt } from "./client/receipts.js";
import { TYPE, header, record, writeAlert } from "./client/records.js";
import { overSocket } from "./client/tcp.js";
import { encode } from "./client/wire.js";
import { Authority, Server } from "./server.js";

const AUTHORIZE = kindNamed("PAYMENT_AUTHORIZE");
const SEARCH = kindNamed("MARKETPLACE_SEARCH");
const BROWSE = kindNamed("MARKETPLACE_BROWSE");
const authority = new Authority();
const trust = { roots: [authority.root] };
const device = authority.identity(ROLE.DEVICE, { subject: "device-1" });
const honest = authority.identity(ROLE.SERVER, { subject: "server", names: ["localhost"] });
const payment = () => ({
    end_to_end_id: crypto.randomUUID().slice(0, 18),
    debtor_account: "wallet",
    creditor_account: "shop-7",
    amount: { currency: "EUR", units: 1, nanos: 0 },
});
const flipped = (bytes, at) => {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.at(at) ^ 1, at < 0 ? changed.length + at : at);
    return changed;
};
const NOTHING = [];
const ALERT = [["ALERT", 6]];
const told = (code, rule) => [["DISCONNECT", code, rule]];

async function withServer({ identity = honest, tricks = {} }, talk) {
    const server = new Server({ identity, trust, tricks });
    const port = await server.listen();
    const dial = (more) =>
        connect(overSocket(net.connect(port, "127.0.0.1")), {
            identity: device,
            trust,
            serverName: "localhost",
            ...more,
        });
    try {
        return await talk(dial, server);
    } finally {
        server.close();
    }
}

test("an honest server is believed, from the first message to a clean end", () =>
    withServer({}, async (dial) => {
        const connection = await dial();
        const answer = await connection.exchange(AUTHORIZE, payment());
        verifyReceipt(await answer.receipt(), connection.peer.signingKey);
        assert.equal((await connection.drain()).fault, "CLEAN");
    }));

/** The handshake does not come to an end. */
const refuses = (what, rule, bad, says, more = {}) =>
    test(what, () =>
        withServer(bad, async (dial, server) => {
            await assert.rejects(dial(more), (error) => error instanceof Refused && error.rule === rule);
            assert.deepEqual(await server.farewell(), says);
        }),
    );

/** The connection is open; a call is made, and the client leaves. */
const leaves = (what, rule, tricks, says, ask = (connection) => connection.request(AUTHORIZE, payment())) =>
    test(what, () =>
        withServer({ tricks }, async (dial, server) => {
            const connection = await dial({ sessionMs: 0 });
            const call = ask(connection);
            const end = await connection.ended;
            assert.equal(end.rule, rule);
            await assert.rejects(call.outcome, ({ error }) => error.reason === end.fault && error.disposition === 2);
            assert.deepEqual(await server.farewell(), says);
        }),
    );

// ------------------------------------------------------------------------------------ who the server is: certificates.md

const serverWith = (fields, by = authority, role = ROLE.SERVER) => ({
    identity: by.identity(role, { subject: "server", names: role === ROLE.SERVER ? ["localhost"] : [], ...fields }),
});
refuses("a certificate for another name", "certificate.name", serverWith({ names: ["localhost.example"] }), ALERT);
refuses("a root that nobody trusts", "certificate.issuer", serverWith({}, new Authority()), ALERT);
refuses("a device that poses as a server", "certificate.role", serverWith({}, authority, ROLE.DEVICE), ALERT);
refuses("a certificate whose time is over", "certificate.expired", serverWith({ not_after_ms: Date.now() - 1 }), ALERT);
refuses(
    "a certificate whose time has not come",
    "certificate.not_yet_valid",
    serverWith({ not_before_ms: Date.now() + 3600000 }),
    ALERT,
);
refuses(
    "a certificate with a changed bit",
    "certificate.signature",
    { identity: { ...honest, chain: [flipped(honest.chain[0], -1)] } },
    ALERT,
);
refuses(
    "a certificate that names another static key",
    "proof.exchange",
    { tricks: { responder: () => ({ staticSecret: crypto.randomBytes(32) }) } },
    ALERT,
);
refuses(
    "a transcript that somebody else signed",
    "proof.signature",
    { identity: { ...honest, signingSeed: crypto.randomBytes(32) } },
    ALERT,
);
refuses("a signature of zeros", "proof.signature", { tricks: { sign: () => Buffer.alloc(64) } }, ALERT);
refuses(
    "the client's own static key",
    "handshake.reflected",
    { tricks: { responder: () => ({ staticSecret: device.exchangeSecret }) } },
    ALERT,
);

// ----------------------------------------------------------------------------------------- the handshake: handshake.md

const withSuite = (m1, suite) => {
    const name = m1.subarray(8, 8 + m1[7]);
    const changed = Buffer.concat([m1.subarray(0, 8), name, m1.subarray(8 + name.length, 8 + name.length + 32)]);
    changed.writeUInt16BE(suite, 5);
    return changed;
};
refuses(
    "a suite without ML-KEM",
    "noise.short",
    { tricks: { m1: (m1) => withSuite(m1, 0x0011), responder: () => ({ suites: [0x0011] }) } },
    ALERT,
);
refuses("another name on the way", "noise.forged", { tricks: { m1: (m1) => flipped(m1, 8) } }, ALERT);
refuses(
    "a changed bit in M2",
    "noise.forged",
    { tricks: { record: (bytes) => (bytes[0] === TYPE.M2 ? flipped(bytes, -1) : bytes) } },
    ALERT,
);
refuses("an ALERT", "alert", { tricks: { record: () => writeAlert() } }, NOTHING);
refuses(
    "a record that may not come yet",
    "record.type",
    { tricks: { record: (bytes) => record(TYPE.DATA, bytes) } },
    ALERT,
);
refuses("a handshake that is too long", "record.length", { tricks: { record: () => header(TYPE.M2, 16385) } }, ALERT);

// --------------------------------------------------------------------------------------------- RESPONSE: admission.md

refuses(
    "a changed bit in RESPONSE",
    "record.forged",
    { tricks: { record: (bytes) => (bytes[0] === TYPE.RESPONSE ? flipped(bytes, -20) : bytes) } },
    NOTHING,
);
refuses(
    "a flight before RESPONSE",
    "record.type",
    { tricks: { record: (bytes) => (bytes[0] === TYPE.RESPONSE ? record(TYPE.DATA, bytes.subarray(4)) : bytes) } },
    NOTHING,
);
refuses(
    "a limit too small to work with",
    "admission.limits",
    { tricks: { response: (fields) => ({ ...fields, limits: { ...fields.limits, controls: 3 } }) } },
    NOTHING,
);
const rejection = { code: 7, reason: "NO", message: "not you", disposition: 1 };
refuses("a rejection", "admission.rejected", { tricks: { response: () => ({ error: rejection }) } }, NOTHING);
refuses(
    "a session that nobody asked for",
    "resume.unasked",
    {
        tricks: {
            response: (fields, { line }) => ({ ...fields, resumed: { ...positions(line), proof: Buffer.alloc(32) } }),
        },
    },
    NOTHING,
);
const positions = ({ session: { in: received, out: sent } }) => ({
    received: { number: received.number, chain: received.chain, sealed: received.sealed },
    sent: { number: sent.number, chain: sent.chain, sealed: sent.sealed },
});

// ------------------------------------------------------------------------------------ records and flights: flights.md

const onAnswers = (change) => ({
    flight: (flight) => (flight.envelopes.length ? { ...flight, ...change(flight) } : flight),
});
const onData = (change) => ({ record: (bytes) => (bytes[0] === TYPE.DATA ? change(bytes) : bytes) });
leaves(
    "a changed bit in a record",
    "record.forged",
    onData((bytes) => flipped(bytes, -1)),
    NOTHING,
);
leaves(
    "a record longer than agreed",
    "record.length",
    onData(() => header(TYPE.DATA, 262145)),
    NOTHING,
);
leaves(
    "a payment's answer without a seal",
    "seal.missing",
    onAnswers(() => ({ seal: undefined })),
    told(4442, "seal.missing"),
);
leaves(
    "a seal with a changed bit",
    "seal.signature",
    onAnswers(({ seal }) => ({ seal: { ...seal, signature: flipped(seal.signature, 0) } })),
    told(4443, "seal.signature"),
);
leaves(
    "a seal of another moment",
    "seal.signature",
    onAnswers(({ seal }) => ({ seal: { ...seal, signed_at_ms: seal.signed_at_ms + 1 } })),
    told(4443, "seal.signature"),
);
leaves(
    "a seal of an unknown suite",
    "seal.form",
    onAnswers(({ seal }) => ({ seal: { ...seal, signature_suite: 2 } })),
    told(4443, "seal.form"),
);
leaves(
    "a number left out",
    "flight.number",
    onAnswers(({ first_number: number }) => ({ first_number: number + 1 })),
    told(4440, "flight.number"),
);
leaves(
    "an acknowledgement of what was never sent",
    "flight.ack",
    { flight: (flight) => ({ ...flight, ack: 9 }) },
    told(4445, "flight.ack"),
);
leaves(
    "an answer that acknowledges nothing",
    "flight.ack",
    { flight: (flight) => ({ ...flight, ack: 0 }) },
    told(4445, "flight.ack"),
);
leaves(
    "the server's DISCONNECT with a code",
    "disconnect.fault",
    { flight: (flight) => ({ ...flight, controls: [{ disconnect: { code: 4440, reason: "" } }] }) },
    NOTHING,
);

// ------------------------------------------------------------------------------------------------- answers: session.md

leaves(
    "an answer to other bytes",
    "response.request",
    {
        reply: ({ session, request, answer }) =>
            session.respond({ ...request, leaf: crypto.randomBytes(32) }, { payload: answer }),
    },
    told(4446, "response.request"),
);
leaves(
    "an answer of another kind",
    "response.request",
    {
        reply: ({ session, request, answer }) =>
            session.respond({ ...request, value: { ...request.value, operation: 2 } }, { payload: answer }),
    },
    told(4446, "response.request"),
);
leaves(
    "a second answer",
    "response.request",
    {
        reply: ({ session, request }) => {
            session.respond(request, { payload: encode("OfferFound", offer(1)), last: false });
            for (const index of [1, 2]) session.respond(request, { index });
        },
    },
    told(4446, "response.request"),
    (connection) => connection.request(BROWSE, {}),
);
const offer = (found) => ({
    offer: {
        offer_id: `o-${found}`,
        provider_id: "p",
        title: "t",
        price: { currency: "EUR", units: 1, nanos: 0 },
        stock: 1,
    },
    found,
    total: 9,
});
const items = (...indexes) => ({
    reply: ({ session, request }) => {
        for (const index of indexes)
            session.respond(request, { payload: encode("OfferFound", offer(index + 1)), index, last: false });
    },
});
const browse = (connection) => connection.request(BROWSE, {}, { credit: 2 });
leaves("an item left out", "response.item", items(0, 2), told(4446, "response.item"), browse);
leaves("more items than were granted", "stream.credit", items(0, 1, 2), told(4429, "stream.credit"), browse);
leaves(
    "an envelope in another encoding",
    "envelope.canonical",
    {
        reply: ({ session, request, answer }) => {
            session.respond(request, { payload: answer });
            const [reply] = session.replies;
            reply.envelope = Buffer.concat([reply.envelope, Buffer.from([0x28, 0])]); // `index` 0, which is left out
        },
    },
    told(4441, "envelope.canonical"),
);

test("an answer whose payload breaks a rule fails its call, and nothing else", () =>
    withServer(
        {
            tricks: {
                reply: ({ session, request, answer }) =>
                    session.respond(request, {
                        payload:
                            request.value.type === 11 ? encode("PaymentAuthorized", { payment_id: "P 1" }) : answer,
                    }),
            },
        },
        async (dial) => {
            const connection = await dial();
            await assert.rejects(
                connection.exchange(AUTHORIZE, payment()),
                ({ error }) => error.reason === "ANSWER_INVALID" && error.disposition === 2,
            );
            assert.deepEqual((await connection.exchange(SEARCH, {})).message.offers, []);
            assert.equal((await connection.drain()).fault, "CLEAN");
        },
    ));

test("a record twice: the second is a forgery", () =>
    withServer({ tricks: onData((bytes) => Buffer.concat([bytes, bytes])) }, async (dial, server) => {
        const connection = await dial({ sessionMs: 0 });
        connection.request(AUTHORIZE, payment());
        assert.equal((await connection.ended).rule, "record.forged");
        assert.deepEqual(await server.farewell(), NOTHING);
    }));

test("the end of a transport is no end of the conversation", () =>
    withServer({ tricks: { reply: ({ line }) => line.socket.end() } }, async (dial) => {
        const connection = await dial({ sessionMs: 0 });
        const call = connection.request(AUTHORIZE, payment());
        assert.deepEqual((await connection.ended).fault, "TRANSPORT_LOST");
        await assert.rejects(call.outcome, ({ error }) => error.disposition === 2);
    }));

// --------------------------------------------------------------------------------------------------- resume: resume.md

/** The line is lost in the middle of a call; `response` is what the server says to who comes back. */
const comesBack = (what, response, talk) =>
    test(what, () => {
        let first = true;
        const tricks = {
            reply: ({ session, request, answer, line }) => {
                session.respond(request, { payload: answer });
                if (!first) return;
                first = false;
                line.silent = true;
                line.socket.destroy();
            },
            response: (fields, more) => (more.known ? response(fields, more) : fields),
        };
        return withServer({ tricks }, async (dial, server) => {
            const connection = await dial();
            const call = connection.request(AUTHORIZE, payment());
            assert.equal((await connection.ended).fault, "TRANSPORT_LOST");
            server.told = [];
            await talk(dial, connection.session, call, server);
            clearTimeout(connection.session.expiry);
        });
    });

comesBack(
    "an honest server goes on",
    (fields) => fields,
    async (dial, session, call) => {
        const connection = await dial({ session });
        assert.equal(connection.session, session);
        assert.equal((await call.outcome).message.payment_id, "P-1");
        assert.equal((await connection.drain()).fault, "CLEAN");
    },
);
comesBack(
    "a server that has the keys and not the session",
    (fields) => ({
        ...fields,
        resumed: { ...fields.resumed, proof: crypto.randomBytes(32) },
    }),
    async (dial, session, call, server) => {
        await assert.rejects(dial({ session }), ({ rule }) => rule === "resume.proof");
        assert.equal(call.settled, undefined);
        assert.deepEqual(await server.farewell(), NOTHING);
    },
);
comesBack(
    "a server that was set back",
    (fields) => ({
        ...fields,
        resumed: { ...fields.resumed, received: { number: 1, chain: crypto.randomBytes(32), sealed: 1 } },
    }),
    async (dial, session, call) => {
        await assert.rejects(dial({ session }), ({ rule }) => rule === "resume.positions");
        await assert.rejects(
            call.outcome,
            ({ error }) => error.reason === "SESSION_DIVERGED" && error.disposition === 2,
        );
    },
);
comesBack(
    "a server that has forgotten",
    (fields) => ({ ...fields, resumed: undefined }),
    async (dial, session, call) => {
        const connection = await dial({ session });
        assert.notEqual(connection.session, session);
        await assert.rejects(
            call.outcome,
            ({ error }) => error.reason === "SESSION_UNKNOWN" && error.disposition === 2,
        );
    },
);
