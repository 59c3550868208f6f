// Every file of vectors, verified: docs/spec/vectors.md says what is in them.
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { agree, readHello, readRequest, readResponse } from "./client/admission.js";
import {
  checkExchangeKey, checkSigningKey, judgeChain, kidOf, readCertificate, readCertificateRequest, verifySignature,
} from "./client/certificates.js";
import { chainNext, chainStart, entryOf, leafOf, makeSeal, sealHolds, sealMessage } from "./client/chain.js";
import { Refused, ed25519Public, hex, unhex, x25519Public } from "./client/common.js";
import { KINDS, digestOf, nonceOf } from "./client/messages.js";
import { Initiator, Responder, verifyProof } from "./client/noise.js";
import { contradict, verifyReceipt } from "./client/receipts.js";
import { RecordCipher, RecordReader, readAlert } from "./client/records.js";
import { Malformed, decode, isCanonical } from "./client/wire.js";

const load = (name) =>
  JSON.parse(fs.readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
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
    }));
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
      ruleOf(() => new RecordCipher(named[cipher], unhex(key)).open(unhex(record)[0], unhex(record).subarray(4))));
  }
  for (const size of [1, 3, 100000])
    cases(vectors.streams, ({ stream, records }) => {
      const reader = new RecordReader((type) => vectors.longest[type.toString(16).padStart(2, "0")]);
      const found = [];
      const rule = ruleOf(() => {
        for (let at = 0; at < stream.length / 2; at += size) {
          reader.push(unhex(stream).subarray(at, at + size));
          for (let next; (next = reader.next()); ) found.push([next.type, hex(next.body)]);
        }
      });
      assert.deepEqual(found, records.map((one) => (Array.isArray(one) ? one : [one.type, one.body])));
      return rule;
    });
  cases(vectors.alerts, ({ body, code, reference }) =>
    ruleOf(() => assert.deepEqual(readAlert(unhex(body)), { code, reference })));
});

/** Both ends of a handshake in the vectors, with the secrets that stand there. */
function endsOf(one, [clientTrace, serverTrace] = []) {
  const [client, server] = [people[one.client], people[one.server]];
  return {
    initiator: new Initiator({
      suite: one.suite, serverName: one.server_name, staticSecret: unhex(client.exchange_private),
      ephemeral: unhex(one.client_ephemeral), kemSeed: one.kem_seed && unhex(one.kem_seed),
      trace: clientTrace,
    }),
    responder: new Responder({
      suites: [one.suite], staticSecret: unhex(server.exchange_private), ephemeral: unhex(one.server_ephemeral),
      kemResult: one.kem_seed && { cipherText: unhex(one.kem_ciphertext), sharedSecret: unhex(one.kem_shared) },
      trace: serverTrace,
    }),
  };
}

test("handshakes", () => {
  const vectors = load("handshakes");
  for (const one of vectors.handshakes) {
    const steps = [[], []];
    const note = (into) => (message, token, { h, ck, k, n }) =>
      into.push({ message, token, h: hex(h), ck: hex(ck), k: k ? hex(k) : "", n });
    const { initiator, responder } = endsOf(one, steps.map(note));
    const say = (end, label, body, by) => () => end.writePayload(label, unhex(body), unhex(people[by].signing_seed));
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
      for (const [name, value] of Object.entries({ ...named, client_key: keys.clientKey, server_key: keys.serverKey }))
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
    responder.writeM2(() => responder.writePayload("ratatoskr-v1 server-auth", unhex(one.b2),
      unhex(people.server.signing_seed)));
    return ruleOf(() => responder.readM3(unhex(sent)));
  });
  const { by, label, signatures } = vectors.proofs;
  const certificate = readCertificate(unhex(people[by].chain[0]));
  cases(signatures, ({ static: theirs, h, body, signature }) =>
    ruleOf(() =>
      verifyProof(certificate, label, {
        theirs: unhex(theirs), h: unhex(h), body: unhex(body), signature: unhex(signature),
      })));
});

test("admission", () => {
  const vectors = load("admission");
  cases(vectors.hellos, ({ bytes }) => ruleOf(() => readHello(unhex(bytes))));
  cases(vectors.requests, ({ bytes }) => ruleOf(() => readRequest(unhex(bytes))));
  cases(vectors.responses, ({ bytes }) => ruleOf(() => readResponse(unhex(bytes))));
  cases(vectors.limits, ({ own, announced, agreed }) =>
    ruleOf(() => assert.deepEqual(agree(own, announced), agreed)));
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
      sessionId, signer: unhex(signer.kid), recipient: unhex(recipient.kid), dir: one.direction, number: one.number,
      chain: unhex(one.chain), signedAtMs: one.signed_at_ms,
    };
    assert.equal(hex(sealMessage(place)), one.signed);
    assert.equal(hex(makeSeal(unhex(signer.signing_seed), place)), one.signature);
    assert.ok(sealHolds(unhex(signer.signing_public), place, unhex(one.signature)));
  }
});

test("receipts", () => {
  const { keys, receipts, contradictions } = load("receipts");
  cases(receipts, ({ bytes, zeros, key }) =>
    ruleOf(() => verifyReceipt(Buffer.concat([unhex(bytes), Buffer.alloc(zeros)]), unhex(keys[key]))));
  for (const { what, receipts: pair, contradict: expected } of contradictions)
    assert.equal(contradict(...pair.map(unhex)), expected, what);
});
