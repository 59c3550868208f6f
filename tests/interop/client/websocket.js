// WebSocket: transports.md.
import { EventEmitter, once } from "node:events";
import WebSocket from "ws";

const SUBPROTOCOL = "ratatoskr.v1";
const LONGEST_MESSAGE = 65536;
const BURST = 20; // control frames and empty data frames, and half of that in a second
const RATE = 10;

/** The code must be one that may be sent; a reason has at most 123 bytes. */
export async function overWebSocket(url, options = {}) {
    const socket = new WebSocket(url, [SUBPROTOCOL], {
        perMessageDeflate: false,
        maxPayload: LONGEST_MESSAGE,
        followRedirects: false,
        ...options,
    });
    await once(socket, "open"); // an error where the server does not select the subprotocol
    const transport = new EventEmitter();
    let tokens = BURST;
    let at = Date.now();
    const charge = () => {
        const now = Date.now();
        tokens = Math.min(BURST, tokens + ((now - at) / 1000) * RATE) - 1;
        at = now;
        if (tokens < 0) socket.terminate();
    };
    socket.on("ping", charge);
    socket.on("pong", charge);
    socket.on("message", (data, isBinary) => {
        if (!isBinary) return socket.close(1003);
        if (!data.length) charge();
        transport.emit("data", data);
    });
    socket.on("error", () => {});
    socket.on("close", (code, reason) => transport.emit("end", code, String(reason)));
    transport.write = (bytes) => {
        if (socket.readyState !== WebSocket.OPEN) return;
        for (let start = 0; start < bytes.length; start += LONGEST_MESSAGE)
            socket.send(bytes.subarray(start, start + LONGEST_MESSAGE));
    };
    transport.close = (code, reason) => socket.close(code, reason);
    transport.cut = () => socket.terminate();
    return transport;
}
