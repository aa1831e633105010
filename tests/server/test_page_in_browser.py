"""The search page in a real browser with a real server: by mouse, by keyboard, and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.helpers import page_source, toy
from tests.helpers.browser import (
    DROP_OR_PASTE,
    SHOWN_TIME,
    ask,
    cards,
    collect_console_errors,
    find,
    pick,
    results,
)
from tests.helpers.browser import browser as chromium
from tests.helpers.served import running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def encoders() -> Iterator[None]:
    with toy.encoders():
        yield


@pytest.fixture(scope="module")
def address(browser: Browser, encoders: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    source = page_source.plain(tmp_path_factory.mktemp("plain"))
    with running(page_source.built(source, tmp_path_factory.mktemp("index") / "index")) as url:
        yield url


@pytest.fixture(scope="module")
def hostile(browser: Browser, encoders: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    source = page_source.hostile(tmp_path_factory.mktemp("hostile"))
    with running(page_source.built(source, tmp_path_factory.mktemp("index") / "index")) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, permissions=["microphone"])
    yield context
    context.close()


@pytest.fixture
def console() -> list[str]:
    """Messages of the browser console; a test that provokes one removes it."""
    return []


@pytest.fixture
def page(context: BrowserContext, console: list[str]) -> Iterator[Page]:
    """A page; the test fails if the console has messages at its end."""
    page = context.new_page()
    collect_console_errors(page, console)
    yield page
    assert console == []


def query_png(tmp_path: Path, colour: str) -> bytes:
    page_source.shape(colour).save(tmp_path / "query.png")
    return (tmp_path / "query.png").read_bytes()


def test_text_query_finds_pictures(page: Page, address: str) -> None:
    page.goto(address)
    heading = "Find pictures, videos, sounds and captions by their content"
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.get_by_label("Search for").fill("something red")
    page.keyboard.press("Enter")
    assert results(page, 10)[0] == "red"
    expect(page.get_by_role("status")).to_have_text("10 pictures found. The best: shapes/red")
    picture = cards(page).first.locator("img")
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") == 256


def test_picture_query_finds_captions_and_its_file_is_not_in_the_url(
    page: Page, address: str, tmp_path: Path
) -> None:
    page.goto(address)
    pick(page, "my holiday.png", "image/png", query_png(tmp_path, "blue"))
    find(page, "Captions")
    results(page, 10)
    expect(cards(page).first.locator(".caption")).to_have_text("Something blue.")
    expect(page.locator(".note")).to_contain_text("cannot share")
    assert page.url.endswith("?image=my+holiday.png&to=text")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_back()
    results(page, 10)
    page.reload()
    expect(page.get_by_role("heading", level=2)).to_have_text("A file of this query is missing")
    pick(page, "another.png", "image/png", query_png(tmp_path, "red"))
    results(page, 10)
    expect(page.locator(".chip")).to_have_count(1)
    expect(cards(page).first.locator(".caption")).to_have_text("Something red.")


def test_sound_query_finds_the_moment_of_a_video(page: Page, address: str) -> None:
    page.goto(address)
    pick(page, "high.wav", "audio/wav", page_source.tone(page_source.TONES["blue"]))
    find(page, "Videos")
    results(page, 1)
    expect(cards(page).locator(".moment")).to_have_text("0:20 – 0:24")
    cards(page).get_by_role("button", name=re.compile("^1. video: film")).click()
    shown = page.get_by_role("dialog").locator("video")
    assert shown.evaluate(SHOWN_TIME) >= 20
    assert shown.evaluate("video => video.duration") == pytest.approx(24, abs=0.1)
    page.keyboard.press("Escape")
    cards(page).get_by_role("button", name="Play film").click()
    assert cards(page).locator("video").evaluate(SHOWN_TIME) >= 20


def test_sounds_play_in_the_results(page: Page, address: str) -> None:
    assert ask(page, address, "q=green&to=audio", 3)[0] == "green"
    cards(page).first.locator("img").evaluate("image => image.decode()")
    cards(page).first.get_by_role("button", name="Play shapes/green").click()
    expect(cards(page).first.locator(".progress")).to_be_visible()
    cards(page).first.get_by_role("button", name="Stop shapes/green").click()
    expect(cards(page).first.locator(".progress")).to_have_count(0)


def test_items_are_found_and_all_their_assets_are_shown(page: Page, address: str) -> None:
    page.goto(f"{address}/?q=something+green")
    find(page, "Items")
    assert results(page, 11)[0] == "green"
    assert page.url.endswith("&to=item")
    expect(page.get_by_role("status")).to_have_text("11 items found. The best: shapes/green")
    cards(page).get_by_role("button", name=re.compile("^1. item: .*green")).click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".stage img").evaluate("image => image.decode()")
    expect(dialog.get_by_label("Captions")).to_contain_text("Something green.")
    expect(dialog.get_by_label("The item's sound")).to_be_visible()
    page.keyboard.press("Escape")
    cards(page).get_by_role("button", name=re.compile("item: film")).click()
    expect(dialog.get_by_label("The item's video")).to_be_visible()


def test_filters_narrow_the_results_and_are_in_the_url(page: Page, address: str) -> None:
    ask(page, address, "q=red&to=image", 10)
    page.get_by_role("button", name="Filters").click()
    panel = page.get_by_role("region", name="Filters")
    town = panel.get_by_role("group", name="town")
    town.get_by_label("town contains").fill("l'aq")
    town.get_by_label("town contains").press("Enter")
    assert sorted(results(page, 5)) == ["black", "green", "pink", "turquoise", "yellow"]
    panel.get_by_role("group", name="year").get_by_label("from").fill("1995")
    panel.get_by_role("group", name="year").get_by_label("to").fill("1997")
    panel.get_by_role("group", name="year").get_by_label("to").press("Enter")
    assert sorted(results(page, 2)) == ["pink", "turquoise"]
    shared = page.url
    town.get_by_label("Oslo").check()
    expect(page.get_by_role("heading", level=2, name="Nothing matches")).to_be_visible()
    page.locator("main").get_by_role("button", name="Clear filters").last.click()
    results(page, 10)
    page.goto(shared)
    assert sorted(results(page, 2)) == ["pink", "turquoise"]


def test_invalid_filter_is_explained(page: Page, address: str, console: list[str]) -> None:
    page.goto(f'{address}/?q=red&to=image&filter=["expression","yaer > 3"]')
    expect(page.get_by_role("alert")).to_contain_text("unknown column 'yaer'")
    page.get_by_role("alert").get_by_role("button", name="Clear filters").click()
    results(page, 10)
    assert len(console) == 1  # the browser's own message for status 400
    console.clear()


def test_query_of_several_weighted_terms(page: Page, address: str) -> None:
    page.goto(address)
    box = page.get_by_label("Search for")
    box.fill("yellow")
    box.press("Shift+Enter")
    expect(page.locator(".chip")).to_have_count(1)
    box.fill("red^-1")
    box.press("Enter")
    assert results(page, 10)[0] == "green"  # yellow minus red
    expect(box).to_have_value("")
    assert page.url.endswith("?text=yellow&text=red%5E-1")
    assert page.title() == "yellow · xmodal"
    page.get_by_role("slider", name="Weight of text red").fill("0.5")
    expect(page.locator(".chip output").last).to_have_text("−0.5")
    page.get_by_role("button", name="Subtract text red").click()
    expect(page.locator(".chip output").last).to_have_text("+0.5")
    expect(page.get_by_role("button", name="Subtract text red")).to_have_attribute("aria-pressed", "false")
    results(page, 10)
    cards(page).first.locator(".open").click()
    why = page.get_by_role("table", name=re.compile("Why: score"))
    # all_inner_texts does not wait, so wait for the figures here.
    expect(why.locator(".figure")).to_have_count(2)
    figures = [float(text.replace("−", "-")) for text in why.locator(".figure").all_inner_texts()]
    caption = re.fullmatch(
        r"Why: score (−?[\d.]+), above ([\d.]+)% of unrelated pairs", why.locator("caption").inner_text()
    )
    assert caption
    assert sum(figures) == pytest.approx(float(caption[1].replace("−", "-")), abs=0.015)
    assert 50 < float(caption[2]) <= 100
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove text yellow").click()
    assert results(page, 10)[0] == "red"
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_more_like_this_and_browser_history(page: Page, address: str) -> None:
    ask(page, address, "q=purple&to=image", 10)
    cards(page).first.hover()
    cards(page).first.get_by_role("button", name="More like this").click()
    assert "purple" not in results(page, 9)
    expect(page.locator(".chip")).to_contain_text("like shapes/purple")
    expect(page.get_by_label("Search for")).to_have_value("")
    page.go_back()
    assert results(page, 10)[0] == "purple"
    expect(page.get_by_label("Search for")).to_have_value("purple")
    page.go_forward()
    results(page, 9)


def test_keyboard_only(page: Page, address: str) -> None:
    def focused(attribute: str) -> Any:
        return page.evaluate(f"document.activeElement.getAttribute('{attribute}') ?? ''")

    page.goto(address)
    expect(page.get_by_label("Search for")).to_be_focused()
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    order = results(page, 10)
    page.keyboard.press("ArrowDown")
    assert focused("aria-label").startswith("1. picture: shapes/blue")
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")  # to the second row of five
    assert focused("title") == f"shapes/{order[6]}"
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(f"shapes/{order[7]}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert focused("title") == f"shapes/{order[7]}"
    page.keyboard.press("m")
    following = results(page, 9)
    expect(page.locator(".chip")).to_contain_text(order[7])
    expect(cards(page).first.locator(".open")).to_be_focused()
    page.keyboard.press("-")
    expect(page.locator(".chip.subtracted")).to_contain_text(following[0])
    results(page, 8)
    page.keyboard.press("/")
    expect(page.get_by_label("Search for")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="How to search")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.get_by_role("region", name="Filters")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="Filters")).to_have_count(0)


def test_microphone_recording(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Record a sound").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop recording").click()
    results(page, 10)
    expect(page.locator(".chip")).to_contain_text("recording")
    page.get_by_role("button", name="Record a sound").click()
    expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Record a sound")).to_be_visible()
    expect(page.locator(".chip")).to_have_count(1)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_files_can_be_dropped_and_pasted(page: Page, address: str, tmp_path: Path, way: str) -> None:
    page.goto(address)
    expect(page.get_by_label("Search for")).to_be_visible()
    page.evaluate(
        DROP_OR_PASTE,
        [way, list(query_png(tmp_path, "green"))],
    )
    assert results(page, 10)[0] == "green"
    expect(page.get_by_role("alert")).to_contain_text("thesis.pdf is neither a picture")


def test_busy_server_is_retried(page: Page, address: str, console: list[str]) -> None:
    refused = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route)
        error = '{"error": {"kind": "BusyError", "message": "too many"}}'
        route.fulfill(status=503, headers={"Retry-After": "1"}, body=error, content_type="application/json")

    page.route("**/api/search", refuse_once)
    page.goto(f"{address}/?q=red&to=image")
    expect(page.get_by_role("heading", level=2)).to_have_text("The server is busy")
    results(page, 10)
    assert len(console) == 1  # the browser's own message for status 503
    console.clear()


def test_unreachable_server_is_reported(page: Page, address: str, console: list[str]) -> None:
    page.route("**/api/search", lambda route: route.abort())
    page.goto(f"{address}/?q=red&to=image")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/api/search")
    page.get_by_role("button", name="Try again").click()
    results(page, 10)
    assert all("ERR_FAILED" in line for line in console)
    console.clear()


def test_colour_theme_is_remembered(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Colours: system").click()
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"


def test_phone_layout(browser: Browser, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    page = context.new_page()
    console = collect_console_errors(page, [])
    fits = "document.documentElement.scrollWidth <= 390 && visualViewport.scale === 1"
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate(fits)
    ask(page, address, "q=red&text=a+rather+long+part+of+a+query^-0.5&id=shapes/green&to=image", 9)
    assert page.evaluate(fits)
    boxes = [card.bounding_box() for card in cards(page).all()[:2]]
    assert all(box and box["width"] > 150 for box in boxes)
    assert len({box["y"] for box in boxes if box}) == 1
    page.get_by_role("button", name="Filters").tap()
    assert page.evaluate(fits)
    cards(page).first.locator(".open").tap()
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog
    assert (dialog["x"], dialog["width"]) == (0, 390)
    page.get_by_role("button", name="More like this").last.tap()
    results(page, 9)
    assert console == []
    context.close()


def test_names_are_never_rendered_as_markup(page: Page, hostile: str) -> None:
    for to in ("image", "text"):
        page.goto(f"{hostile}/?q=red&to={to}")
        results(page, 6)
        titles = [card.locator(".open").get_attribute("title") for card in cards(page).all()]
        assert sorted(titles) == sorted(page_source.HOSTILE)
    captions = cards(page).locator(".caption").all_text_contents()
    assert sorted(captions) == sorted(
        f"{name} {colour}" for name, colour in zip(page_source.HOSTILE, toy.COLOURS, strict=False)
    )
    column = page.get_by_role("group", name=page_source.HOSTILE_COLUMN)
    for at, name in enumerate(page_source.HOSTILE):
        ask(page, hostile, "q=red&to=image", 6)
        page.get_by_role("button", name="Filters").click()
        column.get_by_label(name, exact=True).check()
        results(page, 1)
        page.reload()
        results(page, 1)
        assert cards(page).locator(".open").get_attribute("title") == name
        cards(page).locator(".open").click()
        dialog = page.get_by_role("dialog")
        assert dialog.get_by_role("heading").text_content() == name
        expect(dialog.locator("li")).to_have_count(1)  # its caption, fetched from /api/items
        assert dialog.locator("dd").last.text_content() in (name, str(at))
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Filters").click()
        column.get_by_label(name, exact=True).uncheck()
        results(page, 6)
        titles = [card.locator(".open").get_attribute("title") for card in cards(page).all()]
        cards(page).nth(titles.index(name)).locator(".open").press("m")
        results(page, 5)
        page.reload()
        results(page, 5)
        assert page.locator(".chip bdi").text_content() == name
    assert page.title().endswith(" · xmodal")
    assert page.locator("main script, main [onerror]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violations(page: Page, address: str, scheme: Any, console: list[str]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    # The dark page has the same structure: only the contrast can differ.
    rules = {} if scheme == "light" else {"runOnly": ["color-contrast"]}

    def check(state: str) -> None:
        violations = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        serious = [each for each in violations if each["impact"] in ("serious", "critical")]
        described = [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious]
        assert described == [], state

    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    check("empty")
    kinds = {"image": 10, "text": 10, "audio": 3} if scheme == "light" else {"image": 10}
    for to, count in kinds.items():
        ask(page, address, f"q=red&text=blue^-0.5&to={to}", count)
        page.get_by_role("button", name="Filters").click()
        check(to)
        cards(page).first.locator(".open").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        check(f"{to}, opened")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    check("help")
    page.goto(f'{address}/?q=red&filter=["expression","x"]')
    expect(page.get_by_role("alert")).to_be_visible()
    check("failed")
    console.clear()
