"""Access control of the server; and that it serves only files that the index names."""

import asyncio
import json
import random
from collections import Counter
from urllib.parse import quote, unquote

import pytest
from fastapi.testclient import TestClient

import indexer
from retrieval.errors import OptionError
from retrieval.server.app import make
from retrieval.server.security import COOKIE, is_loopback
from tests.helpers import served, toy

TOKEN = "correct-horse-battery"  # noqa: S105
SECRET = b"must never be served"
QUERY = {"terms": [{"kind": "text", "value": "red"}], "to": "image"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
        yield root / "index"


def client(folder, base_url=served.HOST, **options):
    return TestClient(make(folder, **options), base_url=base_url, follow_redirects=False)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False), ("localhost.evil.org", False)],  # noqa: S104
)  # fmt: skip
def test_is_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.local"])  # noqa: S104
def test_token_is_required_unless_on_loopback(folder, host):
    with pytest.raises(OptionError, match="--token"):
        make(folder, host=host)
    with pytest.raises(OptionError, match="at least 8"):
        make(folder, host=host, token="short")  # noqa: S106


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8000", "[::2]:80"]
)
def test_foreign_host_name_is_refused_on_loopback(folder, host):
    with client(folder) as api:
        assert api.get("/api/info", headers={"Host": host}).status_code == 400
        for good in ("localhost:8000", "127.0.0.1:1", "[::1]:80", "LOCALHOST"):
            assert api.get("/api/health", headers={"Host": good.lower()}).status_code == 200


