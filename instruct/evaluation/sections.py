"""Sections of a report in ReXrank's wording: ``Findings: … Impression: …``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from instruct.errors import UsageError
from instruct.evaluation.metric import is_missing

SECTIONS = ("findings", "impression", "findings+impression")
_FINDINGS = re.compile(r"\s*findings?\s*:\s*", re.IGNORECASE)
_IMPRESSION = re.compile(r"\bimpressions?\s*:\s*", re.IGNORECASE)


def check_section(section: str) -> str:
    """The section itself.

    Raises:
        UsageError: it is none of :data:`SECTIONS`.
    """
    if section not in SECTIONS:
        raise UsageError(f"unknown section {section!r}; expected one of {', '.join(SECTIONS)}")
    return section


def is_rexrank(fields: Mapping[str, Any]) -> bool:
    """Is this a record of a ReXrank prediction or reference file?"""
    return any(name in fields for name in ("model_prediction", "section_findings", "section_impression"))


def section_of_report(text: str, section: str) -> str:
    """The part of a whole report that a board scores.

    The joint board scores the text as it is. A single-section board scores that section where the text has the
    header words and the whole text where it has none of them; a text with only the other header gives "".
    """
    if section == "findings+impression":
        return text
    head = _FINDINGS.match(text)
    tail = _IMPRESSION.search(text)
    if head is None and tail is None:
        return text
    if section == "findings":
        return text[head.end() if head else 0 : tail.start() if tail else None].strip()
    return text[tail.end() :].strip() if tail else ""


def section_of_reference(fields: Mapping[str, Any], section: str) -> Any:
    """The reference of a ReXrank record: a text, or None where the study lacks the section.

    The joint reference is worded as the official evaluation script words it, a missing section being ``None``.
    """
    findings, impression = fields.get("section_findings"), fields.get("section_impression")
    if section == "findings":
        return findings
    if section == "impression":
        return impression
    findings, impression = (None if is_missing(value) else value for value in (findings, impression))
    if findings is None and impression is None:
        return None
    return f"Findings: {findings} Impression: {impression}"
