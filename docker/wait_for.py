"""Waits until a TCP port answers, then becomes the command: wait_for.py HOST:PORT COMMAND [ARGUMENT...]."""

import os
import socket
import sys
import time

SECONDS = 30


def wait_for(host: str, port: int, seconds: float) -> bool:
    """True as soon as the port accepts a connection, False when none was accepted within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


if __name__ == "__main__":
    host, _, port = sys.argv[1].partition(":")
    if not wait_for(host, int(port), SECONDS):
        sys.exit(f"{sys.argv[1]} did not answer within {SECONDS} s")
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command is the caller's own
