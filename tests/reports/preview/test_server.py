"""The preview of a whole build, served on this machine."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from instruct.reports.preview.server import PreviewServer
from tests.build.helpers import call, rows
from tests.reports.preview.chromium import Chromium, Page


@pytest.fixture(scope="module")
def server(built: Path) -> Iterator[PreviewServer]:
    with PreviewServer(built) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


Answer = tuple[int, dict[str, str], bytes]


def ask(server: PreviewServer, path: str, method: str = "GET", host: str | None = None) -> Answer:
    """Ask for a path below the token, or from the root with a slash first."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    address = path if path.startswith("/") else f"/{server.token}/{path}"
    connection.putrequest(method, address, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_address[1]}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def page_of(server: PreviewServer, start: int, **filters: str) -> dict[str, Any]:
    status, _, body = ask(server, f"rows?{urlencode({**filters, 'from': start})}")
    assert status == 200
    held: dict[str, Any] = json.loads(body)
    return held


def everything(server: PreviewServer, **filters: str) -> list[dict[str, Any]]:
    """All examples that a filter leaves, page by page."""
    found: list[dict[str, Any]] = []
    at: int | None = 0
    while at is not None:
        held = page_of(server, at, **filters)
        found += held["entries"]
        assert held["next"] is None or held["next"] > at
        at = held["next"]
    return found


# --- who is answered -------------------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_only(server: PreviewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert re.fullmatch(rf"http://127\.0\.0\.1:{server.server_address[1]}/[\w-]{{32}}/", server.url)
    with PreviewServer(server.groups[0].shards[0][0].parents[3]) as other:
        assert other.token != server.token


@pytest.mark.parametrize("path", ["/", "/rows", "/picture/0/0", "/x/", "/x/rows", "//", "/%2e%2e/"])
def test_without_the_token_nothing_is_told(server: PreviewServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert status == 403 and b"token" in body and len(body) < 200


def test_part_of_the_token_is_not_enough(server: PreviewServer) -> None:
    for token in (server.token[:-1], server.token + "x", server.token.swapcase(), quote(server.token + "é")):
        assert ask(server, f"/{token}/rows")[0] == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:80", 200), ("localhost:1234", 200), ("localhost", 200), ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403), ("evil.example", 403), ("0.0.0.0:80", 403), ("[::1]:80", 403), (":80", 403),
    ],
)  # fmt: skip
def test_only_under_its_own_name(server: PreviewServer, host: str, status: int) -> None:
    assert ask(server, "rows", host=host)[0] == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_reading(server: PreviewServer, method: str) -> None:
    assert ask(server, "", method)[0] == 501


