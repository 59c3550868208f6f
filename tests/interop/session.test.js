// Two sessions and virtual time: what happens by itself, and what becomes of calls. session.md, connection.md.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "./client/admission.js";
import { identityOf } from "./client/certificates.js";
import { Refused } from "./client/common.js";
import { kindNamed } from "./client/messages.js";
import { Session } from "./client/session.js";
import { decode, encode } from "./client/wire.js";

const SEARCH = kindNamed("MARKETPLACE_SEARCH");
const AUTHORIZE = kindNamed("PAYMENT_AUTHORIZE");
const BROWSE = kindNamed("MARKETPLACE_BROWSE");
const NOBODY = () => identityOf(crypto.randomBytes(32), crypto.randomBytes(32), []);

class Pair {
    constructor(limits = {}) {
        this.now = 1700000000000;
        const [client, server] = [NOBODY(), NOBODY()];
        const common = {
            id: crypto.randomBytes(32),
            secret: crypto.randomBytes(32),
            limits: { ...DEFAULT_LIMITS, ...limits },
        };
        this.client = new Session({ ...common, own: client, peer: server, dir: 0 });
        this.server = new Session({ ...common, own: server, peer: client, dir: 1, answers: true });
    }
    /** One flight of one end's, if it has something to say: parsed, and read by the other. */
    say(from) {
        const bytes = from.poll(this.now);
        if (!bytes) return undefined;
        const to = from === this.client ? this.server : this.client;
        return { ...decode("Flight", bytes), events: to.receive(bytes, this.now) };
    }
    /** Everything that is ready, both ways, without time. */
    settle() {
        const requests = [];
        for (let more = true; more;) {
            const flights = [this.say(this.client), this.say(this.server)];
            requests.push(...flights.flatMap((flight) => flight?.events.flatMap(({ request }) => request ?? []) ?? []));
            more = flights.some(Boolean);
        }
        return requests;
    }
    after(milliseconds) {
        this.now += milliseconds;
        for (const end of [this.client, this.server]) end.tick(this.now);
    }
}
const found = encode("SearchResult", {});

test("an acknowledgement travels alone after 20 ms, a seal after 250", () => {
    const pair = new Pair();
    pair.client.request(SEARCH, { query: "x" }, { now: pair.now });
    assert.equal(pair.say(pair.client).seal, undefined);
    pair.after(19);
    assert.equal(pair.say(pair.server), undefined);
    pair.after(1);
    assert.equal(pair.say(pair.server).ack, 1);
    pair.after(229);
    assert.equal(pair.say(pair.client), undefined);
    pair.after(1);
    const { seal, envelopes, first_number } = pair.say(pair.client);
    assert.ok(seal);
    assert.deepEqual([envelopes, first_number], [[], 2]);
    assert.equal(pair.say(pair.client), undefined);
});

test("a span that stays unsealed for a minute ends the session", () => {
    const pair = new Pair();
    pair.client.request(SEARCH, {}, { now: pair.now, timeoutMs: 86400000 });
    pair.say(pair.client);
    pair.after(59999);
    assert.throws(
        () => pair.after(1),
        (error) => error instanceof Refused && error.rule === "span.time",
    );
});

test("a call whose time is over fails by itself, keeps its slot, and drops what comes", async () => {
    const pair = new Pair({ requests_open: 1 });
    const ask = (timeoutMs) => pair.client.request(SEARCH, {}, { now: pair.now, timeoutMs });
    const [first, second, third] = [ask(1000), ask(1000), ask(5000)];
    const [request] = pair.settle();
    pair.after(1000);
    await assert.rejects(first.outcome, ({ error }) => error.reason === "TIMEOUT" && error.disposition === 2);
    await assert.rejects(second.outcome, ({ error }) => error.reason === "TIMEOUT" && error.disposition === 1);
    assert.deepEqual(pair.settle(), []);
    pair.server.respond(request, { payload: found });
    const [next] = pair.settle();
    assert.equal(next.number, 2); // what had no number when its time was over was never sent
    pair.server.respond(next, { payload: found });
    pair.settle();
    assert.deepEqual((await third.outcome).message.offers, []);
});

test("an end that takes no requests says so, under a seal", async () => {
    const pair = new Pair();
    const call = pair.server.request(SEARCH, {}, { now: pair.now });
    pair.settle();
    await assert.rejects(
        call.outcome,
        ({ error }) => error.reason === "KIND_UNKNOWN" && error.code === 12 && error.disposition === 1,
    );
    assert.equal(pair.server.in.sealed, 1);
});

test("of several Pings the last is answered", () => {
    const pair = new Pair();
    pair.server.ping();
    pair.server.ping();
    const [, last] = pair.say(pair.server).controls;
    assert.deepEqual(
        pair.say(pair.client).controls.map(({ pong }) => pong),
        [{ token: last.ping.token }],
    );
});

test("after GOAWAY no new requests, and DISCONNECT when nothing is open", async () => {
    const pair = new Pair();
    const open = pair.client.request(
        AUTHORIZE,
        {
            end_to_end_id: "1",
            debtor_account: "a",
            creditor_account: "b",
            amount: { currency: "EUR", units: 1, nanos: 0 },
        },
        { now: pair.now },
    );
    const [request] = pair.settle();
    pair.client.goAway();
    const late = pair.client.request(SEARCH, {}, { now: pair.now });
    await assert.rejects(late.outcome, ({ error }) => error.reason === "GOING_AWAY" && error.disposition === 1);
    pair.settle();
    assert.ok(!pair.server.said.disconnect);
    pair.server.respond(request, { error: { code: 5, reason: "NO", message: "", disposition: 3, violations: [] } });
    pair.settle();
    await assert.rejects(open.outcome, ({ error }) => error.reason === "NO");
    pair.after(20);
    pair.settle();
    assert.ok(pair.client.over && pair.server.over);
});

test("a stream that is left is cancelled, and drops what still comes", async () => {
    const pair = new Pair();
    const item = (found) =>
        encode("OfferFound", {
            found,
            total: 9,
            offer: { offer_id: "o", provider_id: "p", title: "t", price: { currency: "EUR", units: 1, nanos: 0 } },
        });
    const call = pair.client.request(BROWSE, {}, { now: pair.now, credit: 2 });
    const [request] = pair.settle();
    for (const index of [0, 1]) pair.server.respond(request, { payload: item(index + 1), index, last: false });
    pair.settle();
    for await (const { message } of call) if (message.found === 1) break;
    const { controls } = pair.say(pair.client);
    assert.equal(controls.find(({ cancel }) => cancel)?.cancel.request_number, 1);
    pair.server.respond(request, { index: 2 });
    pair.settle();
    assert.equal(pair.client.calls.size, 0);
});
