"""Time from the server's response to the first result on the page, and the size of the page.

Usage: python scripts/benchmarks/page.py [INDEX] [--queries 50] [--to image]

`xmodal serve` serves a copy of INDEX, its captions are the queries, and Debian's Chromium shows the page. The clock
starts when the last byte of the response of /api/search has arrived. The first result counts as shown in the first
frame painted after it is in the page, its picture in the first frame after it was fetched and decoded. Every query
opens the page again, in two rounds; then all queries are typed into the open page.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

from _common import facts
from playwright.sync_api import Page, sync_playwright

import retrieval
from retrieval.server.static_page import BUILT_PAGE

WATCH = """
const painted = what => requestAnimationFrame(() => setTimeout(() => (shown[what] = performance.now())));
const shown = (window.shown = {});
new MutationObserver((_, observer) => {
    const card = document.querySelector("#results .card");
    if (!card) return;
    observer.disconnect();
    painted("result");
    const picture = card.querySelector("img");
    if (picture) picture.decode().then(() => painted("picture"));
    else painted("picture");
}).observe(document, { childList: true, subtree: true });
window.again = () => {
    delete shown.result;
    performance.clearResourceTimings(); // the browser keeps no more than 250
    let searching = false;
    new MutationObserver((_, observer) => {
        const results = document.querySelector("#results");
        if (results?.ariaBusy === "true") searching = true;
        else if (searching && results) {
            observer.disconnect();
            painted("result");
        }
    }).observe(document, { attributes: true, childList: true, subtree: true });
};
"""

RESPONSE_END = (
    "performance.getEntriesByType('resource').findLast(each => each.name.endsWith('/api/search')).responseEnd"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the size, and the times of two rounds that open the page with a query and one that types it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("index", nargs="?", type=Path, default=Path("demo/index"))
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--to", default="image")
    options = parser.parse_args(argv)
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("needs Chromium: apt-get install chromium")
    engine = retrieval.open(options.index)
    table = engine.index.table(retrieval.Modality.TEXT)
    records = engine.index.catalog.records(
        table.assets[:: max(1, len(table.assets) // options.queries)].tolist()
    )
    queries = [record.text for record in records.values() if record.text][: options.queries]
    files = [path.read_bytes() for path in BUILT_PAGE.rglob("*.*")]
    print(facts("playwright"))
    print(
        f"the page has {sum(map(len, files)):,} bytes, {sum(len(gzip.compress(f)) for f in files):,} with gzip"
    )
    with served(options.index) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"Chromium {browser.version}, {len(queries)} queries to {options.to}, ms after the response")
        page = browser.new_page()
        page.add_init_script(WATCH)
        for turn in ("new thumbnails", "from cache"):
            waits = [
                time_opening(page, f"{address}?{urlencode({'q': query, 'to': options.to})}")
                for query in queries
            ]
            for at, what in enumerate(("result", "picture")):
                times = [each[at] for each in waits]
                print(
                    f"{turn:17} {what:8} median {median(times):6.1f}  "
                    f"95% {quantiles(times, n=20)[-1]:6.1f}  max {max(times):6.1f}"
                )
        times = [time_typing(page, query) for query in queries[1:]]
        print(
            f"{'in the open page':17} {'result':8} median {median(times):6.1f}  "
            f"95% {quantiles(times, n=20)[-1]:6.1f}  max {max(times):6.1f}"
        )
        browser.close()


def time_opening(page: Page, address: str) -> tuple[float, float]:
    """Return milliseconds from the response to the first result, and to its picture."""
    page.goto(address)
    # Poll from outside: the page's Content-Security-Policy forbids wait_for_function.
    while not page.evaluate("'result' in shown && 'picture' in shown"):
        page.wait_for_timeout(20)
    response_end = page.evaluate(RESPONSE_END)
    return page.evaluate("shown.result") - response_end, page.evaluate("shown.picture") - response_end


def time_typing(page: Page, query: str) -> float:
    """Return milliseconds from the response to the first result for a query typed into the open page."""
    page.evaluate("again()")
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")
    while not page.evaluate("'result' in shown"):
        page.wait_for_timeout(20)
    return float(page.evaluate(f"shown.result - {RESPONSE_END}"))


@contextmanager
def served(index: Path) -> Iterator[str]:
    """Serve a copy of the index that has no thumbnails in its cache; give the URL."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(index, copy, ignore=shutil.ignore_patterns("cache*"))
        command = [str(Path(sys.executable).with_name("xmodal")), "serve", str(copy), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            line = next((line for line in server.stderr or () if line.startswith("serving ")), "")
            try:
                if not line:
                    raise SystemExit("the server did not start")
                yield line.split()[-1]
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
