"""Predictions against a dataset folder: every row of the demo, in every dialect, is read back as it was asked for."""

import json
from collections import Counter
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from scipy.ndimage import distance_transform_edt

from instruct.api import build_dataset, load_recipe
from instruct.cli.main import cli
from instruct.digest import digest_file
from instruct.errors import DataError, UsageError
from instruct.evaluation import evaluate, read_predictions
from instruct.evaluation.tasks.kinds import KINDS, kind_of
from instruct.prompts.dialect import DIALECTS, TOLERANCE
from instruct.regions import decode_mask
from instruct.specs.recipe import SourceChoice
from instruct.specs.task_spec import load_task_specs
from instruct.synth import SOURCES, write

# What is 1 where every answer is right. Macro-F1 counts a label that no example has as 0, so it is not among them.
PERFECT = {
    "labels": ("label_exact", "label_f1", "label_micro_f1"),
    "choice": ("choice_accuracy", "choice_macro_f1"),
    "nli": ("nli_accuracy", "nli_macro_f1"),
    "temporal": ("temporal_macro_accuracy", "temporal_accuracy"),
    "boxes": ("acc50", "detection_f1"),
    "segmentation": ("acc50", "detection_f1"),
    "vqa": ("vqa_exact", "vqa_f1", "vqa_recall", "vqa_closed"),
    "ner": ("entity_precision", "entity_recall", "entity_f1", "entity_example_f1"),
    "report_evaluation": ("kendall_tau_b",),
    "text": ("bleu1", "rouge_l"),
    "report": ("bleu1", "rouge_l"),
}
WITH_PLACES = ("ms_cxr", "object_cxr", "siim", "vindr_cxr", "vindr_pcxr")
# Largest error of a coordinate: a share of the side, pixels.
ERRORS = {
    "thousand": (1 / 2000, 0),
    "unit": (1 / 2000, 0),
    "json": (1 / 2000, 0),
    "pixels": (0, 0.5),
    "tags": (1 / 100, 0),
    "paligemma": (1 / 1024, 0),
}
NONSENSE = "qzx ??"


def examples_of(folder):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for task in manifest["tasks"]:
        for split, content in task["splits"].items():
            for shard in content["shards"]:
                with pa.memory_map(str(folder / shard["file"])) as source:
                    for example in pa.ipc.open_stream(source).read_all().to_pylist():
                        yield {**example, "split": split}


def answer_of(example):
    return example["messages"][-1]["content"][0]["text"]


