"""Items of a stream, line by line, and how they are counted."""

from __future__ import annotations

import asyncio
import json

import pytest
from google.protobuf.message import Message

from ratatoskr import MARKETPLACE_BROWSE, v1
from ratatoskr_cli.streams import Lines


@pytest.mark.parametrize(
    ("items", "so_far"),
    [
        ([], "0 items"),
        ([v1.Offer(title="t")], "1 item"),
        ([v1.Offer(title="t"), v1.Offer(title="t")], "2 items"),
        ([v1.OfferFound(found=1, total=3)], "1 of 3"),
        ([v1.OfferFound(found=1, total=3), v1.OfferFound(found=2, total=3)], "2 of 3"),
    ],
)
def test_items_are_counted_and_those_that_number_themselves_say_of_how_many(
    items: list[Message], so_far: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines(MARKETPLACE_BROWSE, wrapped=False)

    async def main() -> None:
        for item in items:
            await lines.item(item)

    asyncio.run(main())
    assert (lines.so_far, lines.count) == (so_far, len(items))
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == len(items)
