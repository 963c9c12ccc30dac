"""The terms guard: may what was built be given to others, or sent to a service? Asked by everything that would do so.

The strictest terms decide: those of every source that contributed, and of the sources whose images or reports it
reuses. Terms that are not known forbid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from instruct.errors import TermsError, UsageError
from instruct.specs.published import agreement_of
from instruct.specs.task_spec import TaskSpec, load_task_specs

# Levels of access to a source, from free to strict.
ACCESS = ("open", "registration", "gated", "credentialed")
# What is asked for, to the permission that decides it and what it is called in a message.
Use = Literal["publish", "export", "preview", "judge"]
_USES: dict[Use, tuple[Literal["share", "services"], str]] = {
    "publish": ("share", "publishing"),
    "export": ("share", "exporting with images"),
    "preview": ("share", "a preview to be shared"),
    "judge": ("services", "a judge elsewhere"),
}


@dataclass(frozen=True)
class Refusal:
    """Why a source does not allow a use.

    Attributes:
        source: name of the source.
        clause: what its terms say, and where.
    """

    source: str
    clause: str


def sources_of(manifest: Mapping[str, Any]) -> list[str]:
    """The sources that a build holds examples of, and those whose images or reports these reuse.

    Args:
        manifest: the build's manifest, with its ``tasks`` and ``sources``.
    """
    written = {task["source"] for task in manifest["tasks"] if task["splits"]}
    upstream = {name: facts["upstream"] for name, facts in manifest["sources"].items()}
    return with_upstream(written, upstream)


def with_upstream(sources: Iterable[str], upstream: Mapping[str, Iterable[str]] | None = None) -> list[str]:
    """Sources with all that they build on, sorted.

    Args:
        sources: names of sources.
        upstream: source to the sources that it reuses, for those that no shipped spec tells of.
    """
    told = upstream or {}
    found: set[str] = set()
    waiting = list(sources)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [*told.get(name, ()), *_shipped_upstream().get(name, ())]
    return sorted(found)


def told_terms(specs: Iterable[TaskSpec]) -> dict[str, dict[str, Any]]:
    """What specs say of the terms of their sources, by source: of several specs of a source, all that any says.

    Returns:
        Per source, in order of their names: ``access``, the strictest; ``licence``; ``upstream``, the sources whose
        images or reports its rows may hold, because a spec says so, reads their tables or shows their images.
    """
    by_source: dict[str, list[TaskSpec]] = {}
    for spec in specs:
        by_source.setdefault(spec.source, []).append(spec)
    return {
        source: {
            "access": max((spec.access for spec in told), key=ACCESS.index),
            "licence": "; ".join(dict.fromkeys(spec.licence for spec in told)),
            "upstream": sorted({name for spec in told for name in _held(spec)} - {source}),
        }
        for source, told in sorted(by_source.items())
    }


def _held(spec: TaskSpec) -> list[str]:
    return [*spec.upstream, *spec.reads, *([spec.namespace] if spec.namespace else [])]


@cache
def _shipped_upstream() -> dict[str, set[str]]:
    """Source to the sources that it reuses, as the shipped specs say."""
    told = told_terms(entry.spec for entry in load_task_specs())
    return {source: set(facts["upstream"]) for source, facts in told.items()}


def refusals(use: Use, sources: Iterable[str]) -> list[Refusal]:
    """The sources that do not allow a use, each with the clause.

    Args:
        use: ``publish``, ``export`` (with images), ``preview`` (for others) or ``judge`` (on another machine).
        sources: names of sources, upstream ones included (see :func:`sources_of`).
    """
    permission = _USES[use][0]
    found = []
    for source in sources:
        terms = agreement_of(source)
        if terms is None:
            found.append(Refusal(source, "its terms are not known to this package"))
        elif getattr(terms, permission) != "allowed":
            found.append(Refusal(source, f"{terms.clause} ({terms.link})"))
    return found


def check_terms(use: Use, sources: Iterable[str], permissions: Mapping[str, str], override: str) -> None:
    """Refuse a use that the terms of a source forbid.

    Args:
        use: see :func:`refusals`.
        sources: names of sources, upstream ones included.
        permissions: source to the written reason why it may be done all the same.
        override: how the user says so on the command line, for the message.

    Raises:
        TermsError: a source does not allow it, and no reason was given.
        UsageError: a reason was given for a source that needs none.
    """
    refused = refusals(use, sources)
    needless = sorted(set(permissions) - {refusal.source for refusal in refused})
    if needless:
        raise UsageError(f"a permission was given for {', '.join(needless)}, which needs none here")
    left = [refusal for refusal in refused if refusal.source not in permissions]
    if left:
        lines = [f"{_USES[use][1]} is refused by the terms of {len(left)} of its sources:"]
        clauses: dict[str, list[str]] = {}
        for refusal in left:
            clauses.setdefault(refusal.clause, []).append(refusal.source)
        lines += [f"  {', '.join(names)}: {clause}" for clause, names in clauses.items()]
        lines.append(f"If you hold a permission that says otherwise, give it for each of them: {override}")
        raise TermsError("\n".join(lines))


def read_permissions(given: Iterable[str]) -> dict[str, str]:
    """Permissions of the form ``SOURCE=REASON``, as the command line takes them.

    Raises:
        UsageError: one is of another form, or has no reason.
    """
    permissions: dict[str, str] = {}
    for text in given:
        source, _, reason = text.partition("=")
        if not source.strip() or not reason.strip():
            raise UsageError(f"--permission {text!r}: expected SOURCE=REASON, such as 'openi=letter of 3 May 2025'")
        permissions[source.strip()] = reason.strip()
    return permissions
