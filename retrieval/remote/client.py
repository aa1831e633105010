"""Client of a server, with the same methods, hits and errors as a local engine."""

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
from retrieval.option_checks import check_k, check_percentile
from retrieval.remote.payload import encode_terms
from retrieval.search.searcher import Searcher
from retrieval.types import ITEM, Hit, Matrix, Modality, Query, Term

if TYPE_CHECKING:
    from retrieval.display.previews import Preview

MAX_IN_FLIGHT = 32
"""Maximum number of queries of a batch in flight at a time; the server processes waiting queries together."""


class Client(Searcher):
    """Searches an index that ``xmodal serve`` serves, with the methods of ``SearchEngine``. Thread-safe."""

    def __init__(self, address: str, *, token: str | None = None, timeout: float = 60.0) -> None:
        """No request is sent yet.

        Args:
            address: URL of the server, for example ``"http://127.0.0.1:8000"``.
            token: the server's access token, if it has one.
            timeout: seconds to wait for a response.

        Raises:
            OptionError: the address is not an HTTP URL.
        """
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            url = httpx2.URL(address)
        except (httpx2.InvalidURL, TypeError) as error:
            raise OptionError(f"{address!r} is no address of a server: expected http://HOST:PORT") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise OptionError(f"{address!r} is no address of a server: expected http://HOST:PORT")
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
        """The modalities that have searchable assets."""
        modalities = self.info()["modalities"]
        return [Modality(name) for name, entry in modalities.items() if entry["index"] is not None]

    def info(self) -> dict[str, Any]:
        """Return what the index contains and how it was built: the response of ``/api/info``."""
        return self._request_json("GET", "/api/info")

    def item(self, id: str) -> dict[str, Any]:  # noqa: A002 - the public face's name
        """Return an item with its metadata and assets: the response of ``/api/items``.

        Raises:
            UnknownItemError: there is no such item.
        """
        return self._request_json("GET", f"/api/items/{quote(id, safe='')}")

    def evaluate(self, **options: Any) -> dict[str, Any]:
        """Return metrics and their protocol: the response of ``/api/evaluate``, which also defines the options."""
        return self._request_json("POST", "/api/evaluate", content=json.dumps(options), headers=_JSON)

    def search_batch(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
    ) -> list[list[Hit]]:
        """Return the hits of many queries; see ``search``.

        Raises:
            BusyError: the server's queue is full.
            UnauthorizedError: the server requires another access token.
            ServerError: the server cannot be reached, or failed.
        """
        k, min_percentile = check_k(k), check_percentile(min_percentile)
        all_terms = [query.terms() for query in queries]

        def search_one(terms: list[Term]) -> list[Hit]:
            options = {
                "to": None if to is None else str(to),
                "k": k,
                "where": where,
                "min_percentile": min_percentile,
            }
            return [_hit(values) for values in self._send_terms("/api/search", terms, options)["hits"]]

        if len(all_terms) < 2:
            return [search_one(terms) for terms in all_terms]
        with ThreadPoolExecutor(min(MAX_IN_FLIGHT, len(all_terms))) as pool:
            return list(pool.map(search_one, all_terms))

    def encode(self, *, text: Any = None, image: Any = None, audio: Any = None, video: Any = None) -> Matrix:
        """Encode media of one modality as vectors of the aligned space; see ``SearchEngine.encode``.

        Returns:
            (n, d) float32, unit norm.
        """
        arguments = {"text": text, "image": image, "audio": audio, "video": video}
        used = {name: value for name, value in arguments.items() if value is not None}
        if len(used) != 1:
            raise OptionError(f"encode takes media of one modality at a time, not {len(used)}")
        [(name, value)] = used.items()
        terms = [Term(name, medium) for medium in (value if isinstance(value, list) else [value])]
        rows = [
            self._send_terms("/api/encode", terms[at : at + MAX_IN_FLIGHT], {})["vectors"]
            for at in range(0, len(terms), MAX_IN_FLIGHT)
        ]
        return np.array([row for part in rows for row in part], np.float32)

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """Return captions and thumbnails of the hits, without sounds and videos; see ``Searcher.previews``."""
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

    def _send_terms(self, path: str, terms: Sequence[Term], options: Mapping[str, Any]) -> dict[str, Any]:
        """Send terms as JSON, or as a form if some are files, and return the response."""
        values, files = encode_terms(terms)
        body = json.dumps({"terms": values, **options})
        if files:
            return self._request_json("POST", path, data={"query": body}, files=files)
        return self._request_json("POST", path, content=body, headers=_JSON)

    def _request_json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
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
                "check that 'xmodal serve' is running there"
            ) from error


_JSON = {"Content-Type": "application/json"}


def _hit(values: Mapping[str, Any]) -> Hit:
    fields = {name: values[name] for name in Hit.__slots__}
    modality, contributions = fields["modality"], fields["contributions"]
    fields["modality"] = modality if modality == ITEM else Modality(modality)
    fields["contributions"] = tuple(contributions) if len(contributions) > 1 else None
    return Hit(**fields)


def _json(response: httpx2.Response) -> Any:
    """Return the JSON of a response; None if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def _error(answer: Any) -> XmodalError:
    """Return the error in a server's response, as an instance of the class that a local engine would raise."""
    problem = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(problem, dict):
        return ServerError("the response is not one of an xmodal server: check the address")
    message = str(problem.get("message"))
    error_class = getattr(errors, str(problem.get("kind")), None)
    if isinstance(error_class, type) and issubclass(error_class, XmodalError):
        return error_class(message)
    return ServerError(message)
