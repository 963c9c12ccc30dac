"""The audit of a dataset folder, from its manifest and its shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from instruct.audit.derived import Derived
from instruct.audit.official import SOURCE, official_splits
from instruct.audit.overlaps import KeyIndex, Overlap
from instruct.audit.protected import in_training
from instruct.audit.result import DROP, FOLLOW, AuditResult, Finding, build_digest, matrix, settle
from instruct.audit.shards import KINDS, Group, groups_of
from instruct.audit.texts import read_corpus
from instruct.audit.words import RECORD
from instruct.specs.recipe import AuditException
from instruct.specs.task_spec import SPLITS

# Keys that a finding shows.
EXAMPLES = 20


def audit(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    exceptions: Sequence[AuditException] = (),
    texts: bool = True,
    images: bool = False,
    threads: int = 1,
    examples: int | None = EXAMPLES,
    index: KeyIndex | None = None,
) -> AuditResult:
    """Look for leaks between the splits of a build.

    Args:
        folder: the dataset folder.
        manifest: its manifest.
        exceptions: findings that are accepted.
        texts: whether to compare report texts.
        images: whether to decode every image and compare pictures.
        threads: images decoded at a time.
        examples: keys that a finding shows; None shows all.
        index: the build's keys, loaded; None reads them.

    Raises:
        DataError: a list of the owners' splits is malformed.
    """
    groups = groups_of(folder, manifest["tasks"])
    derived = _Fixes({name: source["upstream"] for name, source in manifest["sources"].items()})
    roots = {name: Path(root) for name, root in manifest.get("roots", {}).items() if Path(root).is_dir()}
    official = official_splits(roots)
    with ExitStack() as stack:
        if index is None:
            index = stack.enter_context(KeyIndex(groups))
            index.load()
        index.link(derived.copies(group.source for group in groups))
        overlaps = index.overlaps()
        found = [
            *_protected(index, official, examples),
            *_official(index, official, derived, examples),
            *_keys(index, overlaps, derived, examples),
        ]
    checks = ["protected", *(["official_split"] if len(official) else []), *KINDS]
    left_out: dict[str, int] = {}
    if texts:
        checks.append("text")
        corpus = read_corpus(groups)
        found += _alike("text", groups, [(p.first, p.second, p.keys, p.jaccard) for p in corpus.alike()], examples)
        overlaps += corpus.repeated()
    if images:
        from instruct.audit.pictures import alike_images  # image libraries, needed by nothing else here

        checks.append("pixels")
        folders = {name: Path(root) for name, root in manifest["image_roots"].items()}
        pictures = alike_images(groups, folders, threads)
        left_out = pictures.left_out
        found += _alike(
            "pixels", groups, [(p.first, p.second, p.keys, p.correlation) for p in pictures.pairs], examples
        )
    findings, accepted = settle(found, exceptions)
    return AuditResult(build_digest(manifest), checks, findings, accepted, matrix(groups, overlaps), left_out)


class _Fixes(Derived):
    """What mends a leak, by which sources reuse which others."""

    def fix(self, low: Group, high: Group, astray: set[str]) -> dict[str, Any]:
        """What keeps a group's keys out of another's split.

        Args:
            low: the group in the less protected split.
            high: the other.
            astray: datasets that have studies in another split than their upstream has them.
        """
        for one, other in ((low, high), (high, low)):
            if other.source in self.upstream(one.source):
                return {"splits": {one.dataset: FOLLOW}}
        for one in (low, high):
            if one.dataset in astray:
                return {"splits": {one.dataset: FOLLOW}}
        return {"splits": {low.dataset: DROP}}


def _protected(index: KeyIndex, official: pa.Table, limit: int | None) -> Iterator[Finding]:
    for name, place, _, count, keys in in_training(index, official, limit):
        group = index.groups[place]
        yield Finding("protected", group.dataset, group.split, name, "", count, keys, {"splits": {group.dataset: DROP}})


def _official(index: KeyIndex, official: pa.Table, derived: _Fixes, limit: int | None) -> Iterator[Finding]:
    if not len(official):
        return
    counts = index.ask("study", official.rename_columns(["key", "label"]))
    for place, split in sorted(counts, key=lambda at: (at[0], SPLITS.index(at[1]))):
        group = index.groups[place]
        if split != group.split:
            follows = SOURCE in derived.upstream(group.source)
            fix = {"splits": {group.dataset: FOLLOW if follows else DROP}}
            keys, count = index.asked("study", place, split, limit), counts[place, split]
            yield Finding("official_split", group.dataset, group.split, SOURCE, split, count, keys, fix)


def _keys(index: KeyIndex, overlaps: Sequence[Overlap], derived: _Fixes, limit: int | None) -> Iterator[Finding]:
    across = []
    for item in overlaps:
        low, high = sorted((index.groups[item.first], index.groups[item.second]), key=lambda group: group.rank)
        if low.split != high.split:
            across.append((item, low, high))
    astray = {
        one.dataset
        for _, low, high in across
        for one, other in ((low, high), (high, low))
        if other.source in derived.upstream(one.source)
    }
    for item, low, high in across:
        keys = index.shared(item.kind, item.first, item.second, limit)
        fix = derived.fix(low, high, astray)
        yield Finding(item.kind, low.dataset, low.split, high.dataset, high.split, item.count, keys, fix)


def _alike(
    check: str,
    groups: Sequence[Group],
    pairs: Iterable[tuple[int, int, tuple[str, str], float]],
    limit: int | None,
) -> Iterator[Finding]:
    cells: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for first, second, keys, likeness in pairs:
        cells.setdefault((first, second), []).append({"keys": list(keys), "likeness": round(likeness, 4)})
    for (first, second), shown in cells.items():
        low, high = groups[first], groups[second]
        names = sorted({pair["keys"][0] for pair in shown if not pair["keys"][0].startswith(RECORD)})
        fix = {"leave_out": names} if names else {}
        yield Finding(check, low.dataset, low.split, high.dataset, high.split, len(shown), shown[:limit], fix)
