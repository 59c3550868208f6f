// Going on over another transport: resume.md.
import crypto from "node:crypto";
import { ZERO, ascii, hmac, must } from "./common.js";

/** "Proofs". R is of the session's first handshake, h of the new one. */
export const clientProof = (secret, h) => hmac(secret, ascii("ratatoskr-v1 resume-client"), ZERO, h);
export const serverProof = (secret, h) => hmac(secret, ascii("ratatoskr-v1 resume-server"), ZERO, h);

const equal = (one, other) => one.length === other.length && crypto.timingSafeEqual(one, other);

/** "Positions": what an end says of itself. */
export const positionsOf = (session) => ({
    received: { number: session.in.number, chain: session.in.chain, sealed: session.in.sealed },
    sent: { number: session.out.number, chain: session.out.chain, sealed: session.out.sealed },
});

/** What an end holds, to judge the positions of the other. */
export const heldBy = (session) => ({
    chain: new Map([
        [session.out.acked, session.out.ackedChain],
        ...session.out.kept.map((one) => [one.number, one.chain]),
    ]),
    received: session.in.number,
    receivedChain: session.in.chain,
    spanMessages: session.limits.span_messages,
});

/** "Positions that agree": the number of the first of the five that does not hold, 0 where all do. */
export function brokenPosition({ chain, received, receivedChain, spanMessages }, peer) {
    const known = chain.get(peer.received.number);
    if (!known) return 1;
    if (!known.equals(peer.received.chain)) return 2;
    if (peer.received.number - peer.received.sealed > spanMessages) return 3;
    if (peer.sent.number < received) return 4;
    if (peer.sent.number === received && !peer.sent.chain.equals(receivedChain)) return 5;
    return 0;
}

/** "The client asks", 2: whether the server is the one that the session was with. */
export const sameParty = (one, other) =>
    one.tenant === other.tenant &&
    one.role === other.role &&
    one.subject === other.subject &&
    one.kid.equals(other.kid);

/** "The client asks", 3 and 4. */
export function writeResume(session, h) {
    session.attempt += 1;
    return {
        session_id: session.id,
        attempt: session.attempt,
        ...positionsOf(session),
        proof: clientProof(session.secret, h),
    };
}

/** "The client goes on", 2 to 4. */
export function checkResumed(held, secret, h, resumed) {
    must(equal(resumed.proof, serverProof(secret, h)), "resume.proof");
    const broken = brokenPosition(held, resumed);
    must(broken === 0, "resume.positions", `position ${broken}`);
}

/** "Sending again" and "Saying again": the session is on a new transport. `now` is when. */
export function goOn(session, peer, now) {
    const { out } = session;
    session.newTransport();
    session.sentHere = Math.max(out.acked, peer.received.number);
    out.sealed = peer.received.sealed;
    session.resend = out.kept.filter((one) => one.number > peer.received.number);
    out.unsealedAt = out.sealed < out.number ? (out.unsealedAt ?? now) : undefined;
    session.sealNow = !session.resend.length && out.sealed < peer.received.number;
    if (session.in.span.length) session.in.spanAt = now; // SPAN begins anew
    session.controls.goAway = session.said.goAway;
    for (const call of session.calls.values()) {
        if (call.cancelled || call.settled) session.controls.cancels.add(call.number);
        const again = call.number > peer.received.number; // its hop has said the credit
        call.itemsAtGrant = undefined; // a Grant goes out even though no item has come
        if (call.kind.stream && call.told > call.began && !again && !call.settled && !call.cancelled)
            session.controls.grants.set(
                call.number,
                Math.max(call.told, session.controls.grants.get(call.number) ?? 0),
            );
    }
    session.budgets.controls.tokens += 3;
    session.freeGrants += session.theirs.size;
}

/** A server's side of it, for tests: "The server judges". */
export function judgeResume(known, { client, serverKid, h, resume }) {
    const proved = known && equal(resume.proof, clientProof(known.secret, h)) && resume.session_id.equals(known.id);
    if (!proved || !sameParty(client, known.client) || !serverKid.equals(known.ownKid)) return "UNKNOWN";
    if (resume.attempt <= known.attempt) return "RESUME_STALE";
    return brokenPosition(known.held, resume) ? "SESSION_DIVERGED" : "GRANTED";
}
