"""The documentation site: built once, without a warning, then read as a browser would, with no network."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT
from tests.unit.test_architecture import PUBLIC
from tools import docs
from tools.site import links, names, references, wire

pytestmark = pytest.mark.timeout(400)

LOADED = {"img": "src", "link": "href", "script": "src", "iframe": "src", "source": "src", "video": "src"}
"""What a browser fetches by itself, by element."""
NOT_FETCHED = {"canonical", "index", "next", "prev", "search"}
_CSS = re.compile(r"(?:url\(\s*|@import\s+(?!url))[\"']?([^\"')\s;]+)")


class Page(HTMLParser):
    """What a page has: ids, links, what it loads, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag == "a" and found.get("href"):
            self.links.add(found["href"] or "")
        if found.get(LOADED.get(tag, "")) and found.get("rel") not in NOT_FETCHED:
            self.loaded.add(found[LOADED[tag]] or "")
        self.loaded.update(_CSS.findall(found.get("style") or ""))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by the command of tox.ini."""
    output = tmp_path_factory.mktemp("site") / "html"
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    _, *command, _ = tox["testenv:docs"]["commands"].split()
    built = subprocess.run(
        [sys.executable, *command, output],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=360,
    )
    assert (built.returncode, built.stderr) == (0, ""), built.stderr
    return output


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site."""
    return {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_of_the_project_is_a_page_of_the_site(site: Path) -> None:
    sources = [page.relative_to(ROOT / "docs") for page in docs.pages() if page.is_relative_to(ROOT / "docs")]
    assert sources
    assert [page for page in sources if not (site / page).with_suffix(".html").is_file()] == []


def test_every_page_can_be_reached_from_the_first(site: Path, pages: dict[Path, Page]) -> None:
    """But the page of results, which the form on each page leads to."""
    reached, new = set[Path](), {(site / "index.html").resolve()}
    while new:
        page = new.pop()
        reached.add(page)
        targets = {(page.parent / unquote(urlsplit(link).path)).resolve() for link in pages[page].links}
        new |= (targets & pages.keys()) - reached
    assert {page.name for page in pages.keys() - reached} == {"search.html"}


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    broken = []
    for page in pages.values():
        for link in page.links:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = (page.path.parent / unquote(target.path)).resolve() if target.path else page.path.resolve()
            if not path.is_file() or (
                path in pages and target.fragment and unquote(target.fragment) not in pages[path].ids
            ):
                broken.append(f"{page.path.name}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {(page.path.name, each) for page in pages.values() for each in page.loaded}
    loaded |= {(path.name, each) for path in site.rglob("*.css") for each in _CSS.findall(path.read_text("utf-8"))}
    assert len(loaded) > len(pages)
    assert [(name, each) for name, each in loaded if urlsplit(each).netloc or each.startswith("//")] == []


def test_what_a_browser_would_load_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="https://fonts.example/a.css"><script src="//cdn.example/b.js"></script>'
        '<p style="background: url(https://c.example/c.png)"><img src="d.png"><a href="https://e.example">e</a>'
    )
    loaded = Page(page).loaded
    assert loaded == {"https://fonts.example/a.css", "//cdn.example/b.js", "https://c.example/c.png", "d.png"}
    style = '@import url("//f.example/f.css"); @import "//g.example/g.css"; a { background: url( h.png ) }'
    assert _CSS.findall(style) == ["//f.example/f.css", "//g.example/g.css", "h.png"]


def test_no_markup_is_left(pages: dict[Path, Page]) -> None:
    markup = re.compile(r":[a-z]+:`|``|\.\. [a-z-]+::|^:(?:param|returns?|raises)\b", re.MULTILINE)
    assert [(page.path.name, found) for page in pages.values() for found in markup.findall(page.text)] == []


def test_the_public_packages_are_those_that_adapters_may_import_and_the_adapters() -> None:
    adapters = {
        path.parent.name for path in ROOT.glob("adapters/*/__init__.py") if "__all__" in path.read_text("utf-8")
    }
    assert set(names.PACKAGES) == PUBLIC | adapters


@pytest.mark.parametrize("package", names.PACKAGES)
def test_every_public_name_is_in_the_reference(package: str, site: Path, pages: dict[Path, Page]) -> None:
    page = pages[(site / f"api/{package}.html").resolve()]
    assert names.public(package)
    assert [name for name in names.public(package) if f"{package}.{name}" not in page.ids] == []


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("ratatoskr", "An opaque handle of one request."),
        ("ratatoskr", "Event = ConnectionRequested | Opened"),
        ("ratatoskr.service", "Asks the peer of one link."),
        ("ratatoskr.v1", "Reserves an amount on the debtor's account."),
        ("ratatoskr_stores", "This is ratatoskr.service.MemoryStore."),
        ("ratatoskr_websockets", "wait for the next line within their time"),
    ],
)
def test_the_reference_says_what_the_code_does(package: str, said: str, site: Path, pages: dict[Path, Page]) -> None:
    text = " ".join(pages[(site / f"api/{package}.html").resolve()].text.split())
    assert said in text


def test_the_start_is_the_readmes(site: Path, pages: dict[Path, Page]) -> None:
    text = pages[(site / "start.html").resolve()].text
    assert (ROOT / "examples/server.py").read_text(encoding="utf-8").strip() in text
    assert "How it is built" not in pages[(site / "start.html").resolve()].ids


@pytest.mark.parametrize(
    ("dotted", "documented"),
    [
        ("ratatoskr.connection.connection.Connection", "ratatoskr.Connection"),
        ("ratatoskr.identity.TrustPolicy.judge", "ratatoskr.TrustPolicy.judge"),
        ("ratatoskr_websockets.Peer", "ratatoskr.lines.Peer"),
        ("ratatoskr.identity.signed_input", "ratatoskr.identity.signed_input"),
    ],
)
def test_a_name_of_the_code_is_documented_under_a_public_one(dotted: str, documented: str) -> None:
    assert names.documented(dotted) == documented


def test_a_name_that_the_code_does_not_have_means_nothing() -> None:
    assert list(references.meant("NoSuchName", "ratatoskr.Connection")) == []
    assert "ratatoskr.service.Outbox.post" in references.meant("post", "ratatoskr_stores.SqliteOutbox")


def test_pages_beside_the_documentation_exist() -> None:
    assert [name for name in links.PAGES if not (ROOT / f"{name}.md").is_file()] == []


def test_the_wire_has_every_message_of_its_package() -> None:
    assert set(names.public("ratatoskr.v1")) <= wire.of_package("ratatoskr.v1").keys()
    assert wire.of_package("ratatoskr.service") == {}
