"""A server as if it were an engine: the same methods, hits and errors, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx2
import numpy as np

from retrieval import errors
from retrieval.errors import OptionError, ServerError, XmodalError
from retrieval.remote.payload import encode_terms
from retrieval.search.searcher import Searcher
from retrieval.types import ITEM, Hit, Matrix, Modality, Query, Term
from retrieval.validation import check_k, check_percentile

if TYPE_CHECKING:
    from retrieval.display.previews import Preview

MAX_IN_FLIGHT = 32
"""Queries of a batch under way at a time; the server works off together those that wait together."""


class Client(Searcher):
    """Searches an index that ``xmodal serve`` has, with ``SearchEngine``'s methods. Threads may share one."""

    def __init__(self, address: str, *, token: str | None = None, timeout: float = 60.0) -> None:
        """Nothing is asked yet.

        Args:
            address: of the server: ``"http://127.0.0.1:8000"``.
            token: what the server was started with.
            timeout: seconds to wait for an answer.

        Raises:
            OptionError: the address is none.
        """
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            url = httpx2.URL(address)
        except (httpx2.InvalidURL, TypeError) as error:
            raise OptionError(f"{address!r} is no address: expected http://HOST:PORT") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise OptionError(f"{address!r} is no address: expected http://HOST:PORT")
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def modalities(self) -> list[Modality]:
        """Those that have assets to be found."""
        held = self.info()["modalities"]
        return [Modality(name) for name, entry in held.items() if entry["index"] is not None]

    def info(self) -> dict[str, Any]:
        """What the index holds and what made it, as ``/api/info`` answers."""
        return self._ask("GET", "/api/info")

    def item(self, id: str) -> dict[str, Any]:  # noqa: A002 - the public face's name
        """An item with its metadata and assets, as ``/api/items`` answers.

        Raises:
            UnknownItemError: there is no such item.
        """
        return self._ask("GET", f"/api/items/{quote(id, safe='')}")

    def evaluate(self, **options: Any) -> dict[str, Any]:
        """Figures and their protocol, as ``/api/evaluate`` answers; options as it takes them."""
        return self._ask("POST", "/api/evaluate", content=json.dumps(options), headers=_JSON)

    def search_batch(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
    ) -> list[list[Hit]]:
        """The answers to many queries; see ``search``.

        Raises:
            BusyError: the server has too much to do.
            UnauthorizedError: it wants another token.
            ServerError: it cannot be reached, or failed.
        """
        k, least = check_k(k), check_percentile(min_percentile)
        asked = [query.terms() for query in queries]

        def one(terms: list[Term]) -> list[Hit]:
            wanted = {
                "to": None if to is None else str(to),
                "k": k,
                "where": where,
                "min_percentile": least,
            }
            return [_hit(values) for values in self._send("/api/search", terms, wanted)["hits"]]

        if len(asked) < 2:
            return [one(terms) for terms in asked]
        with ThreadPoolExecutor(min(MAX_IN_FLIGHT, len(asked))) as pool:
            return list(pool.map(one, asked))

    def encode(self, *, text: Any = None, image: Any = None, audio: Any = None, video: Any = None) -> Matrix:
        """Media of one modality in the aligned space; see ``SearchEngine.encode``.

        Returns:
            (n, d) float32, unit norm.
        """
        given = {"text": text, "image": image, "audio": audio, "video": video}
        chosen = {name: value for name, value in given.items() if value is not None}
        if len(chosen) != 1:
            raise OptionError(f"encode takes media of one modality at a time, not {len(chosen)}")
        [(name, value)] = chosen.items()
        terms = [Term(name, medium) for medium in (value if isinstance(value, list) else [value])]
        rows = [
            self._send("/api/encode", terms[at : at + MAX_IN_FLIGHT], {})["vectors"]
            for at in range(0, len(terms), MAX_IN_FLIGHT)
        ]
        return np.array([row for part in rows for row in part], np.float32)

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """What the hits are, to be looked at; see ``Searcher.previews``. Sounds and videos stay with the server."""
        from retrieval.display.previews import SIZE, Preview, data_url

        shown = []
        for hit in hits:
            picture = problem = None
            if hit.text is None:
                path = f"/api/media/{hit.asset}/thumbnail"
                response = self._request("GET", path, params={"size": SIZE})
                if response.is_success:
                    picture = data_url(response.headers["content-type"], response.content)
                else:
                    problem = str(_error(_json(response)))
            shown.append(Preview(hit.id, hit.modality, hit.text, hit.path, picture, None, problem))
        return shown

    def _send(self, path: str, terms: Sequence[Term], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to terms, sent as JSON, or as a form where files belong to them."""
        values, files = encode_terms(terms)
        body = json.dumps({"terms": values, **wanted})
        if files:
            return self._ask("POST", path, data={"query": body}, files=files)
        return self._ask("POST", path, content=body, headers=_JSON)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._request(method, path, **request)
        answer = _json(response)
        if response.is_success and isinstance(answer, dict):
            return answer
        raise _error(answer)

    def _request(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx2.HTTPError as error:
            raise ServerError(
                f"{self._http.base_url} does not answer ({error or type(error).__name__}): "
                "is 'xmodal serve' running there?"
            ) from error


_JSON = {"Content-Type": "application/json"}


def _hit(values: Mapping[str, Any]) -> Hit:
    own = {name: values[name] for name in Hit.__slots__}
    shares = own["contributions"]
    own["contributions"] = tuple(shares) if len(shares) > 1 else None
    return Hit(
        **{**own, "modality": own["modality"] if own["modality"] == ITEM else Modality(own["modality"])}
    )


def _json(response: httpx2.Response) -> Any:
    """What an answer holds; None where it is no JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def _error(answer: Any) -> XmodalError:
    """The error that a server answered with, as it would have been raised here."""
    found = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        return ServerError("the server answers what no xmodal server would: is it another one?")
    message = str(found.get("message"))
    known = getattr(errors, str(found.get("kind")), None)
    if isinstance(known, type) and issubclass(known, XmodalError):
        return known(message)
    return ServerError(message)
