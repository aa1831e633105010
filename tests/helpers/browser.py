"""A real Chromium, and actions on the page in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",  # Chromium has no sandbox when run as root
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


# The page's Content-Security-Policy forbids wait_for_function.
SHOWN_TIME = """async video => {
    while (video.readyState < 2 || video.seeking) await new Promise(done => setTimeout(done, 20));
    return video.currentTime;
}"""
"""Returns the current time of a video once it shows a frame."""

DROP_OR_PASTE = """([way, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "green.png", { type: "image/png" }));
    data.items.add(new File(["?"], "thesis.pdf", { type: "application/pdf" }));
    const init = { bubbles: true, cancelable: true };
    document.body.dispatchEvent(way === "drop"
        ? new DragEvent("drop", { ...init, dataTransfer: data })
        : new ClipboardEvent("paste", { ...init, clipboardData: data }));
}"""
"""Drops or pastes a green picture with these bytes, and a file that is not a picture."""


def chromium() -> str:
    """Return the path of Chromium; skip the test if it is missing, or fail in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing = "needs Chromium: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium without a window."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


def collect_console_errors(page: Page, errors: list[str]) -> list[str]:
    """Append console errors, console warnings and uncaught errors of the page to the list, and return it."""
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def cards(page: Page) -> Locator:
    return page.get_by_role("list", name="Results").locator("> .card")


def names(page: Page) -> list[str]:
    return [name.removeprefix("shapes/") for name in page.locator("#results .name bdi").all_inner_texts()]


def results(page: Page, count: int) -> list[str]:
    """Wait until the search is over with ``count`` results, and return their names."""
    expect(page.locator(".summary")).to_have_text(re.compile(rf"^{count} \w+ in \d+ ms$"))
    expect(cards(page)).to_have_count(count)
    return names(page)


def ask(page: Page, address: str, query: str, count: int) -> list[str]:
    """Open the page with a query in its address, and return the names of the results."""
    page.goto(f"{address}/?{query}")
    return results(page, count)


def find(page: Page, what: str) -> None:
    page.get_by_role("group", name="What to find").get_by_text(what, exact=True).click()


def pick(page: Page, name: str, kind: str, content: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})
