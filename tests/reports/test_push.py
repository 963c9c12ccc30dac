"""Publishing: what is refused, what would go up, and the upload to a server of this machine."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from instruct.api import build_dataset, load_recipe
from instruct.build.files import read_json
from tests.build.helpers import Call, call
from tests.conftest import Corpora

ALLOWED = ("--permission", "openi=a letter of 3 May 2025", "--permission", "rexgradient=the *owners* agree")


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("push") / "out"
    build_dataset(load_recipe("demo", ["images.paths=relative"]), out, data_root=corpora.root)
    call("audit", out)
    call("card", out)
    return out


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "out")
    return tmp_path / "out"


def push(folder: Path, *arguments: str, check: int = 0) -> Call:
    return call("push", folder, "someone/chest", *arguments, check=check)


def test_nobody_publishes_without_saying_who_may_see_it(built: Path) -> None:
    assert "error: say who may see the repository: --private or --public" in push(built, *ALLOWED, check=2).err


@pytest.mark.parametrize("visibility", ["--private", "--public"])
def test_closed_terms_refuse_with_clause_and_override(built: Path, visibility: str) -> None:
    done = push(built, visibility, "--dry-run", check=5)
    assert "publishing is refused by the terms of 2 of its sources" in done.err
    assert "rexgradient: research without commercial or clinical use; no disclosure" in done.err
    assert "openi: CC BY-NC-ND 4.0" in done.err
    assert "--permission SOURCE=REASON" in done.err
    done = push(built, visibility, "--dry-run", *ALLOWED[:2], check=5)
    assert "terms of 1 of its sources" in done.err and "openi" not in done.err
    assert "needs none here" in push(built, visibility, *ALLOWED, "--permission", "rsna=x", check=2).err


def test_a_name_that_is_no_repository(built: Path) -> None:
    assert "expected OWNER/NAME" in call("push", built, "chest", "--private", *ALLOWED, check=2).err


def test_without_a_clean_audit_of_this_build_nothing_goes(copy: Path) -> None:
    found = json.loads((copy / "audit.json").read_text())
    assert not found["findings"]
    leak = {"splits": {"OpenI": "drop_leaks"}}
    for change, why in (
        ({"findings": [{}, {}], "fix": leak}, 'found 2 leaks between splits; mend them with the recipe (splits: {"Op'),
        ({"build": "0" * 64}, "its audit is of another build; run `cxr-instruct audit"),
        ({"checks": ["patient", "study", "image"]}, "did not compare report texts"),
    ):
        (copy / "audit.json").write_text(json.dumps(found | change))
        assert why in push(copy, "--private", *ALLOWED, "--dry-run", check=4).err
    (copy / "audit.json").unlink()
    assert f"was not audited; run `cxr-instruct audit {copy}` first" in push(copy, "--private", *ALLOWED, check=4).err


def test_a_card_from_before_the_audit_does_not_go(copy: Path) -> None:
    found = json.loads((copy / "audit.json").read_text())
    (copy / "audit.json").write_text(json.dumps(found | {"checks": [*found["checks"], "pixels"]}))
    done = push(copy, "--private", *ALLOWED, "--dry-run", check=4)
    assert f"does not tell what the audit found; run `cxr-instruct card {copy}` first" in done.err


def test_a_damaged_build_does_not_go(copy: Path) -> None:
    shard = next(copy.glob("*/*/arrow/*.arrow"))
    shard.write_bytes(shard.read_bytes() + b"x")
    assert "does not verify; build it again" in push(copy, "--private", *ALLOWED, "--dry-run", check=4).err
    (copy / "manifest.json").unlink()
    assert "the build is not finished" in push(copy, "--private", *ALLOWED, "--dry-run", check=2).err


def test_paths_of_this_machine_do_not_go(corpora: Corpora, tmp_path: Path) -> None:
    build_dataset(load_recipe("openi"), tmp_path, data_root=corpora.root)
    call("audit", tmp_path)
    done = push(tmp_path, "--private", *ALLOWED[:2], "--dry-run", check=2)
    assert "absolute image paths of this machine" in done.err and "images.paths=relative" in done.err


def test_a_dry_run_lists_what_would_go_and_sends_nothing(built: Path) -> None:
    done = push(built, "--private", *ALLOWED, "--dry-run")
    files = json.loads(push(built, "--private", *ALLOWED, "--dry-run", "--json").out)
    assert done.out.endswith("nothing was sent (--dry-run)\n")
    assert "files, to the private dataset someone/chest" in done.out
    assert files["commit"] is None and files["private"] is True
    names = set(files["files"])
    assert {"README.md", "croissant.json", "CITATION.bib", "manifest.json", "audit.json", "statistics.json"} <= names
    assert {"dataset_dict.json", "findings_generation-openi/test/state.json"} <= names
    assert sum(name.endswith(".arrow") for name in names) == len(list(built.glob("*/*/arrow/data-*.arrow")))
    assert any(name.startswith("plots/") for name in names)
    assert not any(name.startswith(".build") or "log" in name or "quarantine" in name for name in names)
    for name, size in files["files"].items():
        assert name in ("manifest.json", "README.md") or size == (built / name).stat().st_size


def test_statistics_of_another_build_stay_here(copy: Path) -> None:
    told = json.loads((copy / "statistics.json").read_text())
    (copy / "statistics.json").write_text(json.dumps(told | {"build_digest": "0"}))
    names = json.loads(push(copy, "--public", *ALLOWED, "--dry-run", "--json").out)["files"]
    assert not any(name.startswith(("statistics", "plots/")) for name in names)


# --- the upload --------------------------------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """The part of the Hub's interface that an upload uses; it keeps what it was sent."""

    private = True
    exists = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[str] = []
        self.files: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, document: Any, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.calls.append(f"GET {self.path}")
        self._answer({"id": "someone/chest", "private": self.server.private, "sha": "a" * 40, "siblings": []})

    def do_POST(self) -> None:
        self.server.calls.append(f"POST {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        url = f"http://127.0.0.1:{self.server.server_port}/datasets/someone/chest"
        if self.path == "/api/repos/create":
            if self.server.exists:
                self._answer({"error": "You already created this dataset repo", "url": url}, 409)
            else:
                asked = json.loads(body)  # releases of huggingface_hub differ in how they ask
                self.server.private = asked.get("private") is True or asked.get("visibility") == "private"
                self._answer({"url": url})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer({"files": [{"path": file["path"], **told} for file in files]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                sent = json.loads(line)
                if sent["key"] == "file":
                    self.server.files[sent["value"]["path"]] = base64.b64decode(sent["value"]["content"])
            self._answer({"commitUrl": f"{url}/commit/{'b' * 40}", "commitOid": "b" * 40, "success": True})
        else:
            self._answer({})


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def send(folder: Path, hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Push to the server of this machine; the package is imported anew, for it reads its address at import."""
    pytest.importorskip("huggingface_hub")
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_nothing",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "instruct.cli", "push", str(folder), "someone/chest", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_an_upload_sends_the_files_as_listed(built: Path, hub: Hub) -> None:
    listed = json.loads(push(built, "--private", *ALLOWED, "--dry-run", "--json").out)["files"]
    done = send(built, hub, "--private", *ALLOWED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"/commit/{'b' * 40}\n")
    assert {name: len(content) for name, content in hub.files.items()} == listed
    assert hub.private is True
    manifest = json.loads(hub.files["manifest.json"])
    assert manifest["tasks"] == read_json(built / "manifest.json")["tasks"]
    assert not {"roots", "image_roots"} & set(manifest)
    here = str(built.parent).encode()
    assert not [name for name, content in hub.files.items() if here in content]
    card = hub.files["README.md"].decode()
    assert "- **openi**: a letter of 3 May 2025\n- **rexgradient**: the \\*owners\\* agree\n" in card
    for name, content in hub.files.items():
        assert name in ("manifest.json", "README.md") or content == (built / name).read_bytes()


def test_a_repository_of_another_visibility_gets_nothing(built: Path, hub: Hub) -> None:
    hub.exists, hub.private = True, False
    done = send(built, hub, "--private", *ALLOWED)
    assert done.returncode == 2, done.stderr
    assert "someone/chest exists and is public; nothing was sent" in done.stderr
    assert not hub.files and not [path for path in hub.calls if "/commit/" in path]


def test_a_hub_that_is_not_there_is_told_in_a_line(built: Path, hub: Hub) -> None:
    hub.shutdown()
    hub.server_close()
    done = send(built, hub, "--public", *ALLOWED)
    assert done.returncode == 4
    assert "error: the Hub did not take someone/chest: " in done.stderr and "Traceback" not in done.stderr
