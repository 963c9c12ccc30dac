"""The preview of a whole build, on this machine only.

The address holds a token, without which nothing is answered, so that other users of the machine see nothing; a request
under another host name is refused, so that a page in the browser cannot reach in (DNS rebinding). Nothing in a request
names a file: an image is asked for by the place of its example.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import instruct
from instruct.build.verify import read_manifest
from instruct.errors import DataError, UsageError
from instruct.reports.preview.document import group_list, page
from instruct.reports.preview.entries import entry_of
from instruct.reports.preview.pictures import Pictures
from instruct.reports.preview.rows import Filter, find_places, groups_of, read_example
from instruct.reports.preview.terms import shown_terms

_HOST = "127.0.0.1"
_PAGE = 24
_SEARCH_SECONDS = 1.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PreviewServer(ThreadingHTTPServer):
    """Serves a build until it is shut down.

    Args:
        folder: the dataset folder.
        port: port to listen on; 0 takes a free one.
        pixels: longer side of the pictures.
        task: ``[Task] [Dataset]`` or a configuration; None takes every task.
        split: train, val or test; None takes every split.

    Attributes:
        url: the address to open.

    Raises:
        UsageError: the folder holds no finished build, no example of what was asked for, or the port is taken.
    """

    daemon_threads = True

    def __init__(
        self, folder: Path, port: int = 0, pixels: int = 1024, task: str | None = None, split: str | None = None
    ) -> None:
        self.manifest = read_manifest(folder)
        self.groups = groups_of(folder, self.manifest, task, split)
        self._pictures = Pictures(folder, self.manifest, pixels)
        self.picture = lru_cache(maxsize=64)(self._picture)
        try:
            super().__init__((_HOST, port), _Handler)
        except OSError as error:
            raise UsageError(f"port {port} of {_HOST}: {error.strerror}; choose another --port") from None
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://{_HOST}:{self.server_address[1]}/{self.token}/"

    def document(self) -> str:
        """The page, which asks for its examples."""
        counts = {(group.task, group.dataset, group.split): group.examples for group in self.groups}
        return page(
            {
                "name": self.manifest["name"],
                "version": instruct.__version__,
                "terms": shown_terms(self.manifest, {group.source for group in self.groups}),
                "total": sum(counts.values()),
                "groups": group_list(counts),
                "entries": None,
            },
            connect="'self'",
        )

    def rows(self, wanted: Filter, start: int) -> dict[str, Any]:
        """A page of examples that a filter leaves; a short one, or an empty one, where a search takes long.

        Args:
            wanted: the filter.
            start: examples to pass over, of those of the task, dataset and split asked for.

        Returns:
            ``entries``; ``next``, where to go on, or None at the end; ``of``, examples of the task, dataset and split.
        """
        of = sum(group.examples for group in self.groups if wanted.takes(group))
        entries: list[dict[str, Any]] = []
        until = time.monotonic() + _SEARCH_SECONDS
        following: int | None = None
        for seen, places in find_places(self.groups, wanted, start):
            room = _PAGE - len(entries)
            entries += [self._entry(place, wanted) for place in places[:room]]
            if len(places) >= room:
                following = entries[-1]["rank"] + 1
                break
            if time.monotonic() > until:
                following = seen
                break
        return {"entries": entries, "next": following if following is not None and following < of else None, "of": of}

    def _entry(self, place: int, wanted: Filter) -> dict[str, Any]:
        group, example = read_example(self.groups, place)
        entry = entry_of(group, example, self.manifest["recipe"]["dialect"])
        before = sum(one.examples for one in self.groups if wanted.takes(one) and one.first < group.first)
        pictures = [f"picture/{place}/{index}" for index in range(len(example["images"]))]
        return entry | {"rank": before + place - group.first, "pictures": pictures}

    def _picture(self, place: int, index: int) -> dict[str, Any]:
        _, example = read_example(self.groups, place)
        return self._pictures.read(example["images"][index], example["keys"]["images"][index]).entry()


class _Handler(BaseHTTPRequestHandler):
    server: PreviewServer
    server_version, sys_version = "cxr-instruct", ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer one request."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in (_HOST, "localhost"):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that `cxr-instruct preview --serve` printed")
            return
        address = urlsplit(self.path)
        _, token, *rest = [*address.path.split("/"), ""]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the token is missing or wrong: open the address that was printed")
            return
        try:
            self._answer([part for part in rest if part], parse_qs(address.query))
        except (IndexError, ValueError):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        except DataError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _answer(self, asked: list[str], query: dict[str, list[str]]) -> None:
        match asked:
            case []:
                self._send("text/html", self.server.document())
            case ["rows"]:
                fields = {name: query.get(name, [""])[0] for name in ("task", "dataset", "split", "text")}
                start = max(0, int(query.get("from", ["0"])[0]))
                self._send("application/json", json.dumps(self.server.rows(Filter(**fields), start)))
            case ["picture", place, index] if place.isdecimal() and index.isdecimal():
                self._send("application/json", json.dumps(self.server.picture(int(place), int(index))))
            case _:
                raise ValueError(asked)

    def _send(self, kind: str, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = text.encode()
        own = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
        self.send_response(status)
        for name, value in (_HEADERS | own).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._send("text/plain", f"{why}\n", status)

    def log_message(self, *_: Any) -> None:
        """Nothing: the requests hold the token."""
