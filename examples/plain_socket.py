import math
import socket
import time
from collections.abc import Iterator
from select import select

from ratatoskr import (
    MARKETPLACE_SEARCH,
    Closed,
    Connection,
    Disconnect,
    Event,
    Now,
    Opened,
    ResponseReceived,
    Transmit,
    Wait,
    v1,
)
from ratatoskr_files import Config


def drive(connection: Connection, sock: socket.socket) -> Iterator[Event]:
    """Move bytes and time between a connection and a socket. Yields what happens; Closed comes last."""
    sock.setblocking(False)
    unsent = memoryview(b"")
    while True:
        match connection.poll(Now(time.monotonic(), time.time())):
            case Transmit(data):
                unsent = memoryview(data)
            case Disconnect():
                sock.close()
                connection.receive_eof()
            case Wait(until):
                timeout = None if until == math.inf else max(0.0, until - time.monotonic())
                readable, writable, _ = select([sock], [sock] if unsent else [], [], timeout)
                try:
                    if readable:
                        if data := sock.recv(65536):
                            connection.receive(data)
                        else:
                            connection.receive_eof()
                    if writable:
                        unsent = unsent[sock.send(unsent) :]
                        if not unsent:
                            connection.sent()
                except OSError as error:
                    connection.receive_eof(str(error))
            case event:
                yield event
                if isinstance(event, Closed):
                    sock.close()
                    return


def main() -> None:
    """Search, print what is found, and end the connection."""
    connection = Connection.client(Config.load("dev/device.toml"), server_name="localhost")
    for event in drive(connection, socket.create_connection(("localhost", 8766))):
        match event:
            case Opened(peer):
                print("connected to", peer.subject)
                connection.request(MARKETPLACE_SEARCH, v1.Search(query="seeds"))
            case ResponseReceived(message=v1.SearchResult(offers=offers)):
                print("found", len(offers), "offers")
                connection.close()
            case Closed():
                print("ended:", event.fault.name)


if __name__ == "__main__":
    main()
