"""What an audit found: findings with their keys and what in a recipe mends each, and the whole as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from instruct.audit.overlaps import Overlap
from instruct.audit.shards import KINDS, Group
from instruct.digest import digest_json
from instruct.specs.recipe import AuditException
from instruct.specs.task_spec import SPLITS

FORMAT = 1
# What is looked for, in the order of findings; the last two by what files hold, the others by key.
CHECKS = ("protected", "official_split", *KINDS, "text", "pixels")


@dataclass(frozen=True)
class Finding:
    """A leak: something of one group that may not be in its split.

    Attributes:
        check: one of :data:`CHECKS`.
        dataset: dataset that has to give way.
        split: its split.
        other: the dataset it shares keys with, the protected set, or ``<source> official split``.
        other_split: the split on that side; empty for protected sets.
        count: number of keys, or of pairs of them.
        examples: the first keys; pairs of keys for ``text`` and ``pixels``.
        fix: what to add to the recipe: one key and its value; empty where nothing mends it.
        accepted: written reason of the exception that covers it; empty where none does.
    """

    check: str
    dataset: str
    split: str
    other: str
    other_split: str
    count: int
    examples: list[Any]
    fix: dict[str, Any]
    accepted: str = ""

    def __str__(self) -> str:
        """One line for people."""
        other = f"{self.other} {self.other_split}".strip()
        said = {
            "protected": f"of the protected set {self.other}",
            "official_split": f"which their owners put into {self.other_split} ({self.other})",
            "text": f"with a report like one of {other}",
            "pixels": f"with the picture of one of {other}",
        }.get(self.check, f"also in {other}")
        shown = self.examples[0] if self.examples else ""
        first = " = ".join(shown["keys"]) if isinstance(shown, dict) else shown
        return f"{self.dataset} {self.split}: {number(self.count, self.check)} {said}; first: {first}"


_NOUNS = {"patient": ("patient", "patients"), "image": ("image", "images"), "pixels": ("image", "images")}


def number(count: int, check: str) -> str:
    """How many of what a check names: ``1 patient``, ``1,200 studies``."""
    one, many = _NOUNS.get(check, ("study", "studies"))
    return f"{count:,} {one if count == 1 else many}"


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        build: digest of the build that was audited.
        checks: what was looked for.
        findings: leaks that no exception covers.
        accepted: leaks that one covers.
        matrix: per two datasets and kind of key, how many keys they share, split by split; of kind ``text``, how many
            report texts word for word, stock phrases included.
        left_out: what could not be looked at: reason to number.
    """

    build: str
    checks: list[str]
    findings: list[Finding]
    accepted: list[Finding]
    matrix: list[dict[str, Any]]
    left_out: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The whole as plain data; the same build gives the same."""
        return {
            "format": FORMAT,
            "build": self.build,
            "checks": self.checks,
            "findings": [
                {key: value for key, value in asdict(item).items() if key != "accepted"} for item in self.findings
            ],
            "accepted": [asdict(item) for item in self.accepted],
            "matrix": self.matrix,
            "left_out": self.left_out,
            "fix": self.fix,
        }

    @property
    def fix(self) -> dict[str, Any]:
        """What to add to the recipe against all findings."""
        splits: dict[str, str] = {}
        for item in self.findings:
            splits |= {name: way for name, way in item.fix.get("splits", {}).items() if splits.get(name) != FOLLOW}
        left_out = sorted({key for item in self.findings for key in item.fix.get("leave_out", ())})
        return ({"splits": splits} if splits else {}) | ({"leave_out": left_out} if left_out else {})


FOLLOW, DROP = "follow_upstream", "drop_leaks"


def recipe_line(fix: Mapping[str, Any], most: int | None = None) -> str:
    """A fix for a sentence; :func:`recipe_lines` is what a recipe takes."""
    return "; ".join(recipe_lines(fix, most))


def recipe_lines(fix: Mapping[str, Any], most: int | None = None) -> list[str]:
    """A fix as a recipe has it, a line for each key: ``splits: {"RSNA": "follow_upstream"}``.

    Args:
        fix: key of a recipe to its value.
        most: of more keys to leave out than these, only the number is told.
    """

    def told(value: Any) -> str:
        if most is not None and isinstance(value, list) and len(value) > most:
            return f"{len(value):,} keys, under fix in audit.json"
        return json.dumps(value, ensure_ascii=False)

    return [f"{key}: {told(value)}" for key, value in fix.items()]


def build_digest(manifest: Mapping[str, Any]) -> str:
    """Digest of all shards of a build, by which an audit's result is told from that of another build."""
    return digest_json(
        [
            [task["config"], split, [shard["sha256"] for shard in held["shards"]]]
            for task in manifest["tasks"]
            for split, held in sorted(task["splits"].items())
        ]
    )


def settle(findings: Iterable[Finding], exceptions: Sequence[AuditException]) -> tuple[list[Finding], list[Finding]]:
    """Part findings from those that an exception covers, which then carry its reason."""
    open_ones, accepted = [], []
    for item in sorted(findings, key=lambda one: (CHECKS.index(one.check), one.dataset, one.split, one.other)):
        reason = next((rule.reason for rule in exceptions if _covers(rule, item)), "")
        if reason:
            accepted.append(replace(item, accepted=reason))
        else:
            open_ones.append(item)
    return open_ones, accepted


def _covers(rule: AuditException, item: Finding) -> bool:
    named = {rule.between[0], rule.between[-1]}
    return named == {item.dataset, item.other} and (not rule.checks or item.check in rule.checks)


def matrix(groups: Sequence[Group], overlaps: Iterable[Overlap]) -> list[dict[str, Any]]:
    """What two datasets share, by kind: a number for each split of the one (row) and of the other (column)."""
    tables: dict[tuple[str, str, str], dict[str, dict[str, int]]] = {}
    for item in overlaps:
        first, second = groups[item.first], groups[item.second]
        key = (first.dataset, second.dataset, item.kind)
        cells = tables.setdefault(key, {one: dict.fromkeys(SPLITS, 0) for one in SPLITS})
        cells[first.split][second.split] += item.count
        if first.dataset == second.dataset and first.split != second.split:
            cells[second.split][first.split] += item.count
    return [{"first": a, "second": b, "kind": kind, "shared": cells} for (a, b, kind), cells in tables.items()]
