"""The free-text reports of a synthetic MIMIC-CXR: sections as the official script finds them, and the text around."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from instruct.synth import grammar, phrases
from instruct.synth.grammar import Voice
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr_plan import INDICATIONS, VOICES, Layout, Plan
from instruct.synth.mimic_cxr_views import PATTERNS
from instruct.synth.state import ChestState

_WIDTH = 78
_RULE = " " + "_" * 78
_ERASED = (
    "Unchanged from the prior study.", "As compared to the previous radiograph, no relevant change.",
    "Appearance is unchanged since the earlier examination.",
)  # fmt: skip
_LIMITED = "Technically limited examination."
_ODD = {"FINDINGS": ("FINDGINGS", "FINIDNGS"), "IMPRESSION": ("IMPRESSOIN", "IMPRESION")}
_VIEW_HEADERS = ("PORTABLE CHEST", "CHEST, TWO VIEWS", "AP UPRIGHT VIEW OF THE CHEST")
_PEOPLE = ("___-year-old female", "___-year-old male", "___ year old woman", "___M", "___F")


@dataclass(frozen=True, slots=True)
class Sections:
    """Sections of a report on one line each, None where the report does not have them; and what is known of two.

    Attributes:
        findings: findings.
        impression: impression.
        last_paragraph: the text of a report that has neither.
        comparison: comparison.
        indication: indication, or history where there is no indication.
        findings_change: whether the findings hold a progression keyword.
        impression_change: whether the impression does.
        findings_kept: whether something is left of the findings without the sentences about an earlier study.
        impression_kept: the same for the impression.
        impression_clock: whether the impression holds a clock time or a removed span.
    """

    findings: str | None = None
    impression: str | None = None
    last_paragraph: str | None = None
    comparison: str | None = None
    indication: str | None = None
    findings_change: bool = False
    impression_change: bool = False
    findings_kept: bool = False
    impression_kept: bool = False
    impression_clock: bool = False


def sections_of(draws: Draws, plan: Plan, k: int) -> Sections:
    """Sections of a study's report.

    Args:
        draws: source of randomness of the split.
        plan: the split.
        k: number of the study.
    """
    layout = Layout(plan.layout[k])
    findings = impression = last = None
    if layout in (Layout.BOTH, Layout.FINDINGS):
        findings = _findings(draws, plan, k)
    if layout in (Layout.BOTH, Layout.IMPRESSION):
        impression = _impression(draws, plan, k)
    if layout is Layout.COMBINED:
        impression = f"{_findings(draws, plan, k)} {_impression(draws, plan, k)}"
    if layout is Layout.NEITHER:
        last = f"{_LIMITED} {grammar.findings(plan.states.at(k), draws.stream('last paragraph', k))}"
    stream = draws.stream("front matter", k)
    kind = INDICATIONS[plan.indication[k]]
    person = draws.stream("person", int(plan.chains.patient[k])).pick(_PEOPLE)
    indication = grammar.indication(stream, person, keyword=stream.chance(0.1))
    comparison = None
    if plan.chains.position[k] and stream.chance(0.85):
        comparison = grammar.comparison(stream, "___", keyword=stream.chance(0.3))
        if comparison == "___":  # nothing but a removed span counts as missing
            comparison = "Study of ___"
    elif stream.chance(0.7):
        comparison = stream.pick(("None.", "None available.", "None"))
    speaks = VOICES[plan.findings_voice[k]] is not Voice.PLAIN, VOICES[plan.impression_voice[k]] is not Voice.PLAIN
    return Sections(
        findings,
        impression,
        last,
        comparison,
        indication if kind not in ("blank", "none") else None,
        findings_change=findings is not None and (speaks[0] or k in plan.findings_erased),
        impression_change=impression is not None
        and (speaks[1] or k in plan.impression_erased or (layout is Layout.COMBINED and speaks[0])),
        findings_kept=findings is not None and k not in plan.findings_erased,
        impression_kept=impression is not None and k not in plan.impression_erased,
        impression_clock=impression is not None and k in plan.clock,
    )


def _prior(plan: Plan, k: int, voice: Voice) -> ChestState | None:
    return plan.states.at(k - 1) if voice is Voice.CHANGE else None


def _findings(draws: Draws, plan: Plan, k: int) -> str:
    stream = draws.stream("findings", k)
    if k in plan.findings_erased:
        return stream.pick(_ERASED)
    voice = VOICES[plan.findings_voice[k]]
    text = grammar.findings(plan.states.at(k), stream, voice, _prior(plan, k, voice))
    if k in plan.sub_header:
        text = f"Chest: {text}"
    # One sentence that speaks of this study alone, whatever the others do.
    return f"{text} {stream.pick(stream.pick(phrases.FILLERS))}"


def _impression(draws: Draws, plan: Plan, k: int) -> str:
    stream = draws.stream("impression", k)
    if k in plan.impression_erased:
        return stream.pick(_ERASED)
    voice = VOICES[plan.impression_voice[k]]
    text = grammar.impression(plan.states.at(k), stream, voice, _prior(plan, k, voice))
    if voice is not Voice.PLAIN:
        text += " " + stream.pick(phrases.ADVICE)
    return f"{text} {grammar.clock(stream, phrases.CLOCK)}" if k in plan.clock else text


def report_text(draws: Draws, plan: Plan, k: int, sections: Sections) -> str:
    """The report as published: a blank before each line, lines of 79 characters at most.

    Args:
        draws: source of randomness of the split.
        plan: the split.
        k: number of the study.
        sections: its sections.
    """
    stream = draws.stream("report", k)
    blocks: list[str] = []
    if k in plan.addendum:
        blocks += [
            _title("FINAL ADDENDUM"),
            _block("ADDENDUM", "Findings were discussed with Dr. ___ by telephone."),
            " ",
            _block("IMPRESSION", "As in the report below."),
            _RULE,
        ]
    elif k in plan.wet_read:
        hour = f"{1 + stream.below(12)}:{stream.below(6)}{stream.below(10)}"
        blocks += [f"{' ' * 33}WET READ: ___ ___ ___ {hour} PM", "  Preliminary reading.", _RULE]
    blocks.append(_title("FINAL REPORT"))
    blocks += [_block("EXAMINATION", PATTERNS[plan.pattern[k]].procedure or "CHEST RADIOGRAPH"), " "]
    kind = INDICATIONS[plan.indication[k]]
    if sections.indication is not None:
        blocks += [_block(kind, sections.indication), " "]
    elif kind == "blank":
        blocks += [_block("INDICATION", "___"), " "]
    if stream.chance(0.6):
        blocks += [_block("TECHNIQUE", "Standard radiographs of the chest."), " "]
    if sections.comparison is not None:
        blocks += [_block("COMPARISON", sections.comparison), " "]
    blocks += _body(plan, k, sections, stream)
    return "\n".join(blocks) + "\n"


def _body(plan: Plan, k: int, sections: Sections, stream: Stream) -> list[str]:
    if sections.last_paragraph is not None:
        # No heading of its own: it stands in whatever section came before.
        return [_wrap(_LIMITED), " ", _wrap(sections.last_paragraph.removeprefix(_LIMITED))]
    blocks: list[str] = []
    if sections.findings is not None:
        header = "FINDINGS"
        if k in plan.view_header:
            header = stream.pick(_VIEW_HEADERS)
        elif k in plan.odd_header:
            header = stream.pick(_ODD[header])
        blocks += [f" {header}: ", " ", _wrap(sections.findings), " "]
    if sections.impression is not None:
        header = "IMPRESSION"
        if Layout(plan.layout[k]) is Layout.COMBINED:
            header = "FINDINGS AND IMPRESSION"
        elif k in plan.odd_header:
            header = stream.pick(_ODD[header])
        blocks += [_block(header, sections.impression), " "]
        if stream.chance(0.1):
            blocks += [_block("NOTIFICATION", "Discussed with Dr. ___ at 3:15 p.m.")]
    return blocks


def csv_text(text: str | None) -> str:
    """A section as the official script writes it: trimmed, with the line breaks of the report."""
    return "" if text is None else _wrap(text).strip()


def _title(text: str) -> str:
    return " " * 33 + text


def _block(header: str, text: str) -> str:
    return _wrap(f"{header}:  {text}")


def _wrap(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH, fix_sentence_endings=False, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f" {line}" for line in lines)
