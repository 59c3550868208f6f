"""A line that is cut at any write changes nothing that is told: every outcome is the one of the line that is whole."""

from __future__ import annotations

from functools import cache

import pytest

from tests.scenarios.core.cutting import PLACES, Cut, Story

ENDS = ("client", "server")


@cache
def whole() -> Story:
    """Nothing is cut."""
    return Story([]).live()


def check(*cuts: Cut) -> Story:
    """All is told as over a line that is whole. Returns the story."""
    story, told = Story(list(cuts)), ", then ".join(map(str, cuts))
    try:
        story.live()
    except Exception as error:
        raise AssertionError(f"cut {told}") from error
    assert story.told == whole().told, told
    assert sorted(story.heard) == sorted(whole().heard), f"cut {told}: each request is told once"
    return story


def test_the_story_has_all_that_is_cut() -> None:
    story = whole()
    assert len(story.told) == 18
    assert len(story.told["feed"][2]) == 8
    assert len(story.told["tick"][2]) == 2
    assert all(10 < writes < 40 for writes in story.writes.values())
    assert story.opened == [False]


@pytest.mark.parametrize("noticed", [True, False], ids=["both ends notice", "only the client notices"])
@pytest.mark.parametrize("by", ENDS)
def test_a_line_is_cut_at_any_write(by: str, noticed: bool) -> None:
    for at in range(whole().writes[by]):
        for place in PLACES:
            story = check(Cut(by, at, place, noticed))
            assert story.opened in ([False, True], [False]), "the session goes on, or it was over"


FIRST = [
    Cut("client", 0, "before", noticed=True),
    Cut("server", 1, "in the middle", noticed=False),
    Cut("client", 4, "behind", noticed=True),
    Cut("server", 7, "before", noticed=False),
]
"""What is sent again then: the first requests; their answers; items; nearly nothing."""
HANDSHAKE = 2
"""Writes of each end, the first of its session with it."""


@pytest.mark.parametrize("noticed", [True, False], ids=["both ends notice", "only the client notices"])
@pytest.mark.parametrize("by", ENDS)
def test_the_next_line_is_cut_too(by: str, noticed: bool) -> None:
    """In its handshake, and while what was lost is sent again."""
    for first in FIRST:
        for at in range(8):
            for place in PLACES if at < HANDSHAKE else ("before", "in the middle"):
                story = check(first, Cut(by, at, place, noticed))
                assert story.opened.count(False) == 1, "no other session began"