def lines_of(examples, say=answer_of):
    keys = ("id", "task", "dataset", "split")
    return [{**{key: example[key] for key in keys}, "prediction": say(example)} for example in examples]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A data root with 24 studies of every source."""
    root = tmp_path_factory.mktemp("made-up")
    for source in SOURCES:
        if not (root / source).exists():
            write(source, root / source, studies=24)
    return root


@pytest.fixture(scope="module")
def build(made_up, tmp_path_factory):
    """Builds a dialect once: ``thousand`` from every source, others from those with boxes or masks."""
    folders = {}

    def built(dialect):
        if dialect not in folders:
            recipe = load_recipe("all", [f"dialect={dialect}", "variants=all"])
            # Rad-ReStruct alone has more examples than all others together; one variant of them has every form.
            names = [name for name in SOURCES if name != "rad_restruct"] if dialect == "thousand" else WITH_PLACES
            sources = {name: SourceChoice() for name in names}
            folders[dialect] = tmp_path_factory.mktemp("built") / dialect
            build_dataset(recipe.model_copy(update={"sources": sources}), folders[dialect], data_root=made_up)
        return folders[dialect]

    return built


@pytest.fixture(scope="module")
def questions(made_up, tmp_path_factory):
    """Rad-ReStruct alone: questions of several right options."""
    folder = tmp_path_factory.mktemp("built") / "questions"
    recipe = load_recipe("all").model_copy(update={"sources": {"rad_restruct": SourceChoice()}})
    build_dataset(recipe, folder, data_root=made_up)
    return folder


def assert_perfect(report):
    for part in report.parts:
        kind = kind_of(part.group.task)
        assert part.n_given == part.n_scored
        assert part.counts["examples_without_prediction"] == 0
        assert part.counts.get("unparsed_answers", 0) == 0, part.group
        for name in PERFECT[kind]:
            result = part.results[name]
            if result.n_scored:
                assert result.value == pytest.approx(1), (part.group, name)
        scored = [part.results[name].n_scored for name in PERFECT[kind]]
        assert max(scored) > 0, part.group


def test_right_answers_of_every_row_are_perfect(build, jsonl):
    folder = build("thousand")
    examples = list(examples_of(folder))
    report = evaluate(jsonl(lines_of(examples)), folder, resamples=2)
    assert {(e["task"], e["dataset"], e["split"]) for e in examples} == {tuple(part.group) for part in report.parts}
    assert {kind_of(part.group.task) for part in report.parts} == set(PERFECT)
    assert {part.group.task for part in report.parts} == set(KINDS)  # every task there is
    by_name = {entry.spec.dataset: entry.spec.source for entry in load_task_specs()}
    assert {by_name[e["dataset"]] for e in examples if e["regions"]} == set(WITH_PLACES)
    errors = [part.results["errors_mae"].value for part in report.parts if "errors_mae" in part.results]
    assert errors and not any(errors)
    assert sum(part.n_given for part in report.parts) == len(examples) > 10_000
    assert_perfect(report)


def test_questions_with_several_right_options(questions, jsonl):
    examples = list(examples_of(questions))
    several = [e for e in examples if len(e["answers"] or ()) > 1]
    assert several
    assert_perfect(evaluate(jsonl(lines_of(examples)), questions, resamples=2))
    path = jsonl(lines_of(several, lambda e: e["answers"][0]))
    for part in evaluate(path, questions, resamples=2).parts:
        assert part.results["vqa_closed"].value == part.results["vqa_exact"].value == 0
        assert part.counts["unparsed_answers"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_right_places_are_read_back_within_the_dialects_error(build, jsonl, dialect):
    folder = build(dialect)
    asked = {e["task"] for e in examples_of(folder) if e["regions"]}  # in the answer or in the question
    examples = [e for e in examples_of(folder) if e["task"] in asked]
    report = evaluate(jsonl(lines_of(examples)), folder, resamples=2)
    assert_perfect(report)
    known = {(e["task"], e["dataset"], e["split"], e["id"]): e["regions"] for e in examples}
    checked = dict.fromkeys(("box_best_iou", "box_matched_iou", "dice"), 0)
    for part in report.parts:
        for row, study in enumerate(part.ids):
            regions = known[(*part.group, study)]
            for name in checked:
                column = part.columns.get(name)
                if regions and column is not None and np.isfinite(column[row]):
                    least = least_dice(json.dumps(regions), dialect) if name == "dice" else least_iou(regions, dialect)
                    assert column[row] >= least - 1e-9, (part.group, study, name)
                    checked[name] += 1
    assert min(checked.values()) > 5
    # Of masks as thin as these the bound allows much; what is lost in truth is little.
    dice = [value for part in report.parts for value in part.columns.get("dice", ()) if np.isfinite(value)]
    assert min(dice) > (0.8 if dialect == "tags" else 0.95)


def least_iou(regions, dialect):
    """Least mean overlap of boxes whose every edge is off by the dialect's error."""
    share, pixels = ERRORS[dialect]
    found = []
    for region in regions:
        x1, y1, x2, y2 = region["box"]
        height, width = region["size"]
        x, y = 2 * (share + pixels / width), 2 * (share + pixels / height)
        inner = max(x2 - x1 - x, 0) * max(y2 - y1 - y, 0)
        found.append(inner / ((x2 - x1 + x) * (y2 - y1 + y)))
    return np.mean(found)


