"""Statistics: of the corpus that the generator planted, of rows, and as files."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.api import build_dataset, load_recipe
from instruct.errors import UsageError
from instruct.reports.statistics import compute_statistics, published_rexgradient
from instruct.reports.statistics.plots import write_plots
from instruct.reports.statistics.report import write_statistics
from instruct.reports.statistics.tables import statistics_tables
from instruct.reports.statistics.texts import EDGES, summarize, word_counts
from instruct.synth import write
from instruct.synth.planted import Planted
from tests.build.helpers import call, rows, write_report, write_spec, write_template
from tests.conftest import Corpora

SPLITS = {"train": "train", "val": "valid", "test": "test"}


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("statistics") / "out"
    build_dataset(load_recipe("demo", ["shard_rows=50", "variants=2"]), out, data_root=corpora.root)
    return out


@pytest.fixture(scope="module")
def statistics(built: Path) -> dict[str, Any]:
    return compute_statistics(built)


def check_against_planted(held: dict[str, Any], planted: Planted, root: Path) -> None:
    """Every fact that the generator tells of REX-Gradient."""
    for split, facts in planted.splits.items():
        ours = held["sources"]["rexgradient"]["splits"][split]
        assert (ours["studies"], ours["patients"], ours["images_listed"]) == (
            facts.studies,
            facts.patients,
            facts.images,
        )
        assert ours["described"] == facts.studies
        assert ours["ages"] == facts.ages
        assert ours["sexes"] == facts.sexes
        views = {"missing" if view == "null" else view: number for view, number in facts.views.items()}
        assert ours["views"] == views
        # The reader takes a comparison that says only "None" for missing; the generator counts its word.
        records = json.loads((root / "metadata" / f"{SPLITS[split]}_metadata_view_position.json").read_text()).values()
        none = sum(record["Comparison"] in ("None", "None.", "N/A") for record in records)
        for section, told in ours["sections"].items():
            lacking = none if section == "comparison" else 0
            assert told["words"] + lacking == facts.words[section], section
            assert told["texts"] + lacking == facts.texts[section], section
            if not lacking:
                assert told["mean_words"] == pytest.approx(facts.mean_words(section), abs=1e-4)
        images = [len(record["ImagePath"]) for record in records]
        assert ours["images_per_study"] == {str(n): images.count(n) for n in sorted(set(images))}
        sites = {record["InstitutionName"] for record in records} - {None, ""}
        assert ours["sites"] == len([site for site in sites if site == site])


def test_rexgradient_is_what_the_generator_planted(statistics: dict[str, Any], corpora: Corpora) -> None:
    check_against_planted(statistics, corpora.planted["rexgradient"], corpora.root / "rexgradient")


@pytest.mark.slow
def test_rexgradient_at_full_size_has_the_published_tables(tmp_path: Path) -> None:
    planted = write("rexgradient", tmp_path / "rexgradient", studies=160_000, images=False)
    recipe = load_recipe(
        "rexgradient", ['tasks=["[Impression Generation] [REX-Gradient]"]', "images.missing=keep", "audit=off"]
    )
    build_dataset(recipe, tmp_path / "out", data_root=tmp_path)
    held = compute_statistics(tmp_path / "out")
    check_against_planted(held, planted, tmp_path / "rexgradient")
    for split, theirs in published_rexgradient().items():
        ours = held["sources"]["rexgradient"]["splits"][split]
        assert [ours["studies"], ours["images_listed"], ours["patients"]] == [
            theirs["studies"],
            theirs["images"],
            theirs["patients"],
        ]
    (first, second) = [table for table in statistics_tables(held) if table.title.startswith("ReXGradient-160K")]
    counted = [row for row in first.rows if row[1] in ("studies", "images", "patients")]
    assert len(counted) == 9 and all(row[2] == row[3] for row in counted)
    # The paper's ages of val add up to 99.9, and the generator holds them to whole studies.
    assert all(abs(row[2] - row[3]) < 0.11 for row in second.rows)  # type: ignore[operator]


def test_rows_are_counted_from_the_shards(statistics: dict[str, Any], built: Path) -> None:
    config = "findings_summarization-rex_gradient"
    held = statistics["rows"]["[Findings Summarization] [REX-Gradient]"]["train"]
    examples = rows(built, config, "train")
    assert held["examples"] == len(examples) == 2 * held["records"]
    answers = [example["conversations"][-1]["value"].split() for example in examples]
    lengths = sorted(map(len, answers))
    assert held["target_words"]["mean"] == pytest.approx(sum(lengths) / len(lengths), abs=1e-4)
    assert held["target_words"]["max"] == lengths[-1]
    assert held["target_words"]["median"] == np.median(lengths)
    assert sum(held["target_words"]["histogram"]) == len(examples)
    prompts = {
        tuple(turn["value"].replace("<image>", "") for turn in example["conversations"][:-1]) for example in examples
    }
    assert held["distinct_prompts"] == len(prompts)
    variants = Counter(example["provenance"]["variant"] for example in examples)
    assert held["variants"] == {str(number): variants[number] for number in sorted(variants)}
    assert "labels" not in held


def test_prompts_that_differ_in_their_number_of_images_are_one(tmp_path: Path) -> None:
    for number in range(9):
        write_report(
            tmp_path, number, f"Findings {number}.", "None.", [f"CXR{number}_{n}" for n in range(1 + number % 3)]
        )
    query = "SELECT study AS id, split, patient, [study] AS studies, images, findings, origin FROM studies"
    write_spec(tmp_path / "specs", {"show": query})
    write_template(tmp_path / "specs", "show", "What is there?", images="any")
    (tmp_path / "mine.yaml").write_text("name: mine\nsources: {openi: {}}\ntasks: ['[show] [Mine]']\n")
    call(
        "build", tmp_path / "mine.yaml", "images.missing=keep", "--data-root", tmp_path, "--out", tmp_path / "out",
        "--specs", tmp_path / "specs",
    )  # fmt: skip
    said = {turns["conversations"][0]["value"] for turns in rows(tmp_path / "out", "show-mine")}
    assert len(said) > 1
    (held,) = compute_statistics(tmp_path / "out", data_root=tmp_path)["rows"].values()
    assert [split["distinct_prompts"] for split in held.values() if split["examples"]] == [1]


@pytest.mark.parametrize(
    ("source", "task"),
    [
        ("chestxray14", "[Image Classification] [ChestXray14]"),
        ("vindr_cxr", "[Abnormality Detection] [VinDr-CXR]"),
    ],
)
def test_labels_of_menus_and_of_regions(tmp_path: Path, source: str, task: str) -> None:
    write(source, tmp_path / source, studies=30, images=source == "vindr_cxr")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f'name: one\nsources: {{{source}: {{}}}}\ntasks: ["{task}"]\nvariants: 2\n')
    build_dataset(load_recipe(recipe), tmp_path / "out", data_root=tmp_path)
    held = compute_statistics(tmp_path / "out", data_root=tmp_path)
    for split, found in held["rows"][task].items():
        name = {"val": "validation"}.get(split, split)
        records = {
            example["keys"]["record"]: example["answers"] or [region["label"] for region in example["regions"]]
            for example in rows(tmp_path / "out", next((tmp_path / "out").glob("*-*")).name, name)
        }
        expected = Counter(label for labels in records.values() for label in set(labels))
        assert found["labels"] == dict(expected)
        assert list(found["labels"].values()) == sorted(found["labels"].values(), reverse=True)
        assert found["records"] == len(records)
    ages = held["sources"][source]["splits"]["test"].get("ages")
    assert (ages is not None) == (source == "chestxray14")


@given(st.lists(st.one_of(st.none(), st.text(alphabet=" \n\tab,.é")), max_size=20))
def test_words_are_those_between_white_space(texts: list[str | None]) -> None:
    expected = [len((text or "").split()) for text in texts]
    assert word_counts(pa.array(texts, pa.string())).tolist() == expected


@given(st.lists(st.integers(0, 2000), min_size=1))
def test_the_histogram_holds_every_length(lengths: list[int]) -> None:
    counts = summarize(np.array(lengths))["histogram"]
    ends = [*EDGES[1:], math.inf]
    assert counts == [sum(low <= length < high for length in lengths) for low, high in zip(EDGES, ends, strict=True)]


def test_a_source_that_is_gone_or_changed_is_told(built: Path, corpora: Corpora, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(corpora.root / "rexgradient" / "metadata", tmp_path / "rexgradient" / "metadata")
    held = compute_statistics(built, data_root=tmp_path)["sources"]
    assert "note" not in held["rexgradient"] and held["rexgradient"]["splits"]["test"]["described"]
    file = tmp_path / "rexgradient" / "metadata" / "test_metadata_view_position.json"
    file.write_text(file.read_text() + " ")
    held = compute_statistics(built, data_root=tmp_path)["sources"]
    assert held["rexgradient"]["note"].endswith(
        "test_metadata_view_position.json is no longer the file that the build read"
    )
    assert set(held["rexgradient"]["splits"]["test"]) == {"studies", "patients", "images"}
    text = "\n".join(table.note for table in statistics_tables({"rows": {}, "tokenizer": None, "sources": held}))
    assert "is no longer the file that the build read." in text


def test_the_same_statistics_give_the_same_bytes(statistics: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    few = statistics | {"rows": dict(list(statistics["rows"].items())[:2])}
    for form in ("svg", "png"):
        first, second = tmp_path / f"{form}1", tmp_path / f"{form}2"
        for folder in (first, second):
            folder.mkdir()
            files, plots = write_statistics(folder, few, form)  # type: ignore[arg-type]
            assert len(plots) >= 8 and {plot.suffix for plot in plots} == {f".{form}"}
        for file in files:
            assert file.read_bytes() == (first / file.relative_to(second)).read_bytes(), file.name
    again = write_plots(json.loads((first / "statistics.json").read_text()), tmp_path / "read")  # keys in another order
    for file in again:
        assert file.read_bytes() == (tmp_path / "svg1" / file.relative_to(tmp_path / "read")).read_bytes(), file.name
    text = (first / "statistics.md").read_text()
    assert text.count("](plots/") == len(plots)
    write_statistics(second, few, "none")
    assert "plots/" not in (second / "statistics.md").read_text()


def test_numbers_of_images_stand_in_order() -> None:
    from instruct.reports.statistics import plots

    held = {"train": {"2": 50, "10": 1, "1": 9}, "test": {"3": 2}}
    source = {"splits": {split: {"images_per_study": numbers} for split, numbers in held.items()}}
    ((_, (_, groups, values, _)),) = plots._plots({"sources": {"s": source}, "rows": {}})
    assert groups == ["1", "2", "3", "10"]
    assert values == {"train": [15.0, 100 * 50 / 60, 0.0, 100 / 60], "test": [0.0, 0.0, 100.0, 0.0]}


def test_plots_of_earlier_statistics_go(statistics: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.png").write_bytes(b"")
    (tmp_path / "plots" / "notes.txt").write_bytes(b"")
    _, plots = write_statistics(tmp_path, statistics | {"rows": {}})
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {plot.name for plot in plots} | {"notes.txt"}


def test_the_command_writes_prints_and_gives_json(built: Path) -> None:
    done = call("stats", built, "--plots", "none")
    assert done.out.startswith("## Studies, patients and images\n\n| source | split |")
    assert "## ReXGradient-160K, Table 1" in done.out and "\x1b" not in done.out
    written = json.loads((built / "statistics.json").read_text())
    assert json.loads(call("stats", built, "--plots", "none", "--json").out) == written
    call("verify", built)


def test_tokens_of_a_model(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path / "tiny")
    held = compute_statistics(built, tokenizer=tmp_path / "tiny")
    assert held["tokenizer"] == "tiny"
    found = held["sources"]["rexgradient"]["splits"]["train"]["sections"]["findings"]
    assert found["mean_tokens"] > found["mean_words"]  # marks are tokens of their own here
    row = held["rows"]["[Findings Generation] [REX-Gradient]"]["train"]
    assert row["target_tokens"]["mean"] == pytest.approx(found["mean_tokens"], abs=1e-3)
    assert any("mean tokens (tiny)" in table.heads for table in statistics_tables(held))
    (tmp_path / "empty").mkdir()
    for folder, why in ((tmp_path / "gone", "no such folder"), (tmp_path / "empty", "holds no tokenizer")):
        with pytest.raises(UsageError, match=why):
            compute_statistics(built, tokenizer=folder)


def test_no_build_no_statistics(tmp_path: Path) -> None:
    assert "is no build of cxr-instruct" in call("stats", tmp_path, check=2).err