@pytest.mark.parametrize(
    "path",
    [
        "../manifest.json", "..%2fmanifest.json", "rows/../manifest.json", "manifest.json", "image?path=/etc/passwd",
        "picture/../../etc/passwd", "picture/%2e%2e/0", "picture//etc/passwd/0", "picture/0/../0", "picture/0/99",
        "picture/999999/0", "picture/-1/0", "picture/0/-1", "picture/0", "picture/0/0/0", "picture/x/0",
        "picture/0/%C2%B2", "rows?from=x",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(server: PreviewServer, path: str) -> None:
    status, headers, body = ask(server, path)
    assert status == 404 and body == b"there is no such page\n" and headers["content-type"].startswith("text/plain")


def test_what_every_answer_says(server: PreviewServer) -> None:
    for path in ("", "rows", "picture/0/0", "nothing"):
        _, headers, _ = ask(server, path)
        assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer" and headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"
        assert "access-control-allow-origin" not in headers and "Python" not in headers["server"]


def test_a_broken_request_does_not_end_it(server: PreviewServer) -> None:
    for content in (b"\0\0\0", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET " + b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", server.server_address[1]), 5) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert ask(server, "rows")[0] == 200


# --- what is answered ------------------------------------------------------------------------------------------------


def test_every_example_once_in_order(server: PreviewServer, built: Path) -> None:
    found = everything(server)
    assert [entry["rank"] for entry in found] == list(range(268))
    assert sorted(entry["row"]["task"] + entry["row"]["id"] for entry in found) == sorted(
        row["task"] + row["id"] for row in rows(built)
    )


@pytest.mark.parametrize(
    "filters",
    [
        {"task": "Findings Generation"},
        {"dataset": "SIIM", "split": "val"},
        {"text": "PNEUMOTHORAX"},
        {"text": "no such"},
    ],
)
def test_filters(server: PreviewServer, filters: dict[str, str]) -> None:
    def suits(entry: dict[str, Any]) -> bool:
        row = entry["row"]
        if any(filters.get(name, row[name]) != row[name] for name in ("task", "dataset")):
            return False
        said = [row["id"], *(turn["value"] for turn in row["conversations"])]
        return filters.get("split", entry["split"]) == entry["split"] and any(
            filters.get("text", "").lower() in text.lower() for text in said
        )

    expected = [(entry["row"]["task"], entry["row"]["id"]) for entry in everything(server) if suits(entry)]
    assert [(entry["row"]["task"], entry["row"]["id"]) for entry in everything(server, **filters)] == expected


def test_a_search_that_takes_long_is_told_in_parts(server: PreviewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = everything(server, text="pneumothorax")
    monkeypatch.setattr("instruct.reports.preview.server._SEARCH_SECONDS", 0.0)
    assert len(page_of(server, 0, text="pneumothorax")["entries"]) < 24
    assert everything(server, text="pneumothorax") == whole


def test_every_picture_of_an_example(server: PreviewServer) -> None:
    for entry in page_of(server, 0, task="Progression Findings Generation")["entries"][:2]:
        assert len(entry["pictures"]) == len(entry["row"]["images"]) == 2
        for address in entry["pictures"]:
            picture = json.loads(ask(server, address)[2])
            assert picture["uri"].startswith("data:image/jpeg;base64,") and picture["width"] > 100


def test_a_taken_port_is_told(server: PreviewServer, built: Path) -> None:
    port = str(server.server_address[1])
    assert (
        f"port {port} of 127.0.0.1: Address already in use"
        in call("preview", built, "--serve", "--port", port, check=2).err
    )


def test_the_command_prints_the_address_and_ends_on_ctrl_c(built: Path) -> None:
    command = [sys.executable, "-m", "instruct.cli", "preview", str(built), "--serve", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    url = urlsplit(json.loads(process.stdout.readline())["url"])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    connection.request("GET", url.path)
    assert b"<title>preview" in connection.getresponse().read()
    connection.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


# --- in a browser ----------------------------------------------------------------------------------------------------


def test_paging_and_finding_in_a_browser(browser: Chromium, server: PreviewServer) -> None:
    shown = Page(browser, server.url)
    assert shown.text("#count") == "1 of 268" and shown.js("document.querySelectorAll('#list li').length") == 24
    for _ in range(24):
        shown.press("j")
    shown.wait("document.getElementById('count').innerText === '25 of 268'")
    shown.press("k")
    shown.wait("document.getElementById('count').innerText === '24 of 268'")
    shown.choose("goto", "268")
    shown.wait("document.getElementById('count').innerText === '268 of 268'")
    assert shown.js("document.getElementById('next').disabled")
    shown.press("k")
    shown.wait("document.getElementById('count').innerText === '267 of 268'")
    shown.choose("task", "Pneumothorax Segmentation")
    shown.wait("document.getElementById('count').innerText === '1 of 24'")
    shown.wait("document.querySelector('#main img')?.complete")
    shown.choose("text", "none")
    shown.wait("document.getElementById('count').innerText.startsWith('found at ')")
    assert "none" in shown.text("#main .talk").lower()
    assert shown.faults() == []
    assert {urlsplit(url).netloc for url in shown.requests() if not url.startswith("data:")} == {
        urlsplit(server.url).netloc
    }
    shown.close()
