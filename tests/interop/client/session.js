// A session without I/O: bytes of flights in, bytes of flights out. session.md, flights.md, chain.md.
//
// Time is handed in, in milliseconds. What an end receives is judged in receive(), what it says is built in poll().
import crypto from "node:crypto";
import { Budget, Call, failure, goingAway, hidden } from "./calls.js";
import { FROM_CLIENT, FROM_SERVER, chainNext, chainStart, leafOf, makeSeal } from "./chain.js";
import { FAULTS, must } from "./common.js";
import { readFlight } from "./flights.js";
import {
    DISPOSITION,
    STATUS,
    STATUS_OF_RULE,
    openPayload,
    openRequest,
    requestEnvelope,
    responseEnvelope,
    understood,
} from "./messages.js";
import { makeReceipt } from "./receipts.js";
import { encode } from "./wire.js";

/** connection.md, "Timers", and limits.md, "Held on this side". */
const ACK_MS = 20;
const SEAL_MS = 250;
const SPAN_MS = 60000;
const HELD = { control_rate: 10, control_burst: 20, errors_per_minute: 100, outbox_messages: 4096 };

export class Session {
    /**
     * `own`: { kid, signingSeed }, `peer`: { kid, signingKey, … }, `dir`: the direction of this end.
     * `limits` are the agreed ones; what is held on this side may be among them.
     */
    constructor({ id, secret, own, peer, dir = FROM_CLIENT, limits, sessionMs = 0, answers = false }) {
        Object.assign(this, { id, peer, sessionMs, answers });
        hidden(this, { secret, own });
        this.limits = { ...HELD, ...limits };
        const theirDir = dir === FROM_CLIENT ? FROM_SERVER : FROM_CLIENT;
        const begin = (d) => ({ dir: d, number: 0, chain: chainStart(id, d), sealed: 0 });
        this.out = { ...begin(dir), acked: 0, ackedChain: chainStart(id, dir), kept: [], unsealedAt: undefined };
        this.in = { ...begin(theirDir), acked: 0, span: [], spanAt: undefined };
        this.calls = new Map(); // our requests with a number
        this.queue = []; // our requests without one
        this.theirs = new Map(); // the peer's requests: number -> { leaf, bytes, answer }
        this.replies = []; // envelopes that answer them
        this.controls = { pong: undefined, pings: [], cancels: new Set(), grants: new Map(), goAway: false };
        this.said = { goAway: false, disconnect: false };
        this.heard = { goAway: false, disconnect: false };
        this.ackDue = this.fault = undefined;
        this.attempt = 0;
        this.newTransport();
    }

    /** What belongs to a transport and not to the session. */
    newTransport() {
        const { control_rate, control_burst, cancels_per_minute, errors_per_minute } = this.limits;
        this.budgets ??= {
            controls: new Budget(control_rate, control_burst, "controls.rate"),
            cancels: new Budget(cancels_per_minute / 60, cancels_per_minute, "cancels.rate"),
            errors: new Budget(errors_per_minute / 60, errors_per_minute, "errors.rate"),
        };
        this.freeGrants ??= 0;
        this.sentHere = this.out.acked; // the highest number that the peer may acknowledge
        this.resend = [];
        this.said.disconnect = this.heard.disconnect = false;
        this.controls.pings = [];
        this.controls.pong = undefined;
    }

    get over() {
        return this.said.disconnect && this.heard.disconnect;
    }

    // ------------------------------------------------------------------------------------------------------- asking

    request(kind, message, { now, issuedAtMs = now, timeoutMs, credit } = {}) {
        const envelope = requestEnvelope(kind, message, { issuedAtMs });
        const call = new Call(kind, envelope, { now, timeoutMs, credit });
        hidden(call, { session: this });
        if (envelope.length > this.limits.envelope_bytes)
            call.settle(undefined, failure(STATUS.OUT_OF_RANGE, "REQUEST_TOO_LONG", DISPOSITION.NOT_PROCESSED));
        else if (this.fault || this.said.goAway || this.heard.goAway || this.heard.disconnect)
            call.settle(undefined, goingAway());
        else this.queue.push(call);
        this.wake?.();
        return call;
    }

