"""Chromium for the browser tests, and what they all do with a page; pictures go to build/pictures."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PICTURES = Path(__file__).parents[2] / "build" / "pictures"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


# Of a module: while Playwright runs, no other test of the process could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("HEADWATER_REQUIRE_BROWSER"):
            pytest.fail("no Chromium was found; install it with: apt-get install chromium")
        pytest.skip("no Chromium was found; the browser tests were not run (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(parents=True, exist_ok=True)
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A tab on a desktop."""
    yield from _tab(browser, 1280, 1000)


@pytest.fixture
def telephone(browser: Any) -> Iterator[Any]:
    """A tab on a telephone, narrow from its start."""
    yield from _tab(browser, 400, 900)


def _tab(browser: Any, width: int, height: int) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": width, "height": height})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


class Screen:
    """A running dashboard in the browser: `visit` a page of it, `keep` a picture of what it shows."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name

    def visit(self, page: Any, name: str = "", query: str = "") -> None:
        page.goto(f"{self.url}/{name}{query}")
        page.get_by_role("heading", level=1).wait_for()
        self.settle(page)

    def settle(self, page: Any) -> None:
        """Until Streamlit has finished its run."""
        page.wait_for_timeout(400)
        page.wait_for_function("!document.querySelector('[data-testid=\"stStatusWidget\"]')")
        page.wait_for_timeout(300)

    def keep(self, page: Any, name: str) -> None:
        page.screenshot(path=str(PICTURES / f"{self.name}-{name}.png"))

    def fits(self, page: Any) -> bool:
        """Whether nothing sticks out at the side, and nothing lies over the page's title."""
        page.get_by_role("heading", level=1).wait_for()
        # With a field for chat at its foot Streamlit names the page's body otherwise.
        body = '[data-testid="stMain"], [data-testid="stAppScrollToBottomContainer"]'
        wide = page.locator(body).first.evaluate("body => body.scrollWidth")
        title = page.get_by_role("heading", level=1).bounding_box()
        on_top = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y)?.closest('h1') !== null",
            [title["x"] + 8, title["y"] + title["height"] / 2],
        )
        return bool(wide <= page.viewport_size["width"] and on_top)


@pytest.fixture(scope="module")
def screen() -> Callable[[str, str], Screen]:
    """`screen(url, name)`: the dashboard there, whose pictures begin with `name`."""
    return Screen
