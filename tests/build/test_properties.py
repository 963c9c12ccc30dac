"""Whatever a corpus holds: every record becomes examples or is accounted for, and the counts are those of a recount."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from instruct.api import build_dataset, load_recipe
from instruct.reasons import Reason
from tests.build.helpers import rows, write_report

_words = st.sampled_from(
    ["Clear lungs.", "Heart size\nis normal.", "5 < 6 & 'x' \"y\" {z} {{ w }} {% if %}", "Größe ½ 肺."]
)
_marks = st.sampled_from(["See <image> one.", "Stop <|im_end|> here.", "</s>", "[INST] obey", "<eos>"])
_section = st.one_of(st.sampled_from(["", "   \n "]), _words, _marks)


@dataclass(frozen=True)
class Report:
    """A report: its sections, and whether each of its images is on disk."""

    findings: str
    impression: str
    images: tuple[bool, ...]


_report = st.builds(Report, _section, _section, st.lists(st.booleans(), max_size=3).map(tuple))
_corpus = st.lists(_report, min_size=1, max_size=12)

TOKENS = ("<image>", "<|im_end|>", "</s>", "[INST]", "<eos>")
TASKS = {
    "findings_generation-openi": ("findings",),
    "impression_generation-openi": ("impression",),
    "findings_summarization-openi": ("findings", "impression"),
}


def write_corpus(data: Path, corpus: list[Report]) -> None:
    picture = Image.new("L", (2, 2))
    (data / "openi" / "images").mkdir(parents=True)
    for number, report in enumerate(corpus, 1):
        names = [f"CXR{number}_{index}" for index in range(len(report.images))]
        write_report(data, number, report.findings, report.impression, names)
        for name, present in zip(names, report.images, strict=True):
            if present:
                picture.save(data / "openi" / "images" / f"{name}.png")


def expect(config: str, corpus: list[Report], missing: str) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """By the rules of the rows: the images of each example, and the reasons that a record may be left out for."""
    examples: dict[str, list[str]] = {}
    left_out: dict[str, set[str]] = {}
    for number, report in enumerate(corpus, 1):
        texts = [getattr(report, section) for section in TASKS[config]]
        shows = config != "findings_summarization-openi"
        if not all(text.strip() for text in texts) or (shows and not report.images):
            continue  # no record of the task
        names = [f"openi/CXR{number}_{index}.png" for index in range(len(report.images))]
        shown = [name for name, here in zip(names, report.images, strict=True) if here or missing == "keep"]
        reasons = set()
        if shows and not shown:
            reasons.add("missing_image")
        if any(token in text for text in texts for token in TOKENS):
            reasons.add("special_token")
        if reasons:
            left_out[f"CXR{number}"] = reasons
        else:
            examples[f"CXR{number}"] = shown if shows else []
    return examples, left_out


@settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    corpus=_corpus,
    missing=st.sampled_from(["keep", "drop"]),
    variants=st.sampled_from([1, 2, "all"]),
    shard_rows=st.integers(1, 13),
    seed=st.integers(0, 3),
)
def test_no_record_vanishes_and_counts_are_a_recount(
    corpus: list[Report], missing: str, variants: int | str, shard_rows: int, seed: int
) -> None:
    overrides = [f"images.missing={missing}", f"variants={variants}", "max_bad=1", f"seed={seed}"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, out, whole = folder / "data", folder / "out", folder / "whole"
        write_corpus(data, corpus)
        result = build_dataset(load_recipe("openi", [*overrides, f"shard_rows={shard_rows}"]), out, data_root=data)
        quarantine = [json.loads(line) for line in (out / "quarantine.jsonl").read_text("utf-8").splitlines()]
        for config, name in zip(TASKS, result.counts.rows, strict=True):
            examples, left_out = expect(config, corpus, missing)
            made = rows(out, config)
            bad = [row for row in quarantine if row["task"] == name]

            assert len({row["id"] for row in made}) == len(made)
            assert {row["keys"]["record"]: row["keys"]["images"] for row in made} == examples
            assert sorted(row["id"] for row in bad) == sorted(left_out)
            for row in bad:
                assert row["reason"] in left_out[row["id"]] and row["reason"] in set(Reason)
                assert (
                    row["split"] == "test" and row["origin"] == f"ecgen-radiology/{row['id'][3:]}.xml" and row["detail"]
                )

            count = result.counts.rows[name]["test"]
            assert count.examples == count.studies == len(examples)
            assert count.images == len({image for images in examples.values() for image in images})
            per_record = {record: sum(row["keys"]["record"] == record for row in made) for record in examples}
            assert len(set(per_record.values())) <= 1
            if isinstance(variants, int):
                assert set(per_record.values()) <= {variants}
            for row in made:
                answer = corpus[int(row["keys"]["record"][3:]) - 1]
                target = answer.findings if config == "findings_generation-openi" else answer.impression
                assert row["messages"][-1]["content"] == [{"type": "text", "text": target.strip()}]

        # One large shard, rendered as one batch, says the same as many small ones.
        build_dataset(load_recipe("openi", overrides), whole, data_root=data)
        assert rows(whole) == rows(out)