def test_nothing_is_served_without_the_token(folder):
    with client(folder, "http://box.local", host="0.0.0.0", token=TOKEN) as api:  # noqa: S104
        for path in (
            "/",
            "/api/info",
            "/api/openapi.json",
            "/api/items/red",
            "/api/media/1",
            "/metrics",
            "/nope",
        ):
            response = api.get(path)
            assert (response.status_code, response.json()["error"]["kind"]) == (401, "UnauthorizedError")
            assert response.headers["www-authenticate"] == "Bearer"
        assert api.post("/api/search", json=QUERY).status_code == 401
        assert api.get("/api/info", headers={"Authorization": "Bearer wrong-horse"}).status_code == 401
        assert api.get("/api/info", headers={"Cookie": f"{COOKIE}=wrong"}).status_code == 401
        assert api.get("/api/info", params={"token": TOKEN}).status_code == 401
        assert api.get("/?token=wrong").status_code == 401
        assert api.get("/api/health").status_code == 200
        assert api.get("/api/info", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_page_moves_the_token_from_the_url_to_a_cookie(folder):
    with client(folder, "http://box.local", host="0.0.0.0", token=TOKEN) as api:  # noqa: S104
        response = api.get("/", params={"token": TOKEN})
        assert (response.status_code, response.headers["location"]) == (303, "/")
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert api.post("/api/search", json=QUERY).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/info", "/api/media/1", "/api/nothing", "/api/media/1/thumbnail"])
def test_every_response_has_the_security_headers(folder, path):
    with client(folder) as api:
        headers = api.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'; sandbox", "")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_other_origins_are_allowed_only_by_option(folder):
    with client(folder, origins=["https://good.example"]) as api:
        good = api.get("/api/info", headers={"Origin": "https://good.example"})
        assert good.headers["access-control-allow-origin"] == "https://good.example"
        bad = api.get("/api/info", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in bad.headers
        preflight = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
        assert api.options("/api/search", headers=preflight).status_code == 200


def test_too_large_request_is_refused_with_or_without_content_length(folder):
    with client(folder, max_bytes=100_000) as api:
        form = {"query": '{"terms": [{"kind": "image", "upload": "f"}], "to": "text"}'}
        response = api.post("/api/search", data=form, files={"f": bytes(200_000)})
        assert (response.status_code, response.json()["error"]["kind"]) == (413, "TooLargeError")

        def chunks():
            yield from [b"x" * 10_000] * 20

        headers = {"Content-Type": "application/json"}
        response = api.post("/api/search", content=chunks(), headers=headers)
        assert (response.status_code, response.json()["error"]["kind"]) == (413, "TooLargeError")
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def traps(tmp_path):
    """An index with a secret file beside its source; tests add links that lead out of the source."""
    (tmp_path / "secret.png").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/far.png").write_bytes(SECRET)
    toy.folder(tmp_path / "source", captions=False)
    toy.paint(tmp_path / "source/deep/near.png", "red")
    with toy.encoders():
        indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy")
        yield tmp_path


def media_responses(api):
    """Return the responses for each item's picture and thumbnail, by item id."""
    items = api.post("/api/search", json={**QUERY, "k": 100}).json()["hits"]
    return {item["id"]: (api.get(item["media"]), api.get(item["thumbnail"])) for item in items}


def test_links_out_of_the_source_are_not_followed(traps):
    (traps / "source/red.png").unlink()
    (traps / "source/red.png").symlink_to(traps / "secret.png")
    (traps / "source/blue.png").unlink()
    (traps / "source/blue.png").symlink_to(traps / "source/green.png")
    (traps / "source/deep/near.png").unlink()
    (traps / "source/deep").rmdir()
    (traps / "source/deep").symlink_to(traps / "outside")
    (traps / "source/pink.png").unlink()
    (traps / "source/white.png").unlink()
    (traps / "source/white.png").symlink_to("white.png")
    with client(traps / "index") as api:
        responses = media_responses(api)
    assert responses["blue"][0].content == (traps / "source/green.png").read_bytes()
    for gone in ("red", "deep/near", "pink", "white"):
        for response in responses[gone]:
            assert (response.status_code, response.json()["error"]["kind"]) == (404, "MissingFileError")
            assert SECRET not in response.content
            assert str(traps) not in response.json()["error"]["message"]


def test_thumbnail_error_names_the_reason_but_not_the_folder(traps):
    (traps / "source/red.png").write_bytes(b"no picture any more")
    with client(traps / "index") as api:
        media, small = media_responses(api)["red"]
    assert (media.status_code, small.status_code) == (200, 404)
    assert "no thumbnail of 'red.png'" in small.json()["error"]["message"]
    assert str(traps) not in small.text


def test_files_are_served_from_the_given_root(traps):
    (traps / "source").rename(traps / "moved")
    with client(traps / "index") as api:
        assert {response.status_code for response, _ in media_responses(api).values()} == {404}
    with client(traps / "index", roots=[traps / "moved"]) as api:
        assert {response.status_code for response, _ in media_responses(api).values()} == {200}
    with pytest.raises(OptionError, match="1 sources"):
        make(traps / "index", roots=[traps, traps])
    with pytest.raises(OptionError, match="is not a folder"):
        make(traps / "index", roots=[traps / "nothing"])


PARTS = ["..", ".", "...", "etc", "passwd", "secret.png", "source", "index", "manifest.json", "catalog.sqlite",
         "generations", "000001", "red.png", "red", "1", "0", "-1", "1e3", "0x1", "9" * 25, "١", "null", "NaN", "",
         "~", "%00", "\x00", "C:", "file:", "\\..\\..", "....//", ";", "*", "?x", "#",
         "thumbnail", "\u2215", "\ufffd"]  # fmt: skip
PREFIXES = [
    "/api/media/",
    "/api/items/",
    "/assets/",
    "/",
    "/api/media/1/",
    "/api/media/1/thumbnail/",
    "/api/",
]


def hostile_paths(count):
    """Generate paths that try to escape their folder, encoded once, twice, in part or not at all."""
    draw = random.Random(8)  # noqa: S311
    encodings = [
        lambda part: part,
        lambda part: quote(part, safe=""),
        lambda part: quote(quote(part, safe=""), safe=""),
        lambda part: part.replace(".", "%2e"),
        lambda part: part.replace(".", "%c0%ae"),
    ]
    slashes = ["/", "%2f", "%2F", "\\", "%5c", "//", "%252f", "/./"]
    for _ in range(count):
        parts = draw.choices(PARTS, k=draw.randint(1, 7))
        path = draw.choice(PREFIXES)
        for part in parts:
            path += draw.choice(encodings)(part) + draw.choice(slashes)
        yield path if draw.random() < 0.3 else path.rstrip("/%2fF5c\\")


def test_ten_thousand_hostile_paths_reveal_only_indexed_files(traps):
    pages = traps / "pages"
    (pages / "assets").mkdir(parents=True)
    (pages / "index.html").write_text("the page")
    (pages / "assets/app.js").write_text("the script")
    (pages / "secret.txt").write_bytes(SECRET)
    pictures = {path.read_bytes() for path in traps.glob("source/**/*.png")}
    seen = Counter()

    async def main():
        app = make(traps / "index", pages=pages)
        for path in hostile_paths(10_000):
            status, kind, body = await get_raw(app, path)
            seen[status] += 1
            assert status in {200, 400, 404, 405, 422}, (path, body)
            assert SECRET not in body
            if status == 200:
                assert is_allowed(kind, body, pictures), (path, body[:200])

    asyncio.run(main())
    assert sum(seen.values()) == 10_000
    assert seen[200] > 10
    assert seen[404] > 1000


def is_allowed(kind, body, pictures):
    """Return whether a response is a picture of the index, its thumbnail, an item, or the page."""
    if kind == "image/png":
        return body in pictures
    if kind == "application/json":
        return set(json.loads(body)) == {"id", "metadata", "assets"}
    return kind == "image/jpeg" or body in {b"the page", b"the script"}


async def get_raw(app, path):
    """Request a path unchanged, which clients would normalise, and decode it once, as servers do.

    Returns status, content type and body.
    """
    path, _, query = path.partition("?")
    messages = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        messages.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "asgi": {"version": "3.0", "spec_version": "2.4"}, "path": unquote(path), "raw_path": path.encode(),
        "query_string": query.encode(), "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    kind = dict(messages[0]["headers"]).get(b"content-type", b"").decode()
    return messages[0]["status"], kind, b"".join(message.get("body", b"") for message in messages[1:])