    /** session.md, "Cancels": one without a number fails, one with a number is asked to end. */
    cancel(call) {
        call.cancelled = true;
        if (!call.number) {
            this.queue = this.queue.filter((other) => other !== call);
            call.settle(undefined, failure(STATUS.CANCELLED, "CANCELLED", DISPOSITION.NOT_PROCESSED));
        } else if (this.calls.has(call.number)) this.controls.cancels.add(call.number);
        this.wake?.();
    }

    /** session.md, "Streams", 5: a Grant goes out only when an item has come since the last one. */
    grant(call, items) {
        if (call.settled || call.cancelled || items <= call.credit) return;
        this.controls.grants.set(call.number, items);
        this.wake?.();
    }

    goAway() {
        if (!this.said.goAway) this.controls.goAway = true;
        this.said.goAway = true;
        this.#refuseQueue();
        this.wake?.();
    }
    ping() {
        this.controls.pings.push(crypto.randomBytes(8).readBigUInt64BE());
    }
    #refuseQueue() {
        for (const call of this.queue.splice(0)) call.settle(undefined, goingAway());
    }

    /** faults.md, "What becomes of calls". */
    end(fault) {
        if (this.fault) return;
        this.fault = fault;
        for (const call of this.queue.splice(0))
            call.settle(undefined, failure(STATUS.UNAVAILABLE, fault, DISPOSITION.NOT_PROCESSED));
        for (const call of this.open ?? [])
            call.settle(undefined, failure(STATUS.UNAVAILABLE, fault, DISPOSITION.MAYBE));
    }

    // ---------------------------------------------------------------------------------- receiving: flights.md, 1 to 14

    receive(bytes, now) {
        const { flight, messages } = readFlight(this, bytes);

        const sealedBefore = this.in.sealed;
        const bringsSeal = flight.seal && this.in.number + messages.length > sealedBefore;
        this.#enter(flight, messages, now); // number, chain and the place of the last seal move
        const acknowledges = this.#acknowledge(flight);
        must(!this.heard.disconnect || !messages.length, "disconnect.final");
        if (!messages.length && !flight.controls.length && !bringsSeal && !acknowledges)
            this.budgets.controls.charge(now);
        for (const control of flight.controls) this.#checkControl(control, now);
        for (const message of messages.filter((one) => one.isRequest)) this.#takeRequest(message, now);
        for (const message of messages.filter((one) => !one.isRequest)) this.#takeResponse(message, flight.ack);

        const delivered = messages.map((message) => this.#deliver(message, now));
        for (const control of flight.controls) this.#obey(control);
        if (messages.length) this.ackDue ??= now + ACK_MS;
        this.wake?.();
        return delivered.filter(Boolean);
    }

    #enter({ seal }, messages, now) {
        this.in.number += messages.length;
        this.in.chain = messages.at(-1)?.chain ?? this.in.chain;
        this.in.span.push(...messages);
        if (seal) {
            this.in.sealed = this.in.number;
            const span = this.in.span.splice(0);
            span.forEach((message, i) => {
                message.proof = { seal, following: span.slice(i + 1).map(({ leaf }) => leaf) };
                message.sealed?.();
            });
        }
        this.in.spanAt = this.in.span.length ? (this.in.spanAt ?? now) : undefined;
    }

    /** 9. True where the acknowledgement says something new. */
    #acknowledge({ ack }) {
        must(ack >= this.out.acked && ack <= this.sentHere, "flight.ack", `${ack}`);
        const more = ack > this.out.acked;
        this.out.acked = ack;
        while (this.out.kept[0]?.number <= ack) this.out.ackedChain = this.out.kept.shift().chain;
        for (const [number, { answer }] of this.theirs) if (answer && answer <= ack) this.theirs.delete(number);
        return more;
    }

    /** 12. */
    #checkControl(control, now) {
        const known = (number) => must(number >= 1 && number <= this.in.number, "control.number");
        if (control.cancel) this.budgets.cancels.charge(now);
        else if (control.grant && this.freeGrants > 0) this.freeGrants -= 1;
        else this.budgets.controls.charge(now);
        if (control.cancel) known(control.cancel.request_number);
        if (control.grant) known(control.grant.request_number);
        if (control.disconnect) {
            const { code, reason } = control.disconnect;
            must(code === 0, "disconnect.fault", `${code} ${reason}`);
            must(this.in.sealed === this.in.number, "disconnect.seal");
        }
    }

    /** 13. */
    #takeRequest(message, now) {
        this.theirs.set(message.number, { leaf: message.leaf, bytes: message.envelope.length, request: message.value });
        const bytes = [...this.theirs.values()].reduce((sum, one) => sum + one.bytes, 0);
        const { requests_open, request_bytes_open } = this.limits;
        must(this.theirs.size <= requests_open, "requests.open");
        must(bytes <= request_bytes_open || this.theirs.size === 1, "requests.open");
        Object.assign(message, openRequest(message.value, now));
        if (!this.answers) message.rule = "kind.unknown"; // an end that takes no requests: index.md, "Conformance"
        if (message.rule && message.rule !== "request.expired") this.budgets.errors.charge(now);
    }

    /** 14. */
    #takeResponse(message, ack) {
        const { value } = message;
        const call = this.calls.get(value.request_number);
        const { type, operation } = call?.kind ?? {};
        must(call && call.leaf.equals(value.request_leaf), "response.request");
        must(type === value.type && operation === value.operation, "response.request");
        must(value.index === call.items, "response.item");
        must(value.last || value.index < call.credit, "stream.credit");
        must(ack >= call.number, "flight.ack");
        message.call = call;
        if (value.last) this.calls.delete(call.number);
        else call.items += 1;
    }

    #deliver(message, now) {
        if (message.isRequest) return this.#deliverRequest(message, now);
        const { call, value } = message;
        const opened =
            value.payload === undefined ? {} : openPayload(call.kind.response, call.kind.sealed, value.payload);
        const answer = { message: opened.message, replayed: value.replayed, number: message.number, call };
        answer.receipt = () => this.#receipt(message);
        if (opened.rule) {
            call.settle(undefined, failure(STATUS.INTERNAL, "ANSWER_INVALID", DISPOSITION.MAYBE, opened.rule));
            if (!value.last) this.cancel(call);
        } else if (value.error) call.settle(undefined, hidden(understood(value.error), { answer }));
        else if (value.last) call.settle(answer);
        else if (!call.settled && !call.cancelled) call.emit({ item: answer });
        if (value.last) this.open.delete(call);
        return { answer: call, message };
    }

    #deliverRequest(message) {
        const theirs = this.theirs.get(message.number);
        const away = this.said.goAway || this.heard.goAway || this.heard.disconnect;
        if (!message.rule && !away) return { request: message };
        const reason = message.rule?.toUpperCase().replaceAll(".", "_");
        const error = message.rule
            ? failure(STATUS_OF_RULE[message.rule], reason, DISPOSITION.NOT_PROCESSED, "", {
                  violations: (message.violations ?? []).map((one) => ({ ...one, description: "" })),
              })
            : goingAway();
        this.respond(message, { error, sealed: message.rule === "kind.unknown" || undefined });
        return { refused: message, reason: error.reason, theirs };
    }

    respond({ number, leaf, value, kind }, { payload, error, index = 0, last = true, sealed = !kind || kind.sealed }) {
        const { type, operation } = value;
        const response = { request_number: number, request_leaf: leaf, type, operation, index, last, payload, error };
        this.replies.push({ envelope: responseEnvelope(response), sealed, answers: last && number });
        this.wake?.();
    }

    #obey(control) {
        // Cancels and Grants change nothing here: this end answers requests at once, and never by a stream.
        const { ping, go_away: goAway, disconnect } = control;
        if (ping) this.controls.pong = ping.token;
        if (goAway) this.heard.goAway = true;
        if (disconnect) this.heard.disconnect = true;
        if (goAway || disconnect) this.#refuseQueue();
    }

    /** receipts.md, "Making one": when the message's span is sealed. */
    async #receipt(message) {
        if (!message.proof) await new Promise((resolve) => (message.sealed = resolve));
        return makeReceipt({
            sessionId: this.id,
            dir: this.in.dir,
            number: message.number,
            envelope: message.envelope,
            previous: message.previous,
            following: message.proof.following,
            signer: this.peer.kid,
            recipient: this.own.kid,
            seal: message.proof.seal,
        });
    }

    // ----------------------------------------------------------------------------------------------- sending a flight

    /** The moment at which poll() or tick() has something to do, if nothing happens before. */
    deadline() {
        const moments = [this.ackDue, this.out.unsealedAt && this.out.unsealedAt + SEAL_MS];
        if (this.in.spanAt !== undefined) moments.push(this.in.spanAt + SPAN_MS);
        for (const call of [...this.queue, ...this.calls.values()]) if (!call.settled) moments.push(call.deadline);
        return Math.min(...moments.filter((moment) => moment !== undefined));
    }

    /** Deadlines: of calls (session.md), and of the peer's seal (SPAN). */
    tick(now) {
        must(this.in.spanAt === undefined || now < this.in.spanAt + SPAN_MS, "span.time");
        for (const call of [...this.queue, ...this.calls.values()])
            if (!call.settled && now >= call.deadline) {
                const disposition = call.number ? DISPOSITION.MAYBE : DISPOSITION.NOT_PROCESSED;
                call.settle(undefined, failure(STATUS.DEADLINE_EXCEEDED, "TIMEOUT", disposition));
                this.queue = this.queue.filter((other) => other !== call);
            }
    }

    /** The next flight's bytes, or undefined where there is nothing to say now. */
    poll(now) {
        const again = this.resend.length > 0;
        const chosen = again ? this.#chooseAgain(now) : this.#choose(now);
        const controls = again ? this.#answerPing([]) : this.#chooseControls();
        const disconnects = !again && !chosen.length && this.#mayDisconnect();
        if (disconnects) {
            controls.push({ disconnect: { code: 0, reason: "" } });
            this.said.disconnect = true;
        }
        const sealDue = this.out.unsealedAt !== undefined && now >= this.out.unsealedAt + SEAL_MS;
        const ackDue = this.ackDue !== undefined && now >= this.ackDue;
        if (!chosen.length && !controls.length && !sealDue && !ackDue && !this.sealNow) return undefined;

        const first = again ? chosen[0].number : this.out.number + 1;
        if (!again) for (const one of chosen) this.#commit(one, now);
        this.sentHere = Math.max(this.sentHere, first + chosen.length - 1);
        const last = chosen.at(-1)?.number ?? this.out.number;
        const full = this.out.number - this.out.sealed >= this.limits.span_messages - 16;
        const seals =
            chosen.some(({ sealed }) => sealed) || sealDue || again || full || this.said.disconnect || this.sealNow;
        return this.#flight({ first, last, chosen, controls, seals }, now);
    }

    #flight({ first, last, chosen, controls, seals }, now) {
        const chain = chosen.at(-1)?.chain ?? this.out.chain;
        const hops = chosen.flatMap(({ hop }, index) => (hop ? [{ index, ...hop }] : []));
        let seal;
        if (seals) {
            const place = {
                sessionId: this.id,
                signer: this.own.kid,
                recipient: this.peer.kid,
                dir: this.out.dir,
                number: last,
                chain,
                signedAtMs: now,
            };
            seal = { signature_suite: 1, signed_at_ms: now, signature: makeSeal(this.own.signingSeed, place) };
            this.out.sealed = Math.max(this.out.sealed, last);
            if (this.out.sealed === this.out.number) this.out.unsealedAt = undefined;
            this.sealNow = false;
        }
        this.ackDue = undefined;
        this.in.acked = this.in.number; // everything that came has been given to the application
        const envelopes = chosen.map(({ envelope }) => envelope);
        return encode("Flight", { first_number: first, envelopes, hops, ack: this.in.acked, controls, seal });
    }

    /** "Order of sending": answers, then requests, payments before others, as many as have slots and fit. */
    #choose(now) {
        if (this.said.disconnect) return [];
        const chosen = [];
        let room = this.limits.record_bytes - 1024;
        const places = Math.min(
            this.limits.flight_messages,
            64,
            this.limits.span_messages - (this.out.number - this.out.sealed),
        );
        const fits = ({ envelope }) => chosen.length < places && (room -= envelope.length + 64) >= 0;
        while (this.replies.length && fits(this.replies[0])) chosen.push(this.replies.shift());
        this.queue.sort((one, other) => (other.kind.type === 11) - (one.kind.type === 11));
        let bytes = [...this.calls.values()].reduce((sum, call) => sum + call.envelope.length, 0);
        let open = this.calls.size;
        while (this.queue.length && open < this.limits.requests_open) {
            const [call] = this.queue;
            bytes += call.envelope.length;
            if ((open && bytes > this.limits.request_bytes_open) || !fits(call)) break;
            open += 1;
            this.queue.shift();
            chosen.push({ call, envelope: call.envelope, sealed: call.kind.sealed, hop: hopOf(call, now) });
        }
        return chosen;
    }

    /** resume.md, "Sending again": the same envelopes under the same numbers, with hops of now. */
    #chooseAgain(now) {
        const chosen = [];
        let room = this.limits.record_bytes - 1024;
        while (this.resend.length && chosen.length < this.limits.flight_messages) {
            room -= this.resend[0].envelope.length + 64;
            if (room < 0 && chosen.length) break;
            const one = this.resend.shift();
            chosen.push({ ...one, hop: one.call && hopOf(one.call, now) });
        }
        return chosen;
    }

    /** For who replays what was said. */
    replay(one, now) {
        this.#commit(one, now);
        this.sentHere = Math.max(this.sentHere, one.number);
    }

    /** A message gets its number and its place in the chain, and is kept until it is acknowledged. */
    #commit(one, now) {
        const { out } = this;
        one.number = ++out.number;
        one.leaf = leafOf(this.id, out.dir, one.number, one.envelope);
        one.chain = out.chain = chainNext(out.chain, one.leaf);
        out.unsealedAt ??= now;
        out.kept.push(one);
        if (one.answers) this.theirs.get(one.answers).answer = one.number;
        if (one.call) {
            Object.assign(one.call, { number: one.number, leaf: one.leaf });
            this.calls.set(one.number, one.call);
            this.open.add(one.call);
        }
    }
    open = new Set(); // our requests with a number that have no terminal answer

    #answerPing(controls) {
        if (this.controls.pong !== undefined) controls.push({ pong: { token: this.controls.pong } });
        this.controls.pong = undefined;
        for (const token of this.controls.pings.splice(0)) controls.push({ ping: { token } });
        return controls;
    }
    #chooseControls() {
        const { cancels, grants } = this.controls;
        const controls = this.#answerPing([]);
        if (this.controls.goAway) controls.push({ go_away: { reason: "" } });
        this.controls.goAway = false;
        for (const number of cancels) {
            if (controls.length >= this.limits.controls - 1) break;
            cancels.delete(number);
            controls.push({ cancel: { request_number: number } });
        }
        for (const [number, items] of grants) {
            if (controls.length >= this.limits.controls - 1) break;
            const call = this.calls.get(number);
            if (call && call.items === call.itemsAtGrant) continue; // "Streams", 5: none has come since the last one
            grants.delete(number);
            if (!call) continue;
            call.credit = call.told = items;
            call.itemsAtGrant = call.items;
            controls.push({ grant: { request_number: number, items } });
        }
        return controls;
    }

    /** "The end", 3. */
    #mayDisconnect() {
        const idle = !this.calls.size && !this.theirs.size && !this.queue.length && !this.replies.length;
        const acked = this.out.acked === this.out.number;
        return !this.said.disconnect && idle && acked && (this.heard.goAway || this.heard.disconnect);
    }

    /** faults.md, "What the peer is told": the last flight of a session that a fault ends. */
    lastFlight(error, now) {
        const controls = [{ disconnect: { code: FAULTS[error.fault][1], reason: error.rule } }];
        const { number } = this.out;
        return this.#flight({ first: number + 1, last: number, chosen: [], controls, seals: true }, now);
    }
}

const hopOf = (call, now) => ({
    timeout_ms: Math.min(86400000, Math.max(1, Math.ceil(call.deadline - now))),
    credit: call.kind.stream ? call.credit : 0,
});
