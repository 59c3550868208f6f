// The scenario: what a client does against a real server. `node run.js --help` says how to run it.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import path from "node:path";
import { loadIdentity, loadRoots, readCertificate } from "./client/certificates.js";
import { connect } from "./client/connection.js";
import { hex } from "./client/common.js";
import { kindNamed } from "./client/messages.js";
import { openReceipt, verifyReceipt } from "./client/receipts.js";
import { overWebSocket } from "./client/websocket.js";
import { cuttingProxy, tlsProxy } from "./proxy.js";

const AUTHORIZE = kindNamed("PAYMENT_AUTHORIZE");
const SEARCH = kindNamed("MARKETPLACE_SEARCH");
const BROWSE = kindNamed("MARKETPLACE_BROWSE");
const PUBLISH = kindNamed("MARKETPLACE_PUBLISH");
const REGISTER = kindNamed("PROVIDER_REGISTER");

const who = (folder, name) => ({
    identity: loadIdentity(path.join(folder, `${name}.key`)),
    trust: { roots: loadRoots(path.join(folder, "roots.pem")) },
    serverName: "localhost",
});
const run = hex(crypto.randomBytes(4)); // business keys of this run
/** The sandbox gives every device a wallet with 1,000.00 EUR. */
const walletOf = ({ chain }) => {
    const { tenant, subject } = readCertificate(chain[0]);
    return `wallet:${tenant}:${subject}`;
};
const payment = (debtor, key, units) => ({
    end_to_end_id: `node-${run}-${key}`,
    debtor_account: debtor,
    creditor_account: "shop-7",
    amount: { currency: "EUR", units, nanos: 0 },
});

/** A provider fills the catalogue, so that there is something to browse. */
async function publish(url, folder, count) {
    const connection = await connect(await overWebSocket(url), who(folder, "provider"));
    await connection.exchange(REGISTER, {
        registration_id: `node-${run}`,
        legal_name: "Lamps",
        country: "IS",
        subject: "provider-1",
        payout_account: "shop-7",
        documents: [{ kind: 1, media_type: "application/pdf", sha256: crypto.randomBytes(32), size_bytes: 1000 }],
    });
    const calls = Array.from({ length: count }, (_, i) =>
        connection.exchange(PUBLISH, {
            publication_id: `node-${run}-${i}`,
            offer_id: `node-lamp-${i}`,
            title: `node lamp ${i}`,
            description: "A lamp. ".repeat(500),
            category: "lamps",
            price: { currency: "EUR", units: 39, nanos: 0 },
            stock: 10,
        }),
    );
    await Promise.all(calls);
    assert.equal((await connection.drain()).fault, "CLEAN");
    return `${count} offers published at once`;
}

/** Whoever comes with the session's name and not with what belongs to it changes nothing. */
async function imposters(session, open) {
    const like = (changes) => Object.assign(Object.create(session), { end: () => {} }, changes);
    const rejected = (reason) => (error) => error.rule === "admission.rejected" && error.error.reason === reason;
    await assert.rejects(open(like({ attempt: 0 })), rejected("RESUME_STALE"));
    const elsewhere = { ...session.out, chain: crypto.randomBytes(32) };
    await assert.rejects(open(like({ attempt: 10, out: elsewhere })), rejected("SESSION_DIVERGED"));
    const stranger = await open(like({ attempt: 11, secret: crypto.randomBytes(32) }));
    assert.equal(stranger.resumed, undefined);
    assert.equal((await stranger.drain()).fault, "CLEAN");
    return "RESUME_STALE, SESSION_DIVERGED, and a new session without the secret";
}

/** More calls than slots (session.md, "Slots"), and a new key after every third record (records.md, "Change of key"). */
async function slots(url, device) {
    const connection = await connect(await overWebSocket(url), {
        ...device,
        limits: { requests_open: 2 },
        keyLimits: { records: 3 },
    });
    const calls = Array.from({ length: 20 }, () => connection.exchange(SEARCH, { query: "node lamp 1" }));
    await Promise.all(calls);
    assert.equal((await connection.drain()).fault, "CLEAN");
    return "20 searches in 2 slots, under many keys";
}

