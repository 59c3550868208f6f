// Records: cutting the stream, protecting what is in it. records.md.
import crypto from "node:crypto";
import { Refused, aeadOpen, aeadSeal, must } from "./common.js";

export const TYPE = { M1: 0x01, M2: 0x02, M3: 0x03, RESPONSE: 0x04, DATA: 0x10, DATA_REKEY: 0x11, ALERT: 0x1f };

export function header(type, length) {
    return Buffer.from([type, length >> 16, (length >> 8) & 255, length & 255]);
}

export const record = (type, body) => Buffer.concat([header(type, body.length), body]);

/** "Reading": `longest` says how long a body of a type may be now, undefined where the type may not come. */
export class RecordReader {
    constructor(longest) {
        this.longest = longest;
        this.buffer = Buffer.alloc(0);
    }
    push(chunk) {
        this.buffer = Buffer.concat([this.buffer, chunk]);
    }
    /** The next whole record, or undefined. */
    next() {
        if (this.buffer.length < 4) return undefined;
        const type = this.buffer[0];
        const length = this.buffer.readUIntBE(1, 3);
        const longest = this.longest(type);
        must(longest !== undefined, "record.type", `type ${type}`);
        must(length <= longest, "record.length", `${length} bytes, at most ${longest}`);
        if (this.buffer.length < 4 + length) return undefined;
        const body = this.buffer.subarray(4, 4 + length);
        this.buffer = this.buffer.subarray(4 + length);
        return { type, body };
    }
    /** A record has begun to arrive and is not whole. */
    get partial() {
        return this.buffer.length > 0;
    }
}

const LAST_COUNTER = 2n ** 64n - 1n;

/** "Protected records" and "Change of key", for one direction. */
export class RecordCipher {
    constructor(aead, key, { records = 2 ** 20, bytes = 2 ** 36 } = {}) {
        this.aead = aead;
        this.key = key;
        this.counter = 0n;
        this.limits = { records, bytes }; // of a sender; a receiver takes twice as much
        this.used = { records: 0, bytes: 0 };
    }
    #charge(bytes) {
        this.used.records += 1;
        this.used.bytes += bytes;
    }
    #rekey() {
        this.key = aeadSeal(this.aead, this.key, LAST_COUNTER, Buffer.alloc(0), Buffer.alloc(32)).subarray(0, 32);
        this.used = { records: 0, bytes: 0 };
    }
    /** A whole record; a type of DATA becomes DATA_REKEY where the key has been used enough. */
    seal(type, plaintext) {
        must(this.counter < LAST_COUNTER, "record.key-exhausted");
        const length = plaintext.length + 16;
        this.#charge(length);
        const full = this.used.records >= this.limits.records || this.used.bytes >= this.limits.bytes;
        if (type === TYPE.DATA && full) type = TYPE.DATA_REKEY;
        const head = header(type, length);
        const body = aeadSeal(this.aead, this.key, this.counter++, head, plaintext);
        if (type === TYPE.DATA_REKEY) this.#rekey();
        return Buffer.concat([head, body]);
    }
    open(type, body) {
        const tooMany = this.used.records + 1 > 2 * this.limits.records;
        const tooMuch = this.used.bytes + body.length > 2 * this.limits.bytes;
        must(!tooMany && !tooMuch && this.counter < LAST_COUNTER, "record.key-exhausted");
        const plaintext = aeadOpen(this.aead, this.key, this.counter, header(type, body.length), body);
        must(plaintext, "record.forged");
        this.counter++;
        this.#charge(body.length);
        if (type === TYPE.DATA_REKEY) this.#rekey();
        return plaintext;
    }
}

/** "Alert". */
export function writeAlert(reference = 1 + crypto.randomInt(2 ** 32 - 1)) {
    const body = Buffer.alloc(6);
    body.writeUInt16BE(1);
    body.writeUInt32BE(reference, 2);
    return record(TYPE.ALERT, body);
}

export function readAlert(body) {
    must(body.length === 6, "record.alert");
    return { code: body.readUInt16BE(0), reference: body.readUInt32BE(2) };
}

/** What an ALERT of the peer's means to who reads it: the handshake is refused. */
export function alertOf(body) {
    const { reference } = readAlert(body);
    return new Refused("alert", `refused (ref ${reference.toString(16).padStart(8, "0")})`);
}
