"""Synthetic OpenI: ``ecgen-radiology/<n>.xml`` and ``images/<image id>.png``, 8 bit.

The shares of reports by filled sections and number of images are those of the published collection, so that a
corpus of 3,955 reports has its count-table numbers. A corpus about OpenI studies plans the same corpus with
:func:`~instruct.synth.openi_plan.plan_corpus` and has it written by :func:`beside`.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np

from instruct.synth import grammar
from instruct.synth.draw import View, draw_chest
from instruct.synth.files import start, write_png
from instruct.synth.grammar import Voice
from instruct.synth.keyed import Draws, Stream
from instruct.synth.openi_plan import FULL_SIZE, KINDS, VOICES, Plan, plan_corpus, planted_counts, planted_traps
from instruct.synth.openi_xml import Report, report_xml
from instruct.synth.planted import Planted, SplitFacts

FOLDER = "ecgen-radiology"
IMAGES = "images"
ARCHIVE = "NLMCXR_reports.tgz"

_ID_FORMS = ("{0}001", "{0}001-000{0}", "1{0}001", "100{0}00{0}", "100{0}2001")
_SHAPES = ((312, 256), (256, 312), (288, 288))


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True, archive: bool = False) -> Planted:
    """Write a synthetic OpenI corpus.

    Args:
        root: folder to write into.
        studies: number of reports, 20 or more; 3,955 gives the published counts.
        seed: any integer.
        images: also write ``images/*.png``.
        archive: write the reports as ``NLMCXR_reports.tgz`` instead of the folder ``ecgen-radiology``.

    Returns:
        What was planted. All rows are in ``test``, as in the count table.

    Raises:
        UsageError: too few reports, or an OpenI corpus is there already.
    """
    start(root, studies, (FOLDER, ARCHIVE, IMAGES))
    draws = Draws(seed, "openi")
    plan = plan_corpus(draws, studies)
    words: Counter[str] = Counter(COMPARISON=0, INDICATION=0, FINDINGS=0, IMPRESSION=0)
    texts: Counter[str] = Counter(words)
    traps = planted_traps(plan)
    if not archive:
        (root / FOLDER).mkdir()
    if images:
        (root / IMAGES).mkdir()
    members: list[tuple[str, bytes]] = []
    for k in range(studies):
        report = _report(draws, plan, k)
        for label in report.sections:
            count = len(report.words(label))
            words[label] += count
            texts[label] += count > 0
        traps["reports_with_removed_span"] += any("XXXX" in (text or "") for text in report.sections.values())
        content = report_xml(report)
        if archive:
            members.append((f"{FOLDER}/{report.number}.xml", content))
        else:
            (root / FOLDER / f"{report.number}.xml").write_bytes(content)
        if images:
            _draw(root / IMAGES, draws, plan, k, report.images)
    if archive:
        _write_archive(root / ARCHIVE, members)
    return Planted("openi", planted_counts(plan), dict(sorted(traps.items())), {"test": _facts(plan, words, texts)})


def beside(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Path:
    """Folder of the OpenI corpus next to the folder of a corpus that is about it, written if it is not there."""
    folder = root.parent / "openi"
    if not ((folder / FOLDER).exists() or (folder / ARCHIVE).exists()):
        write(folder, studies=studies, seed=seed, images=images)
    return folder


def _report(draws: Draws, plan: Plan, k: int) -> Report:
    has_findings, has_impression, _ = KINDS[plan.cells[k]]
    state = plan.states.at(k)
    findings: str | None = None
    impression: str | None = None
    if has_findings:
        voice = VOICES[plan.findings_voice[k]]
        stream = draws.stream("findings", k)
        findings = grammar.findings(state, stream, voice)
        if voice is Voice.PLAIN:
            findings = _deidentify(findings, stream, 0.5)
        if k in plan.escaped:
            findings += " Cardiothoracic ratio < 0.5 on the frontal & lateral views."
        if k in plan.padded:
            findings = f"\n   {findings.replace('. ', '.  ', 1)}  "
    elif k in plan.blank:
        findings = "\n         "
    if has_impression:
        impression = grammar.impression(state, draws.stream("impression", k), VOICES[plan.impression_voice[k]])
    stream = draws.stream("front matter", k)
    person = stream.pick(("XXXX-year-old male", "XXXX-year-old female", "XXXX year old"))
    indication = comparison = None
    if not stream.chance(90 / FULL_SIZE):
        indication = _deidentify(grammar.indication(stream, person), stream, 0.3)
    if not stream.chance(622 / FULL_SIZE):
        comparison = stream.pick(("None.", "None", "None available."))
        if stream.chance(0.5):
            comparison = grammar.comparison(stream, "XXXX", keyword=stream.chance(0.2))
    return Report(
        number=int(plan.numbers[k]),
        sections={"COMPARISON": comparison, "INDICATION": indication, "FINDINGS": findings, "IMPRESSION": impression},
        images=image_ids(draws, plan, k),
        state=state,
        mixed=k in plan.mixed,
    )


def _deidentify(text: str, stream: Stream, probability: float) -> str:
    """Replace one inner word by the mark of a removed span."""
    words = text.split(" ")
    if len(words) > 3 and stream.chance(probability):
        words[1 + stream.below(len(words) - 2)] = "XXXX"
    return " ".join(words)


def image_ids(draws: Draws, plan: Plan, k: int) -> list[str]:
    """Names of a report's images, without extension, in the order of its file."""
    number, count = int(plan.numbers[k]), KINDS[plan.cells[k]][2]
    if k == 0:
        return [f"CXR{number}_1_IM-0001-{3 + j}001" for j in range(count)]
    series = draws.number("series", k) % 9000 + 2
    form = _ID_FORMS[plan.id_form[k]]
    return [f"CXR{number}_IM-{series:04d}-{form.format(j + 1)}" for j in range(count)]


def image_views(plan: Plan, k: int) -> list[View]:
    """From where a report's images are taken, in the order of its file."""
    views: list[View] = ["frontal", "lateral", "frontal", "lateral", "frontal", "lateral"]
    first = int(k in plan.lateral_first)
    return views[first : first + KINDS[plan.cells[k]][2]]


def _draw(folder: Path, draws: Draws, plan: Plan, k: int, names: list[str]) -> None:
    views = image_views(plan, k)
    for j, name in enumerate(names):
        height, width = _SHAPES[draws.number(f"shape {j}", k) % len(_SHAPES)]
        grey = draw_chest(
            plan.states.at(k), views[j], draws.child("pictures"), 8 * k + j, height=height, width=width
        ).pixels8()
        write_png(folder / f"{name}.png", np.stack([grey] * 3, axis=-1) if k in plan.rgb else grey)


def _write_archive(path: Path, members: list[tuple[str, bytes]]) -> None:
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _facts(plan: Plan, words: Counter[str], texts: Counter[str]) -> SplitFacts:
    images = sum(KINDS[cell][2] for cell in plan.cells)
    lower_words = {label.lower(): count for label, count in words.items()}
    return SplitFacts(
        len(plan.numbers), images, None, lower_words, {label.lower(): count for label, count in texts.items()}
    )
