// Two helpers on the way to a server: one that cuts a line when it is told to, and one that ends TLS.
import crypto from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { once } from "node:events";

async function listen(server) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server.address().port;
}

function pipe(socket, port, connections) {
    const upstream = net.connect(port, "127.0.0.1");
    const line = { socket, upstream };
    connections.add(line);
    const drop = () => {
        connections.delete(line);
        socket.destroy();
        upstream.destroy();
    };
    for (const end of [socket, upstream]) end.on("error", drop).on("close", drop);
    socket.on("data", (chunk) => upstream.write(chunk));
    upstream.on("data", (chunk) => (line.cutting ? drop() : socket.write(chunk)));
    return line;
}

/** Hands bytes on to `port`. After cutAtNextAnswer() the first that the server says does not arrive: the line is cut. */
export async function cuttingProxy(port) {
    const connections = new Set();
    const server = net.createServer((socket) => pipe(socket, port, connections));
    return {
        port: await listen(server),
        cutAtNextAnswer: () => connections.forEach((line) => (line.cutting = true)),
        close: () => {
            server.close();
            for (const { socket, upstream } of connections) [socket, upstream].forEach((end) => end.destroy());
        },
    };
}

/** TLS for `localhost` in front of `port`, under a certificate that is made for it and shown as `ca`. */
export async function tlsProxy(port) {
    const { key, certificate } = selfSigned("localhost");
    const connections = new Set();
    const server = tls.createServer({ key, cert: certificate }, (socket) => pipe(socket, port, connections));
    return {
        port: await listen(server),
        ca: certificate,
        close: () => {
            server.close();
            for (const { socket, upstream } of connections) [socket, upstream].forEach((end) => end.destroy());
        },
    };
}

/** The least X.509 certificate that a TLS client believes, by an Ed25519 key: the platform makes none. */
function selfSigned(host) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync("ed25519");
    const der = (tag, ...parts) => {
        const body = Buffer.concat(parts);
        const size = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255];
        return Buffer.concat([Buffer.from([tag, ...size]), body]);
    };
    const seq = (...parts) => der(0x30, ...parts);
    const oid = (...bytes) => der(0x06, Buffer.from(bytes));
    const time = (at) =>
        der(
            0x17,
            Buffer.from(
                at
                    .toISOString()
                    .replace(/\.\d+|[-:T]/g, "")
                    .slice(2),
            ),
        );
    const algorithm = seq(oid(0x2b, 0x65, 0x70));
    const name = seq(der(0x31, seq(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(host)))));
    const names = seq(der(0x82, Buffer.from(host)));
    const day = 86400000;
    const body = seq(
        der(0xa0, der(0x02, Buffer.from([2]))),
        der(0x02, Buffer.from([1])),
        algorithm,
        name,
        seq(time(new Date(Date.now() - day)), time(new Date(Date.now() + day))),
        name,
        publicKey.export({ format: "der", type: "spki" }),
        der(0xa3, seq(seq(oid(0x55, 0x1d, 0x11), der(0x04, names)))),
    );
    const signature = der(0x03, Buffer.from([0]), crypto.sign(null, body, privateKey));
    const base64 = seq(body, algorithm, signature).toString("base64").replace(/.{64}/g, "$&\n");
    return {
        key: privateKey.export({ format: "pem", type: "pkcs8" }),
        certificate: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    };
}
