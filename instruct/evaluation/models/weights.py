"""Finding weights: the given folder, ``$CXR_INSTRUCT_WEIGHTS``, the local hub cache; the network only when asked."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from instruct.digest import digest_file
from instruct.errors import DataError
from instruct.evaluation.metric import Settings, Unavailable
from instruct.evaluation.models.known import KNOWN, Weights

VARIABLE = "CXR_INSTRUCT_WEIGHTS"


@dataclass(frozen=True)
class Found:
    """Weights that are on this machine.

    Attributes:
        name: which.
        folder: where.
        files: the files of :attr:`Weights.files` that are there, and the parts of a checkpoint in several files.
    """

    name: str
    folder: Path
    files: tuple[str, ...]

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file, by ``name/file``."""
        return {f"{self.name}/{file}": f"sha256 {digest_file(self.folder / file)}" for file in self.files}


def find_weights(names: Sequence[str], settings: Settings) -> list[Found]:
    """The folders of all these weights.

    Raises:
        Unavailable: any is missing; one message for all, with files, places, command, size and licence.
        DataError: a folder was given for one and lacks its files.
    """
    found = [_find(KNOWN[name], settings) for name in names]
    if settings.download:
        found = [there or _download(KNOWN[name]) for name, there in zip(names, found, strict=True)]
    missing = [KNOWN[name] for name, there in zip(names, found, strict=True) if there is None]
    if missing:
        what = " and ".join(
            f"{weights.name} ({', '.join(group[0] for group in weights.files)}; {weights.size}; "
            f"licence: {weights.licence})"
            for weights in missing
        )
        raise Unavailable(
            "weights missing",
            f"{what}: not in --weights, ${VARIABLE} ({os.environ.get(VARIABLE) or 'not set'}) or the hub cache "
            f"({hub_cache()}); get with `{'` and `'.join(weights.command for weights in missing)}`, or add --download; "
            "or give the scores with --scores",
        )
    return [there for there in found if there is not None]


def judge_in(folder: Path, name: str) -> Found:
    """The files of a user's own language model that say which it is."""
    here = [_first(folder, group) for group in KNOWN["green"].files]
    return _look(replace(KNOWN["green"], name=name), folder) or Found(name, folder, tuple(filter(None, here)))


def hub_cache() -> Path:
    """Folder of the Hugging Face hub's cache, by the hub's own environment variables."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given).expanduser()
    home = os.environ.get("HF_HOME")
    base = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return base.expanduser() / "hub"


def _find(weights: Weights, settings: Settings) -> Found | None:
    given = settings.weights.get(weights.name)
    if given is not None:
        folder = given.parent if given.is_file() else given
        there = _look(weights, folder)
        if there is None:
            lacks = [" or ".join(group) for group in weights.files if not _first(folder, group)]
            what = f"lacks {', '.join(lacks)}" if folder.is_dir() else "is no folder"
            raise DataError(f"--weights {weights.name}={given}: {folder} {what}; get it with: {weights.command}")
        return there
    places = []
    if variable := os.environ.get(VARIABLE):
        places.append(Path(variable).expanduser() / weights.name)
    places += _installed(weights.package)
    places += [_cached(repository) for repository in weights.repositories]
    return next((there for place in places if (there := _look(weights, place))), None)


def _look(weights: Weights, folder: Path) -> Found | None:
    files = [_first(folder, group) for group in weights.files]
    if not all(files):
        return None
    parts: list[str] = []
    for file in filter(None, files):
        if file.endswith(".index.json"):
            try:
                shards = json.loads((folder / file).read_text(encoding="utf-8"))["weight_map"].values()
            except (ValueError, LookupError, TypeError, AttributeError):
                raise DataError(
                    f"{folder / file}: no list of the checkpoint's files; get it with: {weights.command}"
                ) from None
            parts += sorted(set(shards))
    return Found(weights.name, folder, tuple(filter(None, (*files, *parts))))


def _first(folder: Path, group: Sequence[str]) -> str | None:
    return next((file for file in group if (folder / file).is_file()), None)


def _installed(package: str) -> list[Path]:
    spec = find_spec(package) if package else None
    return [Path(spec.origin).parent / "model"] if spec is not None and spec.origin else []


def _cached(repository: str) -> Path:
    """Snapshot of a repository's main revision in the hub cache (``models--a--b/refs/main``)."""
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / "main"
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    return folder / "snapshots" / (commit or "none")


def _download(weights: Weights) -> Found | None:
    if find_spec("huggingface_hub") is None:
        raise Unavailable("huggingface_hub missing", "--download needs pip install 'cxr-instruct[metrics]'")
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            weights.repositories[0], allow_patterns=list(weights.fetch), cache_dir=str(hub_cache())
        )
    except Exception as error:  # the hub and its HTTP client raise many kinds
        raise Unavailable(
            "download failed",
            f"{weights.name} ({weights.size}) from {weights.repositories[0]}: {str(error).splitlines()[0]}; "
            f"get it on a machine with a network: {weights.command}",
        ) from None
    return _look(weights, Path(folder))
