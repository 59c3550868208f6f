// What an end does over one transport: connection.md. A transport is an EventEmitter with "data" and "end", write(),
// close(code, reason) and cut(); websocket.js and tcp.js make them.
import { DEFAULT_LIMITS, agree, readHello, readResponse, writeRequest } from "./admission.js";
import { ROLE, judgeChain } from "./certificates.js";
import { FAULTS, Refused, must } from "./common.js";
import { CLIENT_AUTH, Initiator, SERVER_AUTH, verifyProof } from "./noise.js";
import { RecordCipher, RecordReader, TYPE, alertOf, record, writeAlert } from "./records.js";
import { checkResumed, goOn, heldBy, sameParty, writeResume } from "./resume.js";
import { Session } from "./session.js";

const TIMES = {
    handshake: 10000,
    accept: 10000,
    record: 30000,
    heartbeat: 15000,
    liveness: 45000,
    drain: 30000,
    close: 5000,
};
const RESPONSE_BYTES = 16384;

export class Connection {
    /**
     * `identity` and `trust` are those of certificates.js; `session` is one that is to go on. The promise `opened` is of
     * this connection, `ended` of how it ended: { rule, fault, error }.
     */
    constructor(transport, options) {
        const {
            identity,
            trust,
            serverName,
            session,
            suite = 0x0001,
            token = "",
            limits = {},
            sessionMs = 60000,
        } = options;
        this.keyLimits = options.keyLimits;
        Object.assign(this, { transport, identity, trust, serverName, previous: session, suite, token, sessionMs });
        this.own = { ...DEFAULT_LIMITS, ...limits };
        this.clock = options.clock ?? Date.now;
        this.times = { ...TIMES, ...options.times };
        this.state = "READY";
        this.reader = new RecordReader((type) => this.#longest(type));
        this.opened = new Promise((resolve, reject) =>
            Object.assign(this, { resolveOpened: resolve, rejectOpened: reject }),
        );
        this.ended = new Promise((resolve) => (this.resolveEnded = resolve));
        this.opened.catch(() => {});
        transport.on("data", (chunk) => this.#guard(() => this.#data(chunk)));
        transport.on("end", () => this.#eof());
        this.#start();
    }

    #longest(type) {
        const allowed = {
            GREETED: { [TYPE.M2]: 16384, [TYPE.ALERT]: 6 },
            REQUESTED: { [TYPE.RESPONSE]: RESPONSE_BYTES, [TYPE.ALERT]: 6 },
        }[this.state] ?? {
            [TYPE.DATA]: this.session?.limits.record_bytes,
            [TYPE.DATA_REKEY]: this.session?.limits.record_bytes,
        };
        return allowed[type];
    }

    // ------------------------------------------------------------------------------------------------------ handshake

    #start() {
        const { suite, serverName, identity } = this;
        this.handshake = new Initiator({ suite, serverName, staticSecret: identity.exchangeSecret });
        this.#enter("GREETED", this.times.handshake, "timer.handshake");
        this.transport.write(record(TYPE.M1, this.handshake.writeM1()));
    }

    /** M2: the server's hello, its chain and both proofs; then M3. */
    #greeted(m2) {
        const proof = this.handshake.readM2(m2);
        const hello = readHello(proof.body);
        const nowMs = this.clock();
        const who = judgeChain(hello.chain, this.trust, { roles: [ROLE.SERVER], nowMs, serverName: this.serverName });
        verifyProof(who.certificate, SERVER_AUTH, proof);
        this.peer = { ...who, signingKey: who.certificate.signing_key };
        const m3 = this.handshake.writeM3((h) => {
            const goesOn = this.previous && !this.previous.fault && sameParty(this.previous.peer, this.peer);
            this.asked = goesOn ? this.previous : undefined;
            const body = writeRequest({
                chain: this.identity.chain,
                suites: [this.suite],
                token: Buffer.from(this.token),
                limits: this.own,
                nowMs,
                sessionMs: this.sessionMs,
                resume: this.asked && writeResume(this.asked, h),
            });
            return this.handshake.writePayload(CLIENT_AUTH, body, this.identity.signingSeed);
        });
        must(m3.length <= hello.request_bytes, "admission.length");
        this.keys = this.handshake.finish();
        this.handshake = undefined;
        this.outbound = new RecordCipher(this.keys.aead, this.keys.clientKey, this.keyLimits); // a sender may change it sooner
        this.inbound = new RecordCipher(this.keys.aead, this.keys.serverKey);
        const { accept, handshake } = this.times;
        this.#enter("REQUESTED", Math.min(hello.accept_timeout_ms, accept) + handshake, "timer.accept");
        this.transport.write(record(TYPE.M3, m3));
    }

