// A small server, from the specification too: good by itself, bad where a test hands it a trick.
import crypto from "node:crypto";
import net from "node:net";
import { once } from "node:events";
import { DEFAULT_LIMITS, agree, readRequest, writeHello, writeResponse } from "./client/admission.js";
import { ROLE, identityOf, issueCertificate, judgeChain, readCertificate } from "./client/certificates.js";
import { Refused, ed25519Public, x25519Public } from "./client/common.js";
import { kindOf } from "./client/messages.js";
import { CLIENT_AUTH, Responder, SERVER_AUTH, verifyProof } from "./client/noise.js";
import { RecordCipher, RecordReader, TYPE, record } from "./client/records.js";
import { goOn, positionsOf, serverProof } from "./client/resume.js";
import { Session } from "./client/session.js";
import { decode, encode } from "./client/wire.js";

const DAY = 86400000;

/** A root of tests, and whom it certifies. */
export class Authority {
    constructor() {
        this.seed = crypto.randomBytes(32);
        this.root = readCertificate(
            this.issue(ROLE.ISSUER, crypto.randomBytes(32), this.seed, { subject: "root", path_length: 1 }),
        );
    }
    issue(role, exchangeSecret, signingSeed, fields) {
        const now = Date.now();
        return issueCertificate(
            {
                role,
                names: [],
                tenant: "",
                exchange_key: x25519Public(exchangeSecret),
                signing_key: ed25519Public(signingSeed),
                not_before_ms: now - DAY,
                not_after_ms: now + DAY,
                ...fields,
            },
            this.seed,
        );
    }
    identity(role, fields) {
        const [exchangeSecret, signingSeed] = [crypto.randomBytes(32), crypto.randomBytes(32)];
        return identityOf(exchangeSecret, signingSeed, [this.issue(role, exchangeSecret, signingSeed, fields)]);
    }
}

const payment = (asked) => ({
    payment_id: "P-1",
    end_to_end_id: asked.end_to_end_id,
    status: 1,
    amount: asked.amount,
    authorized_until_ms: Date.now(),
});

/**
 * Tricks, each a function: `m1` changes M1 before it is read, `responder` options of the handshake, `sign` makes sigS,
 * `response` changes what RESPONSE says, `reply` answers a request, `flight` changes a flight, `record` changes a record
 * of any type.
 */
export class Server {
    constructor({ identity, trust, tricks = {} }) {
        Object.assign(this, { identity, trust, tricks });
        this.told = []; // what clients say at the end: ["ALERT"], ["DISCONNECT", code, reason], ["END"]
        this.sockets = new Set();
        this.sessions = new Map();
        this.waiting = [];
    }
    async listen() {
        this.server = net.createServer((socket) => this.serve(socket));
        this.server.listen(0, "127.0.0.1");
        await once(this.server, "listening");
        return this.server.address().port;
    }
    close() {
        this.server.close();
        for (const socket of this.sockets) socket.destroy();
    }
    /** What the client of the next connection that ends has said. */
    async farewell() {
        while (!this.told.some(([what]) => what === "END")) await new Promise((resolve) => this.waiting.push(resolve));
        return this.told.filter(([what]) => what !== "END");
    }
    #tell(...what) {
        this.told.push(what);
        for (const wake of this.waiting.splice(0)) wake();
    }

    /** One connection over any stream. */
  serve(socket) {
        const { tricks } = this;
        this.sockets.add(socket);
        const line = { socket, reader: new RecordReader(() => 1048576) };
        const handshake = new Responder({
            staticSecret: this.identity.exchangeSecret,
            suites: [0x0001],
            ...(tricks.responder?.() ?? {}),
        });
        line.send = (bytes) => socket.write(tricks.record ? tricks.record(bytes, line) : bytes);
        socket.on("error", () => {});
        socket.on("close", () => {
            this.sockets.delete(socket);
            this.#tell("END");
        });
        socket.on("data", (chunk) => {
            line.reader.push(chunk);
            try {
                for (let next; (next = line.reader.next());) this.#record(line, handshake, next);
            } catch (error) {
                if (!(error instanceof Refused)) throw error;
                this.#tell(error.rule);
                socket.destroy();
            }
        });
    }

    #record(line, handshake, { type, body }) {
        const { tricks, identity } = this;
        if (type === TYPE.ALERT) return this.#tell("ALERT", body.length);
        if (type === TYPE.M1) {
            handshake.readM1(tricks.m1 ? tricks.m1(body) : body);
            const hello = writeHello({ chain: identity.chain, timeMs: Date.now() });
            const m2 = handshake.writeM2(() =>
                handshake.writePayload(SERVER_AUTH, hello, identity.signingSeed, tricks.sign),
            );
            return line.send(record(TYPE.M2, m2));
        }
        if (type === TYPE.M3) return this.#admit(line, handshake, handshake.readM3(body));
        return this.#flight(line, line.inbound.open(type, body));
    }

    #admit(line, handshake, proof) {
        const { tricks, identity } = this;
        const request = readRequest(proof.body);
        const who = judgeChain(request.chain, this.trust, { roles: [ROLE.DEVICE, ROLE.PROVIDER], nowMs: Date.now() });
        verifyProof(who.certificate, CLIENT_AUTH, proof);
        const keys = handshake.finish();
        line.inbound = new RecordCipher(keys.aead, keys.clientKey);
        line.outbound = new RecordCipher(keys.aead, keys.serverKey);
        const { resume } = request;
        const known = resume && this.sessions.get(resume.session_id.toString("hex"));
        const limits = { ...DEFAULT_LIMITS };
        let fields = { limits, sessionMs: 60000, retentionMs: 7 * DAY };
        if (known) {
            line.session = known;
            goOn(known, resume, Date.now());
            fields.resumed = { ...positionsOf(known), proof: serverProof(known.secret, keys.h) };
        } else {
            line.session = new Session({
                id: keys.sessionId,
                secret: keys.resumeSecret,
                dir: 1,
                own: identity,
                answers: true,
                peer: { ...who, signingKey: who.certificate.signing_key },
                limits: agree(limits, request.limits),
            });
            this.sessions.set(keys.sessionId.toString("hex"), line.session);
        }
        if (tricks.response) fields = tricks.response(fields, { keys, known, line }) ?? fields;
        line.send(line.outbound.seal(TYPE.RESPONSE, writeResponse(fields)));
        this.#flush(line);
    }

    #flight(line, plaintext) {
        const { session } = line;
        for (const { disconnect } of decode("Flight", plaintext).controls)
            if (disconnect?.code) this.#tell("DISCONNECT", disconnect.code, disconnect.reason);
        if (this.told.length) return; // who receives a DISCONNECT with a code sends nothing more
        for (const { request } of session.receive(plaintext, Date.now())) {
            if (!request) continue;
            const reply = this.tricks.reply ?? (() => session.respond(request, { payload: this.answer(request) }));
            reply({ session, request, line, answer: this.answer(request) });
        }
        this.#flush(line);
        if (session.over) line.socket.end();
    }
    answer({ value, message }) {
        const kind = kindOf(value);
        return encode(kind.response, kind.once ? payment(message) : { offers: [] });
    }
    #flush(line) {
        if (line.silent) return;
        for (let flight; (flight = line.session.poll(Date.now()));) {
            if (this.tricks.flight) flight = encode("Flight", this.tricks.flight(decode("Flight", flight)));
            line.send(line.outbound.seal(TYPE.DATA, flight));
        }
    }
}
