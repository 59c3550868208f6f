// The half of a call that asks, how calls end, and budgets: session.md, "Calls"; limits.md, "Budgets".
import { must } from "./common.js";
import { DISPOSITION, STATUS } from "./messages.js";

const DEFAULT_TIMEOUT_MS = 30000;
const DEFAULT_CREDIT = 16;

/** How a call ended without an answer: the error, as envelopes.md has it. */
export class CallError extends Error {
    constructor(error) {
        super(`${error.reason}: ${error.message}`);
        this.error = error;
    }
}
export const failure = (code, reason, disposition, message = "", more = {}) => ({
    code,
    reason,
    message,
    disposition,
    retry_delay_ms: 0,
    violations: [],
    ...more,
});

export const goingAway = () => failure(STATUS.UNAVAILABLE, "GOING_AWAY", DISPOSITION.NOT_PROCESSED);

/** Secrets stand in no representation: security.md, "What an implementation must see to", 2. */
export function hidden(object, fields) {
    for (const [name, value] of Object.entries(fields)) Object.defineProperty(object, name, { value, writable: true });
    return object;
}

/** limits.md, "Budgets". */
export class Budget {
    constructor(perSecond, burst, rule) {
        Object.assign(this, { perSecond, burst, rule, tokens: burst, at: undefined });
    }
    charge(now) {
        if (this.at !== undefined)
            this.tokens = Math.max(
                this.tokens,
                Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.perSecond),
            );
        this.at = now;
        must(this.tokens >= 1, this.rule);
        this.tokens -= 1;
    }
}

/** The half of a call that asks: states OPEN, CANCELLED, GIVEN_UP and DONE of session.md, "Calls". */
export class Call {
    constructor(kind, envelope, { now, timeoutMs = DEFAULT_TIMEOUT_MS, credit = 0 }) {
        credit ||= DEFAULT_CREDIT; // a hop that says nothing, or 0, says 16
        Object.assign(this, { kind, envelope, credit, began: credit, told: credit, items: 0, given: 0 });
        this.deadline = now + timeoutMs;
        this.events = []; // items and the outcome, for whoever reads the stream
        this.wake = () => {};
        this.outcome = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
        this.outcome.catch(() => {}); // whoever awaits it sees it
    }
    emit(event) {
        this.events.push(event);
        this.wake();
    }
    settle(answer, error) {
        if (this.settled) return;
        this.settled = true;
        if (error) this.reject(new CallError(error));
        else this.resolve(answer);
        this.emit({ end: true, answer, error });
    }
    /** Items of the stream one after the other; credit is granted as they are read. */
    async *[Symbol.asyncIterator]() {
        try {
            for (;;) {
                while (!this.events.length) await new Promise((resolve) => (this.wake = resolve));
                const event = this.events.shift();
                if (event.end && event.error) throw new CallError(event.error);
                if (event.end && event.answer?.message) yield event.answer;
                if (event.end) return;
                yield event.item;
                this.given += 1;
                this.session.grant(this, this.given + this.began);
            }
        } finally {
            if (!this.settled) this.session.cancel(this);
        }
    }
}
