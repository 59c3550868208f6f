// Protobuf, to the byte: the canonical encoding of envelopes.md and the counting of limits.md.
//
// The schemas are read from the .proto files; encoding and decoding are done here, because a library's decoder does not
// say which of the encodings of a value it read. Numbers are numbers where they are safe integers, else BigInts.
import fs from "node:fs";
import protobuf from "protobufjs";

const directory = new URL("../../../proto/ratatoskr/v1/", import.meta.url);
const root = new protobuf.Root();
for (const name of fs.readdirSync(directory).filter((name) => name.endsWith(".proto")))
    protobuf.parse(fs.readFileSync(new URL(name, directory), "utf8"), root, { keepCase: true });
root.resolveAll();

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const SCALARS = {
    bool: VARINT,
    uint32: VARINT,
    uint64: VARINT,
    int32: VARINT,
    int64: VARINT,
    enum: VARINT,
    fixed64: FIXED64,
    string: BYTES,
    bytes: BYTES,
};
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** An encoding that does not parse: envelopes.md, "Canonical encoding", *malformed*. */
export class Malformed extends Error {}

/** A message of the schema: its fields in ascending order, each with what encoding needs to know. */
class Schema {
    constructor(type) {
        this.name = type.name;
        this.options = type.parsedOptions ?? [];
        this.fields = type.fieldsArray
            .map((field) => ({
                number: field.id,
                name: field.name,
                repeated: field.repeated,
                presence: !!field.partOf || field.resolvedType instanceof protobuf.Type,
                oneof: field.partOf?.oneof,
                message: field.resolvedType instanceof protobuf.Type ? field.resolvedType.name : undefined,
                values: field.resolvedType instanceof protobuf.Enum ? field.resolvedType.valuesById : undefined,
                kind: field.resolvedType instanceof protobuf.Enum ? "enum" : field.type,
                options: field.parsedOptions ?? [],
            }))
            .sort((one, other) => one.number - other.number);
        for (const field of this.fields) {
            field.wire = field.message ? BYTES : SCALARS[field.kind];
            field.packed = field.repeated && field.wire !== BYTES;
        }
        this.byNumber = new Map(this.fields.map((field) => [field.number, field]));
    }
    empty() {
        const value = {};
        for (const field of this.fields)
            value[field.name] = field.repeated ? [] : field.presence ? undefined : zero(field.kind);
        return value;
    }
}
const zero = (kind) => (kind === "string" ? "" : kind === "bytes" ? Buffer.alloc(0) : kind === "bool" ? false : 0);
const isZero = (value) => (typeof value === "object" ? value.length === 0 : !value);

const schemas = new Map();
export function schema(name) {
    if (!schemas.has(name)) schemas.set(name, new Schema(root.lookupType(`ratatoskr.v1.${name}`)));
    return schemas.get(name);
}

// ---------------------------------------------------------------------------------------------------------- encoding

function varint(value) {
    let rest = BigInt.asUintN(64, BigInt(value));
    const bytes = [];
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    return Buffer.from(bytes);
}

function scalar(kind, value) {
    if (kind === "fixed64") {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64LE(BigInt(value));
        return bytes;
    }
    if (kind === "string" || kind === "bytes") {
        const bytes = Buffer.from(value);
        return Buffer.concat([varint(bytes.length), bytes]);
    }
    return varint(value);
}

/** The canonical encoding of a value: an object with the names of the schema. */
export function encode(name, value) {
    const parts = [];
    const put = (field, wire, bytes) => parts.push(varint(field.number * 8 + wire), bytes);
    const framed = (bytes) => Buffer.concat([varint(bytes.length), bytes]);
    for (const field of schema(name).fields) {
        const given = value[field.name];
        if (given === undefined) continue;
        if (field.packed) {
            if (given.length) put(field, BYTES, framed(Buffer.concat(given.map((one) => scalar(field.kind, one)))));
        } else
            for (const one of field.repeated ? given : [given])
                if (field.message) put(field, BYTES, framed(encode(field.message, one)));
                else if (field.repeated || field.presence || !isZero(one))
                    put(field, field.wire, scalar(field.kind, one));
    }
    return Buffer.concat(parts);
}

// ---------------------------------------------------------------------------------------------------------- decoding

