"""Publishing on the Hugging Face Hub: what has to hold before a build goes up, what goes up, and the upload."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.audit.result import build_digest
from instruct.build.audit_gate import AUDIT
from instruct.build.counts import count_shards
from instruct.build.files import read_json
from instruct.build.output import MANIFEST
from instruct.build.publish import descriptions
from instruct.build.verify import read_manifest, verify
from instruct.errors import DataError, UsageError
from instruct.reports.audit_result import audit_markdown, require_clean
from instruct.reports.card import BIBLIOGRAPHY, CARD, CROISSANT
from instruct.reports.markdown import Markdown, bullets, escape
from instruct.reports.statistics.plots import FOLDER as PLOTS
from instruct.reports.statistics.report import DATA as STATISTICS
from instruct.reports.statistics.report import TEXT as STATISTICS_TEXT
from instruct.specs.terms import check_terms, sources_of

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TERMS_HEAD = "## Access terms\n"
# Where the errors of an upload come from; which HTTP library huggingface_hub is built on depends on its release.
_HUB_MODULES = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "hf_xet")
# Of the manifest, what tells of this machine.
_LOCAL = ("image_roots", "roots")


@dataclass(frozen=True)
class Upload:
    """A build that may go up.

    Attributes:
        folder: the dataset folder.
        repository: ``owner/name`` on the Hub.
        private: whether only the owner sees it.
        files: path in the repository to size in bytes, in order.
        changed: content of the files that go up otherwise than they lie in the folder.
    """

    folder: Path
    repository: str
    private: bool
    files: dict[str, int]
    changed: dict[str, bytes]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())


def prepare(folder: Path, repository: str, private: bool, permissions: Mapping[str, str]) -> Upload:
    """See whether a build may be published, and list what would go up. Nothing is sent.

    Args:
        folder: the dataset folder.
        repository: ``owner/name``.
        private: whether only the owner is to see it.
        permissions: source to the written reason why it may be published although its terms say no; the card prints it.

    Raises:
        TermsError: the terms of a source forbid it.
        DataError: the folder is not what its manifest says, or its audit is missing, outdated or not clean.
        UsageError: the repository's name is none, rows refer to images by paths of this machine, or a permission is for
            a source that needs none.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is no repository of the Hub; expected OWNER/NAME")
    manifest = read_manifest(folder)
    check_terms("publish", sources_of(manifest), permissions, "--permission SOURCE=REASON")
    problems = verify(folder)
    if problems:
        raise DataError("\n".join([*problems[:5], f"{folder} does not verify; build it again before it is published"]))
    require_clean(folder, manifest)
    images = manifest["recipe"]["images"]
    shown = any(count.images for count in count_shards(folder, manifest["tasks"]).total.values())
    if shown and images.get("store", "reference") == "reference" and images["paths"] == "absolute":
        raise UsageError(
            f"{folder}: its rows hold absolute image paths of this machine, which nobody else can open;"
            " build with images.paths=relative"
        )
    if audit_markdown(folder, manifest) not in (folder / CARD).read_text("utf-8"):
        raise DataError(f"{folder / CARD}: does not tell what the audit found; run `cxr-instruct card {folder}` first")
    changed = {
        MANIFEST: _json({key: value for key, value in manifest.items() if key not in _LOCAL}),
        CARD: _card(folder, permissions),
    }
    files = {
        name: len(changed[name]) if name in changed else (folder / name).stat().st_size
        for name in sorted({*_files(folder, manifest)})
    }
    return Upload(folder, repository, private, files, changed)


def _files(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What goes up: shards, what opens them, reports of this very build."""
    published = {
        task["config"]: {split: held["shards"] for split, held in task["splits"].items()}
        for task in manifest["tasks"]
        if task["splits"]
    }
    stored = manifest.get("images", {"sources": {}})["sources"]
    images = {source: held["shards"] for source, held in stored.items() if held["shards"]}
    yield from (shard["file"] for splits in published.values() for shards in splits.values() for shard in shards)
    yield from (shard["file"] for shards in images.values() for shard in shards)
    yield from descriptions(published, images)
    yield from (CARD, CROISSANT, BIBLIOGRAPHY, MANIFEST, AUDIT, "counts.md", "counts.csv", "counts.json")
    held = read_json(folder / STATISTICS)
    if held is not None and held.get("build_digest") == build_digest(manifest):
        yield from (STATISTICS, STATISTICS_TEXT)
        yield from (plot.relative_to(folder).as_posix() for plot in (folder / PLOTS).glob("*.*g"))


def _card(folder: Path, permissions: Mapping[str, str]) -> bytes:
    """The card, with the permissions that it is published by."""
    card = (folder / CARD).read_text("utf-8")
    if permissions:
        held = bullets(Markdown(f"**{escape(source)}**: {escape(reason)}") for source, reason in permissions.items())
        before, head, after = card.partition(_TERMS_HEAD)
        card = f"{before}{head}\nPublished by permission, as whoever published it states:\n\n{held}\n{after}"
    return card.encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def upload(plan: Upload, tell: Callable[[str], None] = lambda line: None) -> str:
    """Send a build to the Hub, as one commit to a dataset repository, which is made where there is none.

    Args:
        plan: of :func:`prepare`.
        tell: told of each step.

    Returns:
        Address of the commit.

    Raises:
        UsageError: huggingface_hub is not installed, or the repository exists with another visibility.
        DataError: the Hub cannot be reached, or refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError:
        raise UsageError("push needs huggingface_hub: pip install 'cxr-instruct[hf]'") from None
    api = HfApi()
    try:
        created = api.create_repo(plan.repository, repo_type="dataset", private=plan.private, exist_ok=True)
        tell(f"repository {created}")
        if bool(api.repo_info(plan.repository, repo_type="dataset").private) != plan.private:
            raise UsageError(
                f"{plan.repository} exists and is {'public' if plan.private else 'private'}; nothing was sent."
                f" Change that on the Hub, or say {'--public' if plan.private else '--private'}"
            )
        commit = api.create_commit(
            plan.repository,
            [
                CommitOperationAdd(
                    name, io.BytesIO(plan.changed[name]) if name in plan.changed else str(plan.folder / name)
                )
                for name in plan.files
            ],
            commit_message="Upload with cxr-instruct",
            repo_type="dataset",
        )
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _HUB_MODULES:
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"the Hub did not take {plan.repository}: {lines[0]}") from None
    return str(commit.commit_url)
