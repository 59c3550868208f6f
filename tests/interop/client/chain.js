// Hashing and signing everything that one end says: chain.md.
import { SPACES, ZERO, ascii, ed25519Sign, sha256, u64, u8 } from "./common.js";
import { verifySignature } from "./certificates.js";

export const FROM_CLIENT = 0;
export const FROM_SERVER = 1;

export const entryOf = (sessionId, dir, number, envelope) => Buffer.concat([sessionId, u8(dir), u64(number), envelope]);
export const leafOf = (sessionId, dir, number, envelope) => sha256(ZERO, entryOf(sessionId, dir, number, envelope));
export const chainStart = (sessionId, dir) => sha256(ascii("ratatoskr-v1 chain"), ZERO, sessionId, u8(dir));
export const chainNext = (chain, leaf) => sha256(u8(2), chain, leaf);

/** What a seal signs, 228 bytes. */
export const sealMessage = ({ sessionId, signer, recipient, dir, number, chain, signedAtMs }) =>
    Buffer.concat([
        SPACES,
        ascii("ratatoskr-v1 seal"),
        ZERO,
        u8(1),
        sessionId,
        signer,
        recipient,
        u8(dir),
        u64(number),
        chain,
        u64(signedAtMs),
    ]);
export const makeSeal = (seed, place) => ed25519Sign(seed, sealMessage(place));
export const sealHolds = (key, place, signature) => verifySignature(key, sealMessage(place), signature);
