// The stream is the stream of the transport: transports.md, "TCP, TLS, Unix sockets, pipes".
import { EventEmitter } from "node:events";

export function overSocket(socket) {
    const transport = new EventEmitter();
    transport.write = (bytes) => socket.writable && socket.write(bytes);
    transport.close = () => socket.end();
    transport.cut = () => socket.destroy();
    socket.on("data", (chunk) => transport.emit("data", chunk));
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
    socket.on("close", () => transport.emit("end"));
    return transport;
}