class Reader {
    constructor(bytes) {
        this.bytes = bytes;
        this.at = 0;
    }
    get more() {
        return this.at < this.bytes.length;
    }
    varint(longest = 10) {
        let value = 0n;
        for (let shift = 0n; shift < 7n * BigInt(longest); shift += 7n) {
            if (!this.more) throw new Malformed("a varint is cut short");
            const byte = this.bytes[this.at++];
            value |= BigInt(byte & 127) << shift;
            if (byte < 128) return BigInt.asUintN(64, value);
        }
        throw new Malformed(`a varint of more than ${longest} bytes`);
    }
    take(length) {
        if (length > this.bytes.length - this.at) throw new Malformed("a length beyond the end");
        const start = this.at;
        this.at += Number(length);
        return this.bytes.subarray(start, this.at);
    }
    tag() {
        const tag = this.varint(5);
        const number = tag >> 3n;
        if (number === 0n || number > 536870911n) throw new Malformed("no such field number");
        return [Number(number), Number(tag & 7n)];
    }
    /** The raw value of one wire type: a BigInt, or bytes. */
    raw(wire, number, depth) {
        if (wire === VARINT) return this.varint();
        if (wire === FIXED64) return this.take(8);
        if (wire === BYTES) return this.take(this.varint(5));
        if (wire === FIXED32) return this.take(4);
        if (wire !== 3 || depth === 0) throw new Malformed("no such wire type");
        for (;;) {
            const [inner, kind] = this.tag();
            if (kind === 4 && inner === number) return undefined;
            if (kind === 4) throw new Malformed("the end of another group");
            this.raw(kind, inner, depth - 1);
        }
    }
}

const plain = (value) =>
    value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;

function understand(kind, raw) {
    if (kind === "bool") return raw !== 0n;
    if (kind === "uint32") return Number(BigInt.asUintN(32, raw));
    if (kind === "int32" || kind === "enum") return Number(BigInt.asIntN(32, raw));
    if (kind === "int64") return plain(BigInt.asIntN(64, raw));
    if (kind === "uint64") return plain(raw);
    if (kind === "fixed64") return plain(raw.readBigUInt64LE());
    if (kind === "bytes") return raw;
    try {
        return utf8.decode(raw);
    } catch {
        throw new Malformed("a text that is not UTF-8");
    }
}

/** What a parser reads: unknown fields dropped, the last of several wins, messages inside are merged. */
export function decode(name, bytes, into = undefined, depth = 100) {
    if (depth === 0) throw new Malformed("too deep");
    const { byNumber } = schema(name);
    const value = into ?? schema(name).empty();
    const reader = new Reader(bytes);
    while (reader.more) {
        const [number, wire] = reader.tag();
        const raw = reader.raw(wire, number, depth);
        const field = byNumber.get(number);
        if (!field) continue;
        if (field.packed && wire === BYTES) {
            const inner = new Reader(raw);
            while (inner.more) value[field.name].push(understand(field.kind, inner.raw(field.wire, number, depth)));
            continue;
        }
        if (wire !== field.wire) continue; // counts as a field that is not known
        if (field.oneof) for (const other of field.oneof) if (other !== field.name) value[other] = undefined;
        if (field.message && field.repeated) value[field.name].push(decode(field.message, raw, undefined, depth - 1));
        else if (field.message) value[field.name] = decode(field.message, raw, value[field.name], depth - 1);
        else if (field.repeated) value[field.name].push(understand(field.kind, raw));
        else value[field.name] = understand(field.kind, raw);
    }
    return value;
}

export const isCanonical = (name, bytes, value = decode(name, bytes)) => encode(name, value).equals(bytes);

/** limits.md, "Counting fields": false where the encoding has more than `budget` fields, or is too deep. */
export function countFields(name, bytes, budget) {
    const left = { fields: budget };
    const walk = (of, part, depth) => {
        if (depth === 0) return false;
        const reader = new Reader(part);
        while (reader.more) {
            const [number, wire] = reader.tag();
            if (--left.fields < 0 || ![VARINT, FIXED64, BYTES, FIXED32].includes(wire)) return false;
            const raw = reader.raw(wire, number, 1);
            const field = wire === BYTES ? schema(of).byNumber.get(number) : undefined;
            if (field?.packed && (left.fields -= raw.length) < 0) return false;
            if (field?.message && !walk(field.message, raw, depth - 1)) return false;
        }
        return true;
    };
    try {
        return walk(name, bytes, 16);
    } catch (error) {
        if (error instanceof Malformed) return true; // what is cut short is left to the parser
        throw error;
    }
}
