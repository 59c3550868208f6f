// The small server of the tests, honest, behind WebSocket, for clients of others: `node serve.js dev`.
import { once } from "node:events";
import path from "node:path";
import { WebSocketServer, createWebSocketStream } from "ws";
import { loadIdentity, loadRoots } from "./client/certificates.js";
import { Server } from "./server.js";

const [folder] = process.argv.slice(2);
const identity = loadIdentity(path.join(folder, "server.key"));
const server = new Server({ identity, trust: { roots: loadRoots(path.join(folder, "roots.pem")) } });
const listener = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: false,
  maxPayload: 65536,
  handleProtocols: (offered) => offered.has("ratatoskr.v1") && "ratatoskr.v1",
});
listener.on("connection", (socket) => server.serve(createWebSocketStream(socket)));
await once(listener, "listening");
console.log(`ws://localhost:${listener.address().port}`);
