"""Sections of a report in ReXrank's wording: ``Findings: … Impression: …``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from instruct.errors import UsageError
from instruct.evaluation.metric import is_missing

SECTIONS = ("findings", "impression", "findings+impression")
# At the start of a text, line or sentence, with marks such as ** and ## around it: with a colon, or alone on its line.
_HEADER = (
    r"(?:(?:\A|(?<=[\n.!?])|(?<=[.!?][)\]\"']))[\s*_#>-]{{0,20}}{word}s?[*_# \t\r]{{0,9}}:"
    r"|(?:\A|(?<=\n))[\s*_#>-]{{0,20}}{word}s?[*_# \t\r]{{0,9}}(?=\n))[*_]*\s*"
)
# The joint wording has no stop before "Impression:" where the findings have none, as in "Findings: None Impression: …".
_INNER = r"|[*_]{0,3}(?<![^\W_])(?-i:Impressions?|IMPRESSIONS?)[*_ ]{0,9}:[*_]*\s*"
_FINDINGS = re.compile(_HEADER.format(word="finding"), re.IGNORECASE)
_IMPRESSION = re.compile(_HEADER.format(word="impression") + _INNER, re.IGNORECASE)


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

    The joint board scores the text as it is. A single-section board scores what follows that section's header up to the
    other one, whichever comes first, and the whole text where it has neither. Without a header of its own, the findings
    are what precedes the impression, and the impression is "".
    """
    if section == "findings+impression":
        return text
    findings, impressions = (list(header.finditer(text)) for header in (_FINDINGS, _IMPRESSION))
    own, other = (findings, impressions) if section == "findings" else (impressions, findings)
    if own:
        start = own[0].end()
        end = next((header.start() for header in other if header.start() >= start), None)
        return text[start:end].strip()
    if not other:
        return text
    return text[: other[0].start()].strip() if section == "findings" else ""


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
