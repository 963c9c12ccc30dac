"""Synthetic RadQA: ``{train,dev,test}.json`` in the form of SQuAD 2.0.

A corpus of 1,009 reports has the release's 4,878, 656 and 614 questions.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from instruct.synth.files import start
from instruct.synth.ids import code
from instruct.synth.keyed import Draws, Stream
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, share
from instruct.synth.radqa_text import QUESTIONS, Section, chest_sections, head_sections
from instruct.synth.state import draw_states

FILES = {"train": "train.json", "val": "dev.json", "test": "test.json"}
ROW = "[Text QA] [RadQA]"

# Reports, and questions (each of them asked of both sections), of the release.
_RELEASE = {"train": (803, 2439), "val": (102, 328), "test": (104, 307)}
_HEAD_SHARE = 0.15


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic RadQA corpus.

    Args:
        root: folder to write into.
        studies: number of reports, 20 or more.
        seed: any integer.
        images: ignored: RadQA has none.

    Returns:
        What was planted.

    Raises:
        UsageError: too few reports, or a RadQA corpus is there already.
    """
    start(root, studies, tuple(FILES.values()))
    draws = Draws(seed, "radqa")
    sizes = apportion(studies, [reports for reports, _ in _RELEASE.values()], range(3))
    states = draw_states(draws, np.zeros(studies, np.int64))
    counts, facts = {}, {}
    traps: Counter[str] = Counter()
    first = 0
    for (split, (reports, questions)), count in zip(_RELEASE.items(), sizes, strict=True):
        # The release has at least one question for each report, and up to eight here: one for each topic.
        asked = apportion(share(questions, reports, count, at_least=count), [1] * count)
        documents = []
        for k in range(first, first + count):
            stream = draws.stream("report", k)
            head = stream.chance(_HEAD_SHARE)
            sections = head_sections(stream) if head else chest_sections(states.at(k), stream)
            traps["reports_of_the_head"] += head
            title = f"r-{code(draws, 'reports', k)}"
            documents.append(_document(title, sections, asked[k - first], split == "test", stream, traps))
        content = {"version": "1.0.0", "data": documents}
        (root / FILES[split]).write_text(json.dumps(content, indent=1), "utf-8")
        counts[split] = Counts(2 * sum(asked), 0, count)
        facts[split] = SplitFacts(count, 0, None, {}, {})
        first += count
    return Planted("radqa", {ROW: counts}, dict(sorted(traps.items())), facts)


def _document(
    title: str, sections: dict[str, Section], asked: int, twice: bool, stream: Stream, traps: Counter[str]
) -> dict[str, Any]:
    # First what a report may speak of, from a random one on; then what this one does not.
    topics = [topic for topic in QUESTIONS if any(topic in section.spans for section in sections.values())]
    turn = stream.below(len(topics))
    silent = [topic for topic in QUESTIONS if topic not in topics]
    chosen = [*topics[turn:], *topics[:turn]][: asked - stream.below(2)]
    chosen += silent[-(asked - len(chosen)) :] if len(chosen) < asked else []
    worded = [stream.pick(QUESTIONS[topic]) for topic in chosen]
    paragraphs = []
    for name, section in sections.items():
        traps["sections_that_start_with_a_blank"] += section.text[0].isspace()
        paragraphs.append(
            {
                "document_id": f"{title}_{name[0].upper()}",
                "context": section.text,
                "qas": [
                    _question(f"{title}-{number}_{name[0].upper()}", question, topic, section, twice, traps)
                    for number, (topic, question) in enumerate(zip(chosen, worded, strict=True), 1)
                ],
            }
        )
    return {"title": title, "paragraphs": paragraphs}


def _question(
    identifier: str, question: str, topic: str, section: Section, twice: bool, traps: Counter[str]
) -> dict[str, Any]:
    answers = []
    if topic in section.spans:
        begin, end = section.spans[topic]
        answers.append({"text": section.text[begin:end], "answer_start": begin})
        words = section.text[begin:end].split(" ")
        if twice and len(words) > 2:  # a second annotator marks less
            answers.append({"text": " ".join(words[:-1]), "answer_start": begin})
        traps["answers_over_a_line_break"] += "\n" in section.text[begin:end]
        traps["questions_with_two_answers"] += len(answers) == 2
    traps["questions_without_answer"] += not answers
    return {"id": identifier, "question": question, "answers": answers, "is_impossible": not answers}