async function scenario(url, folder, say, options = {}) {
    const device = who(folder, "device");
    const wallet = walletOf(device.identity);
    const proxy = await cuttingProxy(Number(new URL(url).port));
    const through = new URL(url);
    through.port = proxy.port;
    const open = async (session) =>
        connect(await overWebSocket(String(through), options.socket), { ...device, session });
    try {
        const connection = await open();
        const { session, peer } = connection;
        say("connected", `${peer.subject}, session ${hex(session.id).slice(0, 8)}`);

        const first = payment(wallet, `${options.name}-1`, 12);
        const answer = await connection.exchange(AUTHORIZE, first);
        assert.equal(answer.message.amount.units, 12);
        assert.equal(answer.replayed, false);
        say("paid", `${answer.message.payment_id}, sealed`);

        const receipt = await answer.receipt();
        const said = openReceipt(verifyReceipt(receipt, peer.signingKey)).value;
        assert.ok(said.request_leaf.equals(answer.call.leaf));
        const changed = Buffer.from(receipt);
        changed[changed.length >> 1] ^= 1;
        assert.throws(() => verifyReceipt(changed, peer.signingKey));
        say("receipt", `${receipt.length} bytes, verified offline; with a changed bit refused`);

        const again = await connection.exchange(AUTHORIZE, first);
        assert.equal(again.replayed, true);
        assert.deepEqual(again.message, answer.message);
        say("asked again", `${again.message.payment_id}, replayed`);

        await assert.rejects(
            connection.exchange(AUTHORIZE, { ...first, amount: { currency: "EUR", units: 13, nanos: 0 } }),
            ({ error }) => error.reason === "CONFLICT" && error.disposition === 3,
        );
        say("another amount, same key", "refused: CONFLICT");

        const found = await connection.exchange(SEARCH, { query: "node lamp 17" });
        assert.ok(found.message.offers.length);
        verifyReceipt(await found.receipt(), peer.signingKey);
        say("searched", `${found.message.offers.length} offers, receipt when it was sealed`);

        const items = [];
        const stream = connection.request(BROWSE, { query: "node lamp", limit: 30 }, { credit: 4 });
        for await (const item of stream) items.push(item);
        assert.deepEqual(
            items.map(({ message }) => message.found),
            items.map((_, i) => i + 1),
        );
        assert.equal(items.length, items[0].message.total);
        for (const item of items) verifyReceipt(await item.receipt(), peer.signingKey);
        say(
            "browsed",
            `${items.length} items with a credit of 4 and grants up to ${stream.told}, ${items.length} receipts`,
        );

        let left = 0;
        const half = connection.request(BROWSE, { query: "node lamp" }, { credit: 2 });
        for await (const item of half) if ((left = item.message.found) === 3) break;
        await half.outcome.catch(({ error }) => error);
        say("left a stream", `after ${left} items, ended by the server`);

        proxy.cutAtNextAnswer();
        const pending = connection.request(AUTHORIZE, payment(wallet, `${options.name}-2`, 5));
        const lost = await connection.ended;
        assert.equal(lost.fault, "TRANSPORT_LOST");
        assert.ok(!pending.settled);
        const resumed = await open(session);
        assert.equal(resumed.resumed, true);
        assert.equal(resumed.session, session);
        const late = await pending.outcome;
        verifyReceipt(await late.receipt(), peer.signingKey);
        say("cut and resumed", `${late.message.payment_id}, same session ${hex(resumed.session.id).slice(0, 8)}`);

        say("not taken over", await imposters(session, open));

        const end = await resumed.drain();
        assert.deepEqual([end.rule, end.fault], ["disconnect", "CLEAN"]);
        say("drained", "clean end");
    } finally {
        proxy.close();
    }
}

export async function everything(url, folder, say = () => {}) {
    say("provider", await publish(url, folder, 40));
    say("slots", await slots(url, who(folder, "device")));
    await scenario(url, folder, (...what) => say("ws", ...what), { name: "ws" });
    const proxy = await tlsProxy(Number(new URL(url).port));
    try {
        const secure = `wss://localhost:${proxy.port}`;
        // The line is cut between the client and TLS, so that the proxy that cuts sees records of TLS only.
        await scenario(secure, folder, (...what) => say("wss", ...what), { name: "wss", socket: { ca: proxy.ca } });
    } finally {
        proxy.close();
    }
}

if (import.meta.url === `file://${process.argv[1]}`) {
    const [url, folder] = process.argv.slice(2);
    if (!folder) {
        console.log(
            "usage: node run.js ws://localhost:8765 dev\n\nA running server, and the folder of `ratatoskr dev init`.",
        );
        process.exit(2);
    }
    await everything(url, folder, (...what) => console.log(what.join("  ")));
}
