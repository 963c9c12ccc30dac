"""Whose data a preview shows, and the strictest terms among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from instruct.specs.terms import ACCESS, with_upstream

_MEANING = {
    "open": "The data are open to everybody, each source under its licence.",
    "registration": "Only for people who have registered with the owners of the data.",
    "gated": "Only for people to whom the owners of the data have granted access.",
    "credentialed": "Only for credentialed users who have signed the data use agreements. Do not pass it on.",
}


def shown_terms(
    manifest: Mapping[str, Any], sources: Iterable[str], permissions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The terms of the sources that a preview shows, and of those whose images or reports they reuse.

    Args:
        manifest: the manifest of the build.
        sources: the sources of the examples shown.
        permissions: source to the written reason why it is shown although its terms say no.

    Returns:
        ``access``, the strictest level; ``meaning``, that level in words; ``sources``, each with name, access and
        licence, the strictest first; ``reached``, the names of all of them, whether the build knows their terms or not.
    """
    held: Mapping[str, Mapping[str, Any]] = manifest["sources"]
    reached = with_upstream(sources, {name: facts["upstream"] for name, facts in held.items()})
    listed = [
        {"name": name, "access": held[name]["access"], "licence": held[name]["licence"]}
        for name in reached
        if name in held
    ]
    listed.sort(key=lambda source: (-_strictness(source["access"]), source["name"]))
    access = ACCESS[min(_strictness(listed[0]["access"]), len(ACCESS) - 1)] if listed else ACCESS[-1]
    return {
        "access": access,
        "meaning": _MEANING[access],
        "sources": listed,
        "reached": reached,
        "permissions": dict(permissions or {}),
    }


def _strictness(access: str) -> int:
    """Place among the levels; what is none of these counts as stricter than all."""
    return ACCESS.index(access) if access in ACCESS else len(ACCESS)
