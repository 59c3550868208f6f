// Proof for third parties: receipts.md. Needs a public key, and nothing else.
import { Refused, must } from "./common.js";
import { kidOf } from "./certificates.js";
import { chainNext, leafOf, sealHolds } from "./chain.js";
import { Malformed, countFields, decode, encode, isCanonical } from "./wire.js";

const LONGEST = 1056734;
const LONGEST_ENVELOPE = 1047552;

/** "Making one": of a message that was received, with the seal over its span. */
export const makeReceipt = ({ sessionId, dir, number, envelope, previous, following, signer, recipient, seal }) =>
    encode("Receipt", {
        version: 1,
        signature_suite: 1,
        session_id: sessionId,
        direction: dir,
        number,
        envelope,
        previous_chain: previous,
        following_leaves: following,
        signer,
        recipient,
        signed_at_ms: seal.signed_at_ms,
        signature: seal.signature,
    });

/** "Reading one". */
export function readReceipt(bytes) {
    must(bytes.length <= LONGEST, "receipt.length");
    let receipt;
    try {
        receipt = decode("Receipt", bytes);
    } catch (error) {
        throw error instanceof Malformed ? new Refused("receipt.malformed", error.message) : error;
    }
    must(isCanonical("Receipt", bytes, receipt), "receipt.canonical");
    const { number, envelope, following_leaves: leaves } = receipt;
    const hashes = [receipt.session_id, receipt.previous_chain, receipt.signer, receipt.recipient, ...leaves];
    const good =
        receipt.version === 1 &&
        receipt.signature_suite === 1 &&
        receipt.direction <= 1 &&
        number !== 0 &&
        BigInt(number) + BigInt(leaves.length) < 2n ** 64n &&
        envelope.length > 0 &&
        envelope.length <= LONGEST_ENVELOPE &&
        leaves.length <= 255 &&
        receipt.signature.length === 64 &&
        hashes.every((hash) => hash.length === 32);
    must(good, "receipt.field");
    return receipt;
}

/** "Verifying one", under a signing key that is trusted to be the signer's. */
export function verifyReceipt(bytes, signingKey) {
    const receipt = readReceipt(bytes);
    must(receipt.signature_suite === 1, "receipt.suite");
    must(receipt.signer.equals(kidOf(signingKey)), "receipt.signer");
    let chain = chainNext(receipt.previous_chain, receiptLeaf(receipt));
    for (const leaf of receipt.following_leaves) chain = chainNext(chain, leaf);
    const place = {
        sessionId: receipt.session_id,
        signer: receipt.signer,
        recipient: receipt.recipient,
        dir: receipt.direction,
        number: BigInt(receipt.number) + BigInt(receipt.following_leaves.length),
        chain,
        signedAtMs: receipt.signed_at_ms,
    };
    must(sealHolds(signingKey, place, receipt.signature), "receipt.signature");
    return receipt;
}

export const receiptLeaf = (receipt) => leafOf(receipt.session_id, receipt.direction, receipt.number, receipt.envelope);

/** "What it proves": the message inside. */
export function openReceipt(receipt) {
    const message = { 1: "RatatoskrRequest", 2: "RatatoskrResponse" }[receipt.envelope[0]];
    must(message, "receipt.envelope");
    const body = receipt.envelope.subarray(1);
    must(body.length <= 4096 || countFields(message, body, 16384), "receipt.envelope");
    try {
        return { message, value: decode(message, body) };
    } catch (error) {
        throw error instanceof Malformed ? new Refused("receipt.envelope", error.message) : error;
    }
}

/** Two good receipts that tell two stories about one place. */
export function contradict(one, other) {
    const [a, b] = [readReceipt(one), readReceipt(other)];
    const place = (r) =>
        [r.signer, r.session_id].map((part) => part.toString("hex")).join() + r.direction + "/" + r.number;
    const same = a.previous_chain.equals(b.previous_chain) && receiptLeaf(a).equals(receiptLeaf(b));
    return place(a) === place(b) && !same;
}