@cache
def least_dice(regions, dialect):
    """Least Dice where every pixel changes that polygons may change: those close enough to the edge."""
    mask = np.any([decode_mask(region["mask"], *region["size"]) for region in json.loads(regions)], axis=0)
    share, pixels = ERRORS[dialect]
    side = max(mask.shape)
    moved = np.hypot(*(share * length + pixels for length in mask.shape))
    reach = max(2 * TOLERANCE * side, TOLERANCE * side + moved)
    # From the middle of a pixel to the nearest pixel of the other kind is at most a diagonal more than to the edge.
    changed = sum((one & (distance_transform_edt(one) <= reach + 1.5)).sum() for one in (mask, ~mask))
    return 1 - changed / max(2 * mask.sum() - changed, changed)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers_that_cannot_be_read_are_counted_and_wrong(build, jsonl, dialect):
    folder = build(dialect)
    parsed = {"labels", "choice", "nli", "temporal", "boxes", "segmentation", "vqa", "ner", "report_evaluation"}
    examples = [e for e in examples_of(folder) if kind_of(e["task"]) in parsed]
    report = evaluate(jsonl(lines_of(examples, lambda e: NONSENSE)), folder, resamples=2)
    # Any words are an answer to an open question, unless it is one of yes or no.
    is_read = Counter(
        (e["task"], e["dataset"], e["split"])
        for e in examples
        if e["options"]
        or kind_of(e["task"]) in ("boxes", "segmentation", "ner", "report_evaluation")
        or (kind_of(e["task"]) == "vqa" and answer_of(e).strip(".").lower() in ("yes", "no"))
    )
    assert sum(is_read.values()) > len(examples) / 4
    for part in report.parts:
        kind = kind_of(part.group.task)
        assert part.counts["unparsed_answers"] == is_read[tuple(part.group)], part.group
        for name in PERFECT[kind]:
            value = part.results[name].value
            if kind == "report_evaluation":
                assert value == pytest.approx(-1)
            else:
                assert value in (0, None), (part.group, name)
        if kind in ("boxes", "segmentation"):
            assert np.nanmax(part.columns["box_best_iou"]) == 0


def test_a_blank_answer_is_unparsed_in_every_task_that_is_read(build, jsonl):
    folder = build("tags")
    lines = lines_of(examples_of(folder), lambda e: None)
    for part in evaluate(jsonl(lines), folder, resamples=2).parts:
        assert sum(part.empty) == part.n_given
        if "unparsed_answers" in part.counts:
            assert part.counts["unparsed_answers"] == part.n_given


def test_one_damaged_answer_costs_one_example(build, jsonl):
    folder = build("tags")
    examples = [e for e in examples_of(folder) if e["task"] == "Phrase Grounding" and e["split"] == "train"]
    lines = lines_of(examples)
    lines[3]["prediction"] = lines[3]["prediction"].replace("<|box|>", "[").replace("<|/box|>", "]")
    (part,) = evaluate(jsonl(lines), folder, resamples=2).parts
    assert part.counts["unparsed_answers"] == 1
    assert part.results["acc50"].value == pytest.approx(1 - 1 / len(lines))
    assert part.columns["box_best_iou"][3] == 0


def test_labels_of_boxes_count_where_they_were_asked_for(build, jsonl):
    folder = build("json")
    examples = [e for e in examples_of(folder) if e["task"].startswith("Abnormality") and e["regions"]]

    def named(name):
        return lambda e: json.dumps([{"label": name, **item} for item in json.loads(answer_of(e))])

    def renamed(e):
        return json.dumps([{**item, "label": "something else"} for item in json.loads(answer_of(e))])

    unasked = evaluate(jsonl(lines_of(examples, named("opacity"))), folder, metrics="boxes", resamples=2)
    assert all(part.results["acc50"].value == 1 for part in unasked.parts)
    for part in evaluate(jsonl(lines_of(examples, renamed)), folder, metrics="boxes", resamples=2).parts:
        assert part.results["acc50"].value == (0 if part.group.task == "Abnormality Detection" else 1)


def test_temporal_macro_accuracy_knows_the_findings(build, jsonl):
    folder = build("thousand")
    examples = [e for e in examples_of(folder) if e["task"] == "Temporal Image Classification"]
    pairs = read_predictions(jsonl(lines_of(examples)), folder)
    for extra, example in zip(pairs.extras, examples, strict=True):
        assert extra["finding"] in example["conversations"][-2]["value"].lower()
    assert len({extra["finding"] for extra in pairs.extras}) > 1


