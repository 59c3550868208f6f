// Every file of vectors, verified: docs/spec/vectors.md says what is in them.
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { DEFAULT_LIMITS, agree, readHello, readRequest, readResponse } from "./client/admission.js";
import {
    checkExchangeKey,
    checkSigningKey,
    judgeChain,
    kidOf,
    readCertificate,
    readCertificateRequest,
    verifySignature,
} from "./client/certificates.js";
import { chainNext, chainStart, entryOf, leafOf, makeSeal, sealHolds, sealMessage } from "./client/chain.js";
import { Refused, ed25519Public, hex, unhex, x25519Public } from "./client/common.js";
import { KINDS, digestOf, kindOf, nonceOf } from "./client/messages.js";
import { Initiator, Responder, verifyProof } from "./client/noise.js";
import { Session } from "./client/session.js";
import {
    brokenPosition,
    checkResumed,
    clientProof,
    goOn,
    heldBy,
    judgeResume,
    positionsOf,
    serverProof,
} from "./client/resume.js";
import { contradict, verifyReceipt } from "./client/receipts.js";
import { RecordCipher, RecordReader, readAlert } from "./client/records.js";
import { Malformed, decode, encode, isCanonical } from "./client/wire.js";

const load = (name) => JSON.parse(fs.readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
const { identities: people, now_ms: nowMs } = load("identities");

/** The rule by which something is refused, "" where it is not. */
function ruleOf(action) {
    try {
        action();
        return "";
    } catch (error) {
        if (error instanceof Refused) return error.rule;
        throw error;
    }
}
const cases = (list, check) => {
    assert.ok(list.length);
    for (const one of list) assert.equal(check(one), one.rule, one.what ?? one.message);
};

test("identities", () => {
    for (const person of Object.values(people)) {
        assert.equal(hex(x25519Public(unhex(person.exchange_private))), person.exchange_public);
        assert.equal(hex(ed25519Public(unhex(person.signing_seed))), person.signing_public);
        assert.equal(hex(kidOf(unhex(person.signing_public))), person.kid);
        assert.equal(hex(readCertificate(unhex(person.chain[0])).kid), person.kid);
    }
});

test("keys and signatures", () => {
    const vectors = load("keys");
    cases(vectors.signing_keys, ({ key }) => ruleOf(() => checkSigningKey(unhex(key))));
    cases(vectors.exchange_keys, ({ key }) => ruleOf(() => checkExchangeKey(unhex(key))));
    for (const { key, kid } of vectors.kids) assert.equal(hex(kidOf(unhex(key))), kid);
    const { key, signatures } = vectors.signatures;
    for (const { what, message, signature, valid } of signatures)
        assert.equal(verifySignature(unhex(key), unhex(message), unhex(signature)), valid, what);
});

test("certificates and chains", () => {
    const vectors = load("certificates");
    cases(vectors.certificates, ({ bytes }) => ruleOf(() => readCertificate(unhex(bytes))));
    cases(vectors.requests, ({ bytes }) => ruleOf(() => readCertificateRequest(unhex(bytes))));
    cases(vectors.chains, (one) =>
        ruleOf(() => {
            const trust = {
                roots: one.roots.map((root) => readCertificate(unhex(root))),
                pinned: one.pinned.map(unhex),
                revoked: one.revoked.map((pair) => Object.values(pair).map(unhex)),
                selfIssued: one.self_issued,
                earliestMs: one.earliest_ms,
            };
            const { roles, at_ms: nowMs, server_name: serverName } = one;
            const who = judgeChain(one.chain.map(unhex), trust, { roles, nowMs, serverName: serverName ?? undefined });
            const { subject, tenant, role, enrolled } = one;
            assert.deepEqual(
                { subject: who.subject, tenant: who.tenant, role: who.role, enrolled: who.enrolled },
                { subject, tenant, role, enrolled },
            );
        }),
    );
});

test("records", () => {
    const vectors = load("records");
    const named = { "AES-256-GCM": "AESGCM", "ChaCha20-Poly1305": "ChaChaPoly" };
    for (const { cipher, key, records, forged } of vectors.directions) {
        const [writer, reader] = [1, 2].map(() => new RecordCipher(named[cipher], unhex(key)));
        for (const one of records) {
            assert.equal(writer.counter, BigInt(one.counter));
            const record = unhex(one.record);
            assert.equal(hex(writer.seal(one.type, unhex(one.plaintext))), one.record);
            assert.equal(hex(reader.open(record[0], record.subarray(4))), one.plaintext);
            if (one.next_key) assert.deepEqual([hex(writer.key), hex(reader.key)], [one.next_key, one.next_key]);
        }
        cases(forged, ({ record }) =>
            ruleOf(() => new RecordCipher(named[cipher], unhex(key)).open(unhex(record)[0], unhex(record).subarray(4))),
        );
    }
    for (const size of [1, 3, 100000])
        cases(vectors.streams, ({ stream, records }) => {
            const reader = new RecordReader((type) => vectors.longest[type.toString(16).padStart(2, "0")]);
            const found = [];
            const rule = ruleOf(() => {
                for (let at = 0; at < stream.length / 2; at += size) {
                    reader.push(unhex(stream).subarray(at, at + size));
                    for (let next; (next = reader.next());) found.push([next.type, hex(next.body)]);
                }
            });
            assert.deepEqual(
                found,
                records.map((one) => (Array.isArray(one) ? one : [one.type, one.body])),
            );
            return rule;
        });
    cases(vectors.alerts, ({ body, code, reference }) =>
        ruleOf(() => assert.deepEqual(readAlert(unhex(body)), { code, reference })),
    );
});

/** Both ends of a handshake in the vectors, with the secrets that stand there. */
function endsOf(one, [clientTrace, serverTrace] = []) {
    const [client, server] = [people[one.client], people[one.server]];
    return {
        initiator: new Initiator({
            suite: one.suite,
            serverName: one.server_name,
            staticSecret: unhex(client.exchange_private),
            ephemeral: unhex(one.client_ephemeral),
            kemSeed: one.kem_seed && unhex(one.kem_seed),
            trace: clientTrace,
        }),
        responder: new Responder({
            suites: [one.suite],
            staticSecret: unhex(server.exchange_private),
            ephemeral: unhex(one.server_ephemeral),
            kemResult: one.kem_seed && { cipherText: unhex(one.kem_ciphertext), sharedSecret: unhex(one.kem_shared) },
            trace: serverTrace,
        }),
    };
}

test("handshakes", () => {
    const vectors = load("handshakes");
    for (const one of vectors.handshakes) {
        const steps = [[], []];
        const note =
            (into) =>
            (message, token, { h, ck, k, n }) =>
                into.push({ message, token, h: hex(h), ck: hex(ck), k: k ? hex(k) : "", n });
        const { initiator, responder } = endsOf(one, steps.map(note));
        const say = (end, label, body, by) => () =>
            end.writePayload(label, unhex(body), unhex(people[by].signing_seed));
        assert.equal(hex(initiator.writeM1()), one.m1);
        responder.readM1(unhex(one.m1));
        assert.equal(hex(responder.writeM2(say(responder, "ratatoskr-v1 server-auth", one.b2, one.server))), one.m2);
        const hello = initiator.readM2(unhex(one.m2));
        assert.deepEqual([hex(hello.body), hex(hello.signature)], [one.b2, one.sig_s]);
        verifyProof(readCertificate(unhex(people[one.server].chain[0])), "ratatoskr-v1 server-auth", hello);
        assert.equal(hex(initiator.writeM3(say(initiator, "ratatoskr-v1 device-auth", one.b3, one.client))), one.m3);
        const asked = responder.readM3(unhex(one.m3));
        assert.deepEqual([hex(asked.body), hex(asked.signature)], [one.b3, one.sig_c]);
        for (const seen of steps) assert.deepEqual(seen, one.steps);
        for (const end of [initiator, responder]) {
            const keys = end.finish();
            const named = { h: keys.h, prk: keys.prk, session_id: keys.sessionId, resume_secret: keys.resumeSecret };
            for (const [name, value] of Object.entries({
                ...named,
                client_key: keys.clientKey,
                server_key: keys.serverKey,
            }))
                assert.equal(hex(value), one[name], name);
        }
    }
});

test("handshakes that are refused", () => {
    const vectors = load("handshakes");
    cases(vectors.refused, ({ suite, message, sent }) => {
        const one = vectors.handshakes.find((candidate) => candidate.suite === suite);
        const { initiator, responder } = endsOf(one);
        const payload = () => Buffer.alloc(0);
        if (message === 1)
            return ruleOf(() => {
                if (one.kem_seed) responder.kemResult = undefined;
                responder.readM1(unhex(sent));
                responder.writeM2(payload);
            });
        initiator.writeM1();
        if (message === 2) return ruleOf(() => initiator.readM2(unhex(sent)));
        responder.readM1(unhex(one.m1));
        responder.writeM2(() =>
            responder.writePayload("ratatoskr-v1 server-auth", unhex(one.b2), unhex(people.server.signing_seed)),
        );
        return ruleOf(() => responder.readM3(unhex(sent)));
    });
    const { by, label, signatures } = vectors.proofs;
    const certificate = readCertificate(unhex(people[by].chain[0]));
    cases(signatures, ({ static: theirs, h, body, signature }) =>
        ruleOf(() =>
            verifyProof(certificate, label, {
                theirs: unhex(theirs),
                h: unhex(h),
                body: unhex(body),
                signature: unhex(signature),
            }),
        ),
    );
});

test("admission", () => {
    const vectors = load("admission");
    cases(vectors.hellos, ({ bytes }) => ruleOf(() => readHello(unhex(bytes))));
    cases(vectors.requests, ({ bytes }) => ruleOf(() => readRequest(unhex(bytes))));
    cases(vectors.responses, ({ bytes }) => ruleOf(() => readResponse(unhex(bytes))));
    cases(vectors.limits, ({ own, announced, agreed }) =>
        ruleOf(() => assert.deepEqual(agree(own, announced), agreed)),
    );
});

test("encodings", () => {
    const { encodings } = load("envelopes");
    for (const { what, bytes, message, verdict } of encodings) {
        let found = "malformed";
        try {
            found = isCanonical(message, unhex(bytes)) ? "canonical" : "not canonical";
        } catch (error) {
            if (!(error instanceof Malformed)) throw error;
        }
        assert.equal(found, verdict, what);
    }
    for (const { envelope } of load("envelopes").envelopes)
        decode(envelope.startsWith("01") ? "RatatoskrRequest" : "RatatoskrResponse", unhex(envelope.slice(2)));
});

test("kinds, nonces and digests", () => {
    const { kinds, nonces, digests } = load("nonces");
    assert.deepEqual(KINDS, kinds);
    for (const one of nonces) assert.equal(hex(nonceOf(one, unhex(one.key))), one.nonce, one.what);
    for (const one of digests) assert.equal(hex(digestOf(one, unhex(one.payload))), one.digest, one.what);
});

test("chain and seals", () => {
    const vectors = load("chain");
    const sessionId = unhex(vectors.session_id);
    for (const { direction, start, messages } of vectors.directions) {
        let chain = chainStart(sessionId, direction);
        assert.equal(hex(chain), start);
        for (const one of messages) {
            const envelope = unhex(one.envelope);
            assert.equal(hex(entryOf(sessionId, direction, one.number, envelope)), one.entry);
            const leaf = leafOf(sessionId, direction, one.number, envelope);
            assert.equal(hex(leaf), one.leaf);
            assert.equal(hex((chain = chainNext(chain, leaf))), one.chain);
        }
    }
    for (const one of vectors.seals) {
        const [signer, recipient] = [people[one.signer], people[one.recipient]];
        const place = {
            sessionId,
            signer: unhex(signer.kid),
            recipient: unhex(recipient.kid),
            dir: one.direction,
            number: one.number,
            chain: unhex(one.chain),
            signedAtMs: one.signed_at_ms,
        };
        assert.equal(hex(sealMessage(place)), one.signed);
        assert.equal(hex(makeSeal(unhex(signer.signing_seed), place)), one.signature);
        assert.ok(sealHolds(unhex(signer.signing_public), place, unhex(one.signature)));
    }
});

test("receipts", () => {
    const { keys, receipts, contradictions } = load("receipts");
    cases(receipts, ({ bytes, zeros, key }) =>
        ruleOf(() => verifyReceipt(Buffer.concat([unhex(bytes), Buffer.alloc(zeros)]), unhex(keys[key]))),
    );
    for (const { what, receipts: pair, contradict: expected } of contradictions)
        assert.equal(contradict(...pair.map(unhex)), expected, what);
});

const partyOf = (name) => ({ kid: unhex(people[name].kid), signingKey: unhex(people[name].signing_public) });
const ownOf = (name) => ({ kid: unhex(people[name].kid), signingSeed: unhex(people[name].signing_seed) });

/** The session of the file at the end that reads, which is its server. */
function reader(vectors, { limits, sent, asked }) {
    const session = new Session({
        id: unhex(vectors.session_id),
        own: ownOf(vectors.recipient),
        peer: partyOf(vectors.signer),
        dir: 1,
        limits: { ...DEFAULT_LIMITS, ...limits },
        answers: true,
    });
    session.out.number = session.sentHere = sent;
    for (const { number, leaf, granted, ...kind } of asked) {
        const call = { number, leaf: unhex(leaf), kind: kindOf(kind), credit: granted, items: 0 };
        session.calls.set(number, Object.assign(call, { settle: () => {}, emit: () => {} }));
    }
    return session;
}

test("flights", () => {
    const vectors = load("flights");
    cases([...vectors.taken, ...vectors.refused, ...vectors.calls], (one) => {
        const session = reader(vectors, one);
        for (const flight of one.before) session.receive(unhex(flight), vectors.now_ms);
        let last;
        try {
            last = session.receive(unhex(one.flight), vectors.now_ms).at(-1);
        } catch (error) {
            assert.equal(error.fault, one.fault, one.what);
            return error.rule;
        }
        assert.equal(last?.reason, one.reason, one.what);
        return "";
    });
});

const positionIn = ({ number, chain, sealed }) => ({ number, chain: unhex(chain), sealed });
const accountIn = ({ received, sent }) => ({ received: positionIn(received), sent: positionIn(sent) });
const heldIn = (own) => ({
    chain: new Map(Object.entries(own.chain).map(([number, chain]) => [Number(number), unhex(chain)])),
    received: own.received,
    receivedChain: unhex(own.received_chain),
    spanMessages: own.span_messages,
});

test("resume", () => {
    const vectors = load("resume");
    const [secret, h, id] = [vectors.secret, vectors.h, vectors.session_id].map(unhex);
    assert.equal(hex(clientProof(secret, h)), vectors.client_proof);
    assert.equal(hex(serverProof(secret, h)), vectors.server_proof);
    const held = heldIn(vectors.positions.own);
    for (const account of vectors.positions.accounts)
        assert.equal(brokenPosition(held, accountIn(account)), account.broken, account.what);
    const { attempt, own_kid: ownKid, client, own, judgements } = vectors.server;
    const partyIn = (party) => ({ ...party, kid: unhex(party.kid) });
    const known = { id, secret, attempt, ownKid: unhex(ownKid), client: partyIn(client), held: heldIn(own) };
    for (const one of judgements) {
        const who = { client: partyIn(one.client), serverKid: unhex(one.server_kid), h };
        assert.equal(
            judgeResume(known, { ...who, resume: decode("Resume", unhex(one.resume)) }),
            one.verdict,
            one.what,
        );
    }
    cases(vectors.client.confirmations, ({ resumed }) =>
        ruleOf(() => checkResumed(heldIn(vectors.client.own), secret, h, decode("Resumed", unhex(resumed)))),
    );
});

/** What a flight did to the session of who sent it: the other half of Session.receive(), for flights that are given. */
function said(session, bytes, now) {
    const flight = decode("Flight", bytes);
    flight.envelopes.forEach((envelope, i) => {
        const number = flight.first_number + i;
        if (number <= session.out.number) {
            assert.ok(
                session.out.kept.find((one) => one.number === number).envelope.equals(envelope),
                "the same bytes again",
            );
            session.sentHere = Math.max(session.sentHere, number);
            return;
        }
        const isRequest = envelope[0] === 1;
        const value = decode(isRequest ? "RatatoskrRequest" : "RatatoskrResponse", envelope.subarray(1));
        const hop = flight.hops.find(({ index }) => index === i);
        const call = isRequest && {
            kind: kindOf(value),
            envelope,
            items: 0,
            credit: hop?.credit || 16,
            settle: () => {},
            emit: () => {},
            deadline: Infinity,
        };
        session.replay({ envelope, call, answers: !isRequest && value.last && value.request_number }, now);
    });
    if (flight.seal) session.out.sealed = flight.first_number + flight.envelopes.length - 1;
    for (const { grant } of flight.controls) {
        const call = grant && session.calls.get(grant.request_number);
        if (call) call.credit = call.told = Math.max(call.credit, grant.items);
    }
}

for (const name of ["session-0001", "session-0012"])
    test(`a conversation: ${name}`, () => {
        const vectors = load(name);
        const ends = {};
        vectors.transports.forEach((transport, round) => {
            const { initiator, responder } = endsOf({ ...vectors, ...transport });
            const [m1, m2, m3, response, ...data] = transport.records;
            const body = ({ record }) => unhex(record).subarray(4);
            assert.equal(hex(initiator.writeM1()), hex(body(m1)));
            responder.readM1(body(m1));
            const hello = initiator.readM2(body(m2));
            const again = ({ body: b, signature }) => Buffer.concat([b, signature]);
            const echo = (end, proof) => () => {
                const text = end.state.encryptAndHash(again(proof));
                return text;
            };
            assert.equal(hex(responder.writeM2(echo(responder, hello))), hex(body(m2)));
            verifyProof(readCertificate(unhex(people.server.chain[0])), "ratatoskr-v1 server-auth", hello);
            const asked = responder.readM3(body(m3));
            verifyProof(readCertificate(unhex(people.device.chain[0])), "ratatoskr-v1 device-auth", asked);
            assert.equal(hex(initiator.writeM3(echo(initiator, asked))), hex(body(m3)));
            const keys = initiator.finish();
            assert.deepEqual([keys.h, keys.sessionId, keys.resumeSecret, keys.clientKey, keys.serverKey].map(hex), [
                transport.h,
                transport.session_id,
                transport.resume_secret,
                transport.client_key,
                transport.server_key,
            ]);

            const request = readRequest(asked.body);
            const inbound = new RecordCipher(keys.aead, keys.serverKey);
            const outbound = new RecordCipher(keys.aead, keys.clientKey);
            const { accepted } = readResponse(inbound.open(4, body(response)));
            const now = (at) => nowMs + at;
            if (round === 0) {
                const limits = agree(request.limits, accepted.limits);
                const common = { id: keys.sessionId, secret: keys.resumeSecret, limits, answers: true };
                ends.client = new Session({ ...common, own: ownOf("device"), peer: partyOf("server"), dir: 0 });
                ends.server = new Session({ ...common, own: ownOf("server"), peer: partyOf("device"), dir: 1 });
            } else {
                const bare = (position) => ({ received: position.received, sent: position.sent });
                const { client, server } = ends;
                const trim = ({ resume: { received, sent } }) => ({ received, sent });
                assert.deepEqual(positionsOf(client), trim(request), "the positions that the client says");
                assert.deepEqual(hex(clientProof(client.secret, asked.h)), hex(request.resume.proof));
                assert.equal(brokenPosition(heldBy(server), request.resume), 0);
                checkResumed(heldBy(client), client.secret, keys.h, accepted.resumed);
                goOn(client, accepted.resumed, now(response.at_ms));
                goOn(server, request.resume, now(response.at_ms)); // the server says what holds when it has taken in the client's
                assert.deepEqual(positionsOf(server), bare(accepted.resumed), "the positions that the server says");
            }
            // Records are applied in the order in which they are written and arrive.
            const moments = data.flatMap((one) => [
                [one.at_ms, 1, one, "written"],
                ...(one.lost ? [] : [[one.at_ms + vectors.latency_ms, 0, one, "read"]]),
            ]);
            moments.sort(([a, b], [c, d]) => a - c || b - d);
            for (const [at, , one, what] of moments) {
                const [writer, reader] =
                    one.from === "client" ? [ends.client, ends.server] : [ends.server, ends.client];
                if (what === "read") {
                    reader.receive(unhex(one.plaintext), now(at));
                    continue;
                }
                const cipher = one.from === "client" ? outbound : inbound;
                assert.equal(hex(cipher.open(one.type, body(one))), one.plaintext);
                said(writer, unhex(one.plaintext), now(at));
                const flight = decode("Flight", unhex(one.plaintext));
                assert.ok(encode("Flight", flight).equals(unhex(one.plaintext)));
                for (const [field, said] of [
                    ["disconnect", "disconnect"],
                    ["go_away", "goAway"],
                ])
                    if (flight.controls.some((control) => control[field])) writer.said[said] = true;
            }
        });
        for (const session of Object.values(ends)) assert.ok(session.over);
    });
