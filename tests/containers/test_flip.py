"""The tamper check's proxy changes one bit where it is told to, and nothing else."""

import asyncio
import functools

import pytest

from docker.flip import Flip, forward

HEAD = b"GET / HTTP/1.1\r\nHost: yggdrasil\r\n\r\n"
BODY = bytes(range(100))


def changed(offset: int) -> bytes:
    return HEAD + BODY[:offset] + bytes([BODY[offset] ^ 1]) + BODY[offset + 1 :]


@pytest.mark.parametrize("size", [1, 3, len(HEAD) - 2, len(HEAD), len(HEAD) + 1, 1000])
@pytest.mark.parametrize(
    ("offset", "expected"),
    [(None, HEAD + BODY), (0, changed(0)), (50, changed(50)), (99, changed(99)), (100, HEAD + BODY)],
)
def test_one_bit_after_the_upgrade_changes_in_any_chunking(size: int, offset: int | None, expected: bytes) -> None:
    flip = Flip(offset)
    sent = HEAD + BODY
    forwarded = [flip.feed(sent[start : start + size]) for start in range(0, len(sent), size)]
    assert b"".join(forwarded) == expected
    assert flip.done == (expected != sent)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ({}, HEAD + BODY),
        ({"up": 7}, changed(7)),
        ({"down": 7}, changed(7)),
        ({"up": 7, "down": 7}, HEAD + BODY),
    ],
)
def test_each_direction_has_its_own_place(offsets: dict[str, int], expected: bytes) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()

    async def through_the_proxy() -> bytes:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as far:
            target = far.sockets[0].getsockname()
            async with await asyncio.start_server(functools.partial(forward, target, offsets), "127.0.0.1", 0) as near:
                reader, writer = await asyncio.open_connection(*near.sockets[0].getsockname())
                writer.write(HEAD + BODY)
                writer.write_eof()
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                return answer

    assert asyncio.run(through_the_proxy()) == expected