def test_examples_without_a_prediction_are_counted_and_other_splits_left_alone(build, jsonl):
    folder = build("tags")
    examples = [e for e in examples_of(folder) if e["task"] == "Phrase Grounding"]
    trained = [e for e in examples if e["split"] == "train"]
    path = jsonl([{"id": e["id"], "task": e["task"], "prediction": answer_of(e)} for e in trained[:5]])
    report = evaluate(path, folder, resamples=2)
    (part,) = report.parts
    assert tuple(part.group) == ("Phrase Grounding", "MS-CXR", "train")
    assert (part.n_given, part.n_scored) == (5, 5)
    assert part.counts["examples_without_prediction"] == len(trained) - 5 > 0
    assert f"examples without prediction: {len(trained) - 5}" in report.markdown()
    manifest = folder / "manifest.json"
    expected = {"role": "references", "file": "manifest.json", "sha256": digest_file(manifest)}
    assert expected in report.summary()["inputs"]


def test_the_published_name_of_a_split_is_understood(build, jsonl):
    folder = build("tags")
    lines = [line for line in lines_of(examples_of(folder)) if line["split"] == "val"]
    report = evaluate(jsonl([{**line, "split": "validation"} for line in lines]), folder, resamples=2)
    assert {part.group.split for part in report.parts} == {"val"}


def test_ids_that_the_folder_does_not_hold(build, jsonl):
    folder = build("tags")
    (example, *_) = (e for e in examples_of(folder) if e["task"] == "Phrase Grounding" and e["split"] == "train")
    (line,) = lines_of([example])
    strangers = [{"id": f"nobody-{number}", "prediction": "x"} for number in range(7)]
    with pytest.raises(DataError, match=r"7 predictions have no example in .*: 'nobody-0', .*'nobody-4' …\. Every"):
        evaluate(jsonl([line, *strangers]), folder)
    with pytest.raises(
        DataError, match=r"file.jsonl:1: 1 prediction has no example in .* Phrase Grounding / .* / test"
    ):
        evaluate(jsonl([{**line, "split": "test"}]), folder)


def test_an_id_of_several_examples_needs_its_task(build, jsonl):
    folder = build("tags")
    (example, *_) = (e for e in examples_of(folder) if e["task"] == "Phrase Grounding")
    bare = {"id": example["id"], "prediction": answer_of(example)}
    with pytest.raises(DataError, match=r"means 3 examples .*Grounded Captioning.*; add 'task' to the lines"):
        evaluate(jsonl([bare]), folder)
    with pytest.raises(DataError, match="occurs twice"):
        evaluate(jsonl([{**bare, "task": example["task"]}, lines_of([example])[0]]), folder)


def test_predictions_of_another_build_are_refused(build, jsonl):
    examples = [e for e in examples_of(build("unit")) if e["task"] == "Phrase Grounding"]
    lines = [{**line, "reference": line["prediction"]} for line in lines_of(examples)]
    assert_perfect(evaluate(jsonl(lines), build("unit"), resamples=2))
    with pytest.raises(DataError, match="made with another build"):
        evaluate(jsonl(lines), build("tags"))


def test_a_folder_that_is_no_build_or_lost_a_shard(build, jsonl, tmp_path):
    path = jsonl([{"id": "a", "prediction": "x"}])
    with pytest.raises(UsageError, match=r"is no build of cxr-instruct \(no manifest.json\)"):
        evaluate(path, tmp_path)
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "manifest.json").write_bytes((build("tags") / "manifest.json").read_bytes())
    with pytest.raises(DataError, match=r"data-00000-of-00001.arrow: is missing or damaged; `cxr-instruct verify`"):
        evaluate(path, folder)


def test_the_command(build, jsonl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = build("tags")
    lines = [line for line in lines_of(examples_of(folder)) if line["task"] == "Pneumothorax Segmentation"]
    outcome = CliRunner().invoke(cli, ["evaluate", str(jsonl(lines)), "--references", str(folder), "--json"])
    assert outcome.exit_code == 0, outcome.output
    parts = json.loads(outcome.stdout)["parts"]
    assert {part["split"] for part in parts} == {"train", "val", "test"}
    assert all(part["counts"]["unparsed_answers"] == 0 for part in parts)
