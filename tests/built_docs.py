"""The guide as built, which `make docs` ends with: no dead link, nothing from elsewhere, fits a phone and a desktop."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

BUILT = Path(__file__).parents[1] / "docs" / "_build"
PAGES = sorted(page for page in BUILT.rglob("*.html") if "_static" not in page.parts)
CHROMIUM = Path("/usr/bin/chromium")
# What reaches beyond the right edge, and is in nothing that can be scrolled.
CUT_OFF = """() => {
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX)
    && element.tagName !== "MAIN" && !element.matches(".bd-content, .bd-article-container");
  const within = (element) => {
    for (let at = element.parentElement; at; at = at.parentElement) if (scrolls(at)) return true;
    return false;
  };
  return [...document.querySelectorAll("article *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !within(element))
    .map((element) => `${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
}"""


class Links(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.anchors = [], {"", "top"}
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.append(unquote(value))
            elif name in ("id", "name"):
                self.anchors.add(value)


@pytest.fixture(scope="module")
def links():
    return {page: Links(page) for page in PAGES}


def test_no_link_is_dead(links):
    assert PAGES
    dead = []
    for page, found in links.items():
        for target in found.targets:
            path, _, anchor = target.partition("#")
            file = (page.parent / path.partition("?")[0]).resolve() if path else page
            if (
                re.match(r"[a-z]+:|//", target)
                or not file.is_file()
                or (file in links and anchor not in links[file].anchors)
            ):
                dead.append(f"{page.relative_to(BUILT)}: {target}")
    assert not dead


def test_pages_fit_and_are_silent():
    """At a phone's width and at a desktop's, without a warning or a request to another host."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    complaints = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
        )
        for page in PAGES:
            tab.goto(page.as_uri())
            for width in (390, 1280):
                tab.set_viewport_size({"width": width, "height": 900})
                cut_off = tab.evaluate(CUT_OFF)
                if cut_off or tab.evaluate("document.documentElement.scrollWidth") > width:
                    complaints.append(f"{page.relative_to(BUILT)} is wider than {width}: {cut_off[:2]}")
        browser.close()
    assert complaints == []
