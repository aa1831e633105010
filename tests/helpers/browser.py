"""A real Chromium, and what one does on the page in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",  # which Chromium cannot have as root
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


# The page's Content-Security-Policy forbids wait_for_function.
MOMENT = """async video => {
    while (video.readyState < 2 || video.seeking) await new Promise(done => setTimeout(done, 20));
    return video.currentTime;
}"""
"""Where a video is as soon as it shows something."""

HAND_OVER = """([way, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "green.png", { type: "image/png" }));
    data.items.add(new File(["?"], "thesis.pdf", { type: "application/pdf" }));
    const init = { bubbles: true, cancelable: true };
    document.body.dispatchEvent(way === "drop"
        ? new DragEvent("drop", { ...init, dataTransfer: data })
        : new ClipboardEvent("paste", { ...init, clipboardData: data }));
}"""
"""Drops or pastes a green picture of those bytes and something that is none."""


def chromium() -> str:
    """Where Chromium is; skips where it is not, but in CI that is a failure."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing = "needs Chromium: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    where = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=where, args=ARGUMENTS)
        yield started
        started.close()


def complaints(page: Page, found: list[str]) -> list[str]:
    """The list, filled as they come with what the page's console says of errors, and with uncaught ones."""
    page.on("console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def cards(page: Page) -> Locator:
    return page.get_by_role("list", name="Results").locator("> .card")


def names(page: Page) -> list[str]:
    return [name.removeprefix("shapes/") for name in page.locator("#results .name bdi").all_inner_texts()]


def results(page: Page, count: int) -> list[str]:
    """The names of the results, once there are so many and the search is over."""
    expect(page.locator(".summary")).to_have_text(re.compile(rf"^{count} \w+ in \d+ ms$"))
    expect(cards(page)).to_have_count(count)
    return names(page)


def ask(page: Page, address: str, query: str, count: int) -> list[str]:
    """Open the page at a query."""
    page.goto(f"{address}/?{query}")
    return results(page, count)


def find(page: Page, what: str) -> None:
    page.get_by_role("group", name="What to find").get_by_text(what, exact=True).click()


def pick(page: Page, name: str, kind: str, content: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})