    /** RESPONSE: a new session, the one that was asked for, or a rejection. */
    #answered(body) {
        const { error, accepted } = readResponse(this.inbound.open(TYPE.RESPONSE, body));
        if (error)
            throw Object.assign(new Refused("admission.rejected", `${error.reason}: ${error.message}`), { error });
        const limits = agree(this.own, accepted.limits ?? {});
        const now = this.clock();
        if (accepted.resumed) {
            must(this.asked, "resume.unasked");
            checkResumed(heldBy(this.asked), this.asked.secret, this.keys.h, accepted.resumed);
            this.session = this.asked;
            goOn(this.session, accepted.resumed, now);
            clearTimeout(this.session.expiry);
            this.session.expiry = undefined;
            this.resumed = true;
        } else {
            clearTimeout(this.previous?.expiry);
            this.previous?.end("SESSION_UNKNOWN");
            this.session = new Session({
                id: this.keys.sessionId,
                secret: this.keys.resumeSecret,
                own: this.identity,
                peer: this.peer,
                limits,
                sessionMs: Math.min(this.sessionMs, accepted.session_ms),
            });
        }
        this.retentionMs = accepted.retention_ms;
        delete this.keys.prk;
        this.session.wake = () => this.#soon();
        this.heardAt = this.pingedAt = now;
        this.#enter("OPEN");
        this.resolveOpened(this);
        this.#soon();
    }

    // ------------------------------------------------------------------------------------------------------- bytes in

    #data(chunk) {
        if (this.state === "CLOSING" || this.state === "CLOSED") return;
        this.heardAt = this.clock();
        this.reader.push(chunk);
        for (let next; (next = this.reader.next());) {
            if (next.type === TYPE.ALERT) throw alertOf(next.body);
            if (next.type === TYPE.M2) this.#greeted(next.body);
            else if (next.type === TYPE.RESPONSE) this.#answered(next.body);
            else this.session.receive(this.inbound.open(next.type, next.body), this.clock());
        }
        this.recordAt = this.reader.partial ? (this.recordAt ?? this.heardAt) : undefined;
        this.#soon();
    }

    #eof() {
        if (this.state === "CLOSED") return;
        const clean = this.session?.over;
        this.#closed(this.why ?? (clean ? { rule: "transport.eof", fault: "CLEAN" } : new Refused("transport.eof")));
    }

    // -------------------------------------------------------------------------------------------------------- sending

    request(kind, message, options = {}) {
        return this.session.request(kind, message, { now: this.clock(), ...options });
    }
    /** A call with one answer. */
    exchange(kind, message, options) {
        return this.request(kind, message, options).outcome;
    }
    /** GOAWAY; ends clean when both have said DISCONNECT. */
    drain() {
        this.session.goAway();
        this.#enter("DRAINING", this.times.drain, "timer.drain");
        return this.ended;
    }
    /** Leaves without draining; the session may go on. */
    abandon() {
        this.#fault(new Refused("close"));
    }

    /** One flight when everything that happens now has happened: it takes all that is ready. */
    #soon() {
        if (this.scheduled || !this.session) return;
        this.scheduled = true;
        setImmediate(() => {
            this.scheduled = false;
            this.#guard(() => this.#flush());
        });
    }
    #flush() {
        if (this.state !== "OPEN" && this.state !== "DRAINING") return;
        const now = this.clock();
        this.#tick(now);
        for (let flight; (flight = this.session.poll(now));)
            this.transport.write(this.outbound.seal(TYPE.DATA, flight));
        if (this.session.heard.goAway && this.state === "OPEN")
            this.#enter("DRAINING", this.times.drain, "timer.drain");
        if (this.session.over) {
            this.why = { rule: "disconnect", fault: "CLEAN" };
            this.#enter("CLOSING", this.times.close); // the server closes, this end waits for it
        } else this.#arm(now);
    }

    // --------------------------------------------------------------------------------------------------------- timers

    #tick(now) {
        const { record: recordMs, heartbeat, liveness } = this.times;
        must(this.recordAt === undefined || now < this.recordAt + recordMs, "timer.record");
        must(now < this.heardAt + liveness, "liveness");
        if (now >= Math.max(this.heardAt, this.pingedAt) + heartbeat) {
            this.pingedAt = now;
            this.session.ping();
        }
        this.session.tick(now);
    }
    #arm(now) {
        clearTimeout(this.timer);
        const quiet = Math.max(this.heardAt, this.pingedAt) + this.times.heartbeat;
        const { record: recordMs, liveness } = this.times;
        const due = Math.min(
            this.session.deadline(),
            quiet,
            this.heardAt + liveness,
            (this.recordAt ?? Infinity) + recordMs,
        );
        this.timer = setTimeout(() => this.#guard(() => this.#flush()), Math.max(1, due - now));
    }
    #enter(state, milliseconds, rule) {
        this.state = state;
        clearTimeout(this.stateTimer);
        if (milliseconds === undefined) return;
        this.stateTimer = setTimeout(
            () => (rule ? this.#fault(new Refused(rule)) : this.transport.cut()),
            milliseconds,
        );
    }

    // ------------------------------------------------------------------------------------------------------- the end

    #guard(action) {
        try {
            action();
        } catch (error) {
            if (!(error instanceof Refused)) throw error;
            this.#fault(error);
        }
    }

    /** faults.md, "What the peer is told". */
    #fault(error) {
        const { state } = this;
        if (state === "CLOSING" || state === "CLOSED") return;
        const isOpen = state === "OPEN" || state === "DRAINING";
        this.why = error;
        if (state === "GREETED" && error.rule !== "alert") this.transport.write(writeAlert());
        if (isOpen && error.ofSession && error.rule !== "disconnect.fault")
            this.transport.write(this.outbound.seal(TYPE.DATA, this.session.lastFlight(error, this.clock())));
        this.#enter("CLOSING", this.times.close);
        if (error.fault === "PEER_SILENT") this.transport.cut();
        else this.transport.close(FAULTS[error.fault][1], error.fault);
    }
    #closed(why) {
        this.state = "CLOSED";
        clearTimeout(this.timer);
        clearTimeout(this.stateTimer);
        const { session } = this;
        const waits = session?.sessionMs > 0 && !session.said.disconnect && FAULTS[why.fault][0] === "transport";
        if (session) session.wake = undefined;
        if (session && !waits) session.end(why.fault);
        if (waits) session.expiry ??= setTimeout(() => session.end("SESSION_EXPIRED"), session.sessionMs);
        if (why.ofSession) this.previous?.end(why.fault);
        this.rejectOpened(why instanceof Error ? why : new Refused(why.rule));
        this.resolveEnded({ rule: why.rule, fault: why.fault, error: why });
    }
}

/** A connection that is open, or the Refused that says why there is none. */
export const connect = (transport, options) => new Connection(transport, options).opened;
