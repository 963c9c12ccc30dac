import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from instruct.errors import DataError, UsageError
from instruct.evaluation import evaluate, export_pairs, make_pairs, read_predictions
from instruct.evaluation.catalogue import GROUPS, METRICS

IDS = ["a", "b", "c"]
PAIRS = make_pairs(
    IDS,
    [
        "No acute findings.",
        "Bilateral pleural effusions and basilar atelectasis.",
        "Mild cardiomegaly with clear lungs.",
    ],
    [
        "No acute cardiopulmonary process.",
        "Small bilateral pleural effusions with bibasilar atelectasis.",
        "Mild cardiomegaly. No pleural effusion.",
    ],
)
COMPONENTS = [
    {"id": "a", "bertscore": 0.4, "sembscore": 0.5, "radgraph_f1": 0.2},
    {"id": "b", "bertscore": 0.6, "sembscore": 0.7, "radgraph_f1": 0.5},
    {"id": "c", "bertscore": 0.1, "sembscore": 0.3, "radgraph_f1": 0.0},
]


def test_default_scores_what_it_can_and_says_what_the_rest_needs():
    report = evaluate(PAIRS)
    assert report.result("bleu2").value == pytest.approx((0.389400 + 0.518059 + 0.267681) / 3, abs=1e-6)
    (part,) = report.parts
    assert list(part.results) == ["bleu1", "bleu2", "bleu3", "bleu4", "rouge_l"]
    assert part.skipped["bertscore"].reason == "weights missing"
    assert part.skipped["inv_radcliq_v1"].reason == "needs radgraph_f1, bertscore, sembscore"
    text = report.markdown()
    assert "| BERTScore |  | n/a (weights missing) |" in text
    assert "distilroberta-base (config.json, tokenizer.json, model.safetensors; 330 MB; licence: Apache-2.0)" in text
    with pytest.raises(UsageError, match=r"green: n/a \(judge outputs missing\)"):
        report.result("green")


def test_composites_follow_from_imported_components(jsonl):
    report = evaluate(PAIRS, metrics=["radcliq_v0", "radcliq_v1"], scores=jsonl(COMPONENTS))
    means = [np.mean([row[name] for row in COMPONENTS]) for name in ("radgraph_f1", "bertscore", "sembscore")]
    expected = 2.4501430833 - 1.2452163302 * means[0] - 1.6508453287 * means[1] - 0.9947717072 * means[2]
    found = report.result("inv_radcliq_v1")
    assert report.result("radcliq_v1").value == pytest.approx(expected, abs=1e-8)
    assert found.value == pytest.approx(1 / expected, abs=1e-8)
    assert found.reciprocal.ci95_leaderboard == report.result("radcliq_v1").half_width
    assert found.half_width == pytest.approx(found.reciprocal.ci95_leaderboard / expected**2)
    assert found.origin == "composed from radgraph_f1, bertscore, sembscore, bleu2"
    assert report.result("bertscore").origin.startswith("imported from file.jsonl (sha256 ")
    assert math.isfinite(report.result("radcliq_v0").value)


def test_a_composite_by_name_is_refused_with_what_is_missing(jsonl):
    rows = [{"id": row["id"], "bertscore": row["bertscore"]} for row in COMPONENTS]
    with pytest.raises(UsageError) as caught:
        evaluate(PAIRS, metrics="inv_radcliq_v1", scores=jsonl(rows))
    message = str(caught.value)
    assert "radcliq_v1 is refused, it needs radgraph_f1, sembscore" in message
    assert "radgraph_f1 (weights missing)" in message
    assert "--scores" in message


def test_reciprocal_below_the_pole_is_not_printed_as_a_number(jsonl):
    rows = [{"id": name, "bertscore": 1, "sembscore": 1, "radgraph_f1": 1} for name in IDS]
    report = evaluate(PAIRS, metrics="rexrank", scores=jsonl(rows))
    result = report.result("inv_radcliq_v1")
    assert result.value is None
    assert "n/a (the mean is not above 0)" in report.markdown()
    assert report.result("radcliq_v1").value == pytest.approx(-1.4406903, abs=1e-6)


def test_rexrank_table_has_its_columns_and_the_raw_interval(jsonl):
    report = evaluate(PAIRS, scores=jsonl(COMPONENTS), leaderboard="rexrank")
    text = report.markdown()
    assert "| 1/RadCliQ-v1 | BLEU | BertScore | SembScore | RadGraph | RaTEScore | GREEN | 1/FineRadScore |" in text
    result = report.result("inv_radcliq_v1")
    assert f"| {result.value:.3f} ± {result.reciprocal.raw.ci95:.3f} | 0.392 ± " in text
    assert "no interval of the reciprocal" in text
    assert text.count("n/a (weights missing)") == 2


def test_missing_scores_shrink_only_their_own_metric(jsonl):
    rows = [dict(row) for row in COMPONENTS]
    rows[1]["bertscore"] = None
    report = evaluate(PAIRS, metrics=["radcliq_v1", "sembscore"], scores=jsonl(rows))
    assert report.result("bertscore").n_scored == 2
    assert report.result("sembscore").n_scored == 3
    assert report.result("radcliq_v1").n_scored == 2
    assert report.table().column("radcliq_v1").null_count == 1


def importable():
    """Every report metric that has columns of its own, with values for its columns that are in range."""
    for name in GROUPS["report"]:
        metric = METRICS[name]
        yield (
            name,
            {
                column.name: [[0.0] * column.width, [1.0] * column.width] if column.width > 1 else [0.25, 0.75]
                for column in metric.columns
            },
        )


@pytest.mark.parametrize(
    ("name", "columns"), list(importable()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_metric_can_be_imported(jsonl, name, columns):
    pairs = make_pairs(["a", "b"], ["x", "y"], ["x", "z"])
    rows = [{"id": pairs.ids[row], **{key: both[row] for key, both in columns.items()}} for row in (0, 1)]
    (part,) = evaluate(pairs, metrics=name, scores=jsonl(rows)).parts
    for statistic in METRICS[name].statistics:
        result = part.results[statistic.name]
        assert result.origin.startswith("imported from file.jsonl (sha256 ")
        assert result.n_scored == 2
        assert result.ci95 is not None or statistic.reciprocal
        expected = {"inv_radcliq_v1": 2.0, "inv_fineradscore": 2.0}.get(statistic.name, 0.5)
        assert statistic.name.startswith("f1chexbert") or result.value == pytest.approx(expected)
        assert statistic.name in evaluate(pairs, metrics=name, scores=jsonl(rows)).summary()["parts"][0]["results"]


def test_a_score_may_pass_one_by_what_rounding_gives(jsonl):
    pairs = make_pairs(["a"], ["x"], ["x"])
    rows = [{"id": "a", "bertscore": 1 + 4e-7 / 0.1526681}]  # a cosine of 32-bit floats, rescaled
    assert evaluate(pairs, metrics="bertscore", scores=jsonl(rows)).result("bertscore").value == pytest.approx(
        1, abs=1e-5
    )
    with pytest.raises(DataError, match="a fraction, not a percentage"):
        evaluate(pairs, metrics="bertscore", scores=jsonl([{"id": "a", "bertscore": 1.2}]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (COMPONENTS[:2], "file.jsonl: 1 studies of all have no row: c"),
        ([*COMPONENTS, {"id": "x", "bertscore": 0.1}], "1 studies have a row but no prediction: x"),
        ([*COMPONENTS, COMPONENTS[0]], r"file.jsonl:4: id 'a' occurs twice"),
        (
            [{"id": "a", "bertscore": 43.0}],
            r"bertscore is 43.0; bertscore lies between .* \(a fraction, not a percent",
        ),
        ([{"id": "a", "bertscore": "high"}], "bertscore is 'high'; expected a number"),
        ([{"id": "a", "bertscore": True}], "bertscore is True; expected a number or null"),
        ([{"id": "a", "bertscore": [1]}], "expected a number or null"),
        ([{"id": "a", "bertscore": [1, 2]}], "expected a number or null"),
        ([{"id": "a", "chexbert_prediction": [0, 1]}], "expected a list of 14 numbers"),
        ([{"id": "a", "perplexity": 3}], "no known score column among id, perplexity; expected one of"),
        ([{"id": "a", "bleu2": 0.1, "bleu_score": 0.1}], "are the same column"),
    ],
)
def test_bad_score_files(jsonl, rows, message):
    with pytest.raises(DataError, match=message):
        evaluate(PAIRS, scores=jsonl(rows))


def test_official_column_names_and_ignored_fields(tmp_path):
    path = tmp_path / "report_scores.csv"
    path.write_text(
        "study_id,report,bleu_score,bertscore,semb_score,radgraph_combined\n"
        "a,x,0.1,0.4,0.5,0.2\nb,x,0.2,0.6,0.7,0.5\nc,x,0.3,0.1,0.3,0.0\n"
    )
    report = evaluate(PAIRS, metrics="radcliq_v1", scores=path)
    assert report.result("bleu2").value == pytest.approx(0.2)
    assert "report_scores.csv: ignored fields report" in report.parts[0].notes


def test_two_files_with_the_same_column(jsonl):
    first, second = jsonl(COMPONENTS, "one.jsonl"), jsonl(COMPONENTS, "two.jsonl")
    with pytest.raises(DataError, match=r"two.jsonl: column 'bertscore' was already given by imported from one.jsonl"):
        evaluate(PAIRS, scores=[first, second])


def test_f1chexbert_from_imported_labels(jsonl):
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    truth, said = random.integers(0, 2, (3, 14)), random.integers(0, 2, (3, 14))
    rows = [
        {"id": name, "chexbert_reference": t.tolist(), "chexbert_prediction": p.tolist()}
        for name, t, p in zip(IDS, truth, said, strict=True)
    ]
    report = evaluate(PAIRS, metrics="f1chexbert", scores=jsonl(rows))
    five = [1, 4, 5, 7, 9]
    for name, columns in (("14", list(range(14))), ("5", five)):
        for average in ("micro", "macro"):
            expected = f1_score(truth[:, columns], said[:, columns], average=average, zero_division=0)
            result = report.result(f"f1chexbert_{name}_{average}")
            assert result.value == pytest.approx(expected)
            assert result.ci_method == "percentile bootstrap of studies (1000, seed 0)"
            assert result.ci95[0] <= result.value <= result.ci95[1]


def test_counts_of_given_scored_and_empty(rexrank_file):
    report = evaluate(rexrank_file, metrics="lexical")
    (part,) = report.parts
    plain = report.summary()["parts"][0]
    assert (plain["n_given"], plain["n_scored"], plain["n_without_reference"], plain["n_empty_predictions"]) == (
        4,
        3,
        1,
        2,
    )
    assert plain["results"]["bleu2"]["n_scored"] == 3
    assert part.columns["bleu2"].shape == (4,)
    assert part.columns["bleu2"][2] == 0
    assert math.isnan(part.columns["bleu2"][3])


def test_written_files_agree_and_come_back(tmp_path, rexrank_file, jsonl):
    report = evaluate(rexrank_file, metrics="lexical")
    paths = report.write(tmp_path / "out")
    assert [path.name for path in paths] == ["scores.parquet", "scores.jsonl", "summary.json", "summary.md"]
    rows = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert pq.read_table(paths[0]).to_pylist() == rows
    assert [row["scored"] for row in rows] == [True, True, True, False]
    assert (
        {row["evaluation"] for row in rows} == {report.identity} != {evaluate(rexrank_file, metrics="bleu2").identity}
    )
    summary = json.loads(paths[2].read_text())
    assert summary["inputs"][0]["file"] == "predictions.json"
    assert len(summary["inputs"][0]["sha256"]) == 64
    assert set(summary["versions"]) == {"python", "cxr-instruct", "numpy", "pyarrow", "rapidfuzz"}
    origin = json.loads(pq.read_schema(paths[0]).metadata[b"cxr_instruct"])
    assert origin["versions"] == summary["versions"]
    assert origin["evaluation"] == summary["evaluation"] == report.identity and report.identity in paths[3].read_text()
    for name, result in summary["parts"][0]["results"].items():
        assert origin["definitions"][name]["definition"] == result["definition"]
        assert origin["definitions"][name]["direction"] == result["direction"] == "higher"
    again = evaluate(rexrank_file, metrics="lexical", scores=paths[0])
    assert again.result("rouge_l").value == report.result("rouge_l").value
    assert again.result("rouge_l").origin.startswith("imported")
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in evaluate(rexrank_file, metrics="lexical").write(tmp_path / "two")] == first


def test_against_another_system(tmp_path, rexrank_file):
    other = evaluate(rexrank_file, metrics="lexical").write(tmp_path / "other")[0]
    report = evaluate(rexrank_file, metrics="lexical", against=other)
    assert {item.name: item.test.p_value for item in report.comparisons} == dict.fromkeys(GROUPS["lexical"], 1.0)
    assert report.comparisons[0].test.n == 3
    assert "Against the other system" in report.markdown()
    with pytest.raises(DataError, match="3 studies of all have no row: a, b, c"):
        evaluate(PAIRS, metrics="lexical", against=other)


def test_one_pair_has_a_value_and_no_interval():
    report = evaluate(make_pairs(["a"], ["clear lungs"], ["clear lungs"]), metrics="lexical")
    assert report.result("bleu2").value == pytest.approx(1)
    assert report.result("bleu2").ci95 is None
    assert report.summary()["parts"][0]["results"]["bleu2"]["ci95_half_width"] is None


def test_tasks_choose_their_metrics_and_come_as_parts(jsonl):
    rows = [
        {"id": "1", "task": "Findings Generation", "dataset": "OpenI", "prediction": "clear", "reference": "clear"},
        {
            "id": "1",
            "task": "Phrase Grounding",
            "dataset": "MS-CXR",
            "prediction": "[0,0,1,1]",
            "reference": "[0,0,1,1]",
        },
    ]
    report = evaluate(jsonl(rows))
    assert [str(part.group) for part in report.parts] == ["Findings Generation / OpenI", "Phrase Grounding / MS-CXR"]
    assert report.parts[1].results["miou"].value == 1
    assert "bleu2" not in report.parts[1].results
    table = report.table()
    assert table.num_rows == 2
    assert table.column("bleu2").to_pylist()[1] is None
    with pytest.raises(UsageError, match="the report has 2 parts"):
        report.result("bleu2")


def test_unknown_names_are_answered_with_the_known_ones(jsonl, rexrank_file):
    with pytest.raises(UsageError, match=r"unknown metric 'blue2'; expected one of report, lexical"):
        evaluate(PAIRS, metrics="blue2")
    with pytest.raises(UsageError, match=r"unknown leaderboard 'mine'; expected rexrank"):
        evaluate(PAIRS, leaderboard="mine")
    row = {"id": "1", "task": "Guessing", "prediction": "x", "reference": "x"}
    with pytest.raises(UsageError, match=r"task 'Guessing' has no metrics of its own; choose some"):
        evaluate(jsonl([row]))
    assert evaluate(jsonl([row]), metrics="lexical").result("bleu1").value == 1


def test_every_metric_names_what_it_needs_or_computes():
    names = [statistic.name for metric in METRICS.values() for statistic in metric.statistics]
    assert len(names) == len(set(names))
    columns = [column.name for metric in METRICS.values() for column in metric.columns]
    assert len(columns) == len(set(columns))
    for metric in METRICS.values():
        made_by = (metric.score is not None) + (metric.compose is not None)
        assert made_by == 1, metric.name
        assert all(set(statistic.columns) <= {c.name for c in metric.columns} for statistic in metric.statistics)
    for group in GROUPS.values():
        assert set(group) <= set(METRICS)


def test_export_for_the_official_code_reads_back(tmp_path, rexrank_file):
    pairs = read_predictions(rexrank_file)
    paths = export_pairs(pairs, tmp_path / "official")
    back = read_predictions(paths[0], paths[1])
    assert back.ids == ("1", "2", "3")
    assert back.predictions == pairs.scored().predictions
    assert back.references == pairs.scored().references
    assert read_predictions(paths[3]).references == pairs.scored().references


def test_every_input_is_checked_before_anything_is_scored(monkeypatch, tmp_path, jsonl):
    other = jsonl([{"id": name, "bleu2": 0.1} for name in "abc"], "other.jsonl")
    monkeypatch.setattr("instruct.evaluation.suite.run_metrics", None)
    with pytest.raises(DataError, match=r"gone.parquet: no such file"):
        evaluate(PAIRS, metrics="lexical", against=tmp_path / "gone.parquet")
    with pytest.raises(DataError, match=r"gone.jsonl: no such file"):
        evaluate(PAIRS, metrics="lexical", judgements={"green": tmp_path / "gone.jsonl"})
    with pytest.raises(DataError, match=r"other.jsonl: none of this report's scores are in the file"):
        evaluate(PAIRS, metrics="rouge_l", against=other)
    with pytest.raises(DataError, match="1 studies of all have no row: d"):
        evaluate(make_pairs([*"abcd"], ["x"] * 4, ["x"] * 4), metrics="lexical", against=other)
    rows = [{"id": "1", "task": task, "prediction": "x", "reference": "x"} for task in ("Findings Generation", "No")]
    with pytest.raises(UsageError, match="task 'No' has no metrics of its own"):
        evaluate(jsonl(rows))


def test_parts_that_ask_a_judge_come_last(monkeypatch, jsonl):
    """An unreadable truth of another task is found before the judge is paid."""
    rows = [REPORTS_AND_BOXES[0], {**REPORTS_AND_BOXES[1], "reference": "somewhere"}]
    monkeypatch.setattr("instruct.evaluation.green.judge_outputs", None)
    with pytest.raises(DataError, match="example '2': the true answer 'somewhere' cannot be read"):
        evaluate(jsonl(rows))


def test_a_column_without_values_is_not_compared_and_costs_no_other(jsonl):
    other = jsonl([{"id": name, "bleu2": 0.1, "rouge_l": None} for name in "abc"], "other.jsonl")
    report = evaluate(PAIRS, metrics="lexical", against=other)
    assert [item.name for item in report.comparisons] == ["bleu2"]
    assert "- not compared with other.jsonl, no study has both scores: rouge_l" in report.markdown()
    empty = jsonl([{"id": name, "rouge_l": None} for name in "abc"], "empty.jsonl")
    report = evaluate(PAIRS, metrics="lexical", against=empty)
    assert report.comparisons == () and report.result("bleu2").value > 0
    with pytest.raises(DataError, match=r"empty.jsonl: none of this report's scores are in the file"):
        report.compare(empty)


REPORTS_AND_BOXES = [
    {"id": "1", "task": "Findings Generation", "prediction": "clear", "reference": "clear"},
    {"id": "2", "task": "Phrase Grounding", "prediction": "[0,0,1,1]", "reference": "[0,0,1,1]"},
]


def test_a_leaderboard_is_of_the_report_tasks_alone(jsonl):
    report = evaluate(jsonl(REPORTS_AND_BOXES), leaderboard="rexrank")
    assert list(report.parts[0].results) == ["bleu2"]
    assert report.parts[1].results["miou"].value == 1
    assert report.markdown().count("| 1/RadCliQ-v1 | BLEU |") == 1
    with pytest.raises(UsageError, match="expected a report task, found Phrase Grounding"):
        evaluate(jsonl(REPORTS_AND_BOXES[1:]), leaderboard="rexrank")


def test_scores_for_one_of_several_parts(jsonl):
    """With or without the names of the part, for the part that uses the column alone."""
    file = jsonl(REPORTS_AND_BOXES)
    for fields in ({}, {"task": "Findings Generation"}):
        report = evaluate(file, scores=jsonl([{"id": "1", **fields, "bertscore": 0.5}], "scores.jsonl"))
        assert report.parts[0].results["bertscore"].value == 0.5
        assert "bertscore" not in report.parts[1].columns
        assert report.parts[1].results["miou"].value == 1
    with pytest.raises(DataError, match="1 studies have a row but no prediction: 3"):
        evaluate(file, scores=jsonl([{"id": name, "bertscore": 0.5} for name in "123"], "scores.jsonl"))
    with pytest.raises(DataError, match="1 studies of Findings Generation have no row: 1"):
        evaluate(file, scores=jsonl([{"id": "2", "bertscore": 0.5}], "scores.jsonl"))


def test_a_score_is_of_one_part(jsonl):
    rows = [{**REPORTS_AND_BOXES[0], "task": task} for task in ("Findings Generation", "Impression Generation")]
    scores = [{"id": "1", "task": row["task"], "bertscore": place / 2} for place, row in enumerate(rows)]
    report = evaluate(jsonl(rows), scores=jsonl(scores, "scores.jsonl"))
    assert [part.results["bertscore"].value for part in report.parts] == [0, 0.5]
    with pytest.raises(
        DataError, match=r"1 ids are in several parts \(Findings .*; Impression .*\): 1; add task, data"
    ):
        evaluate(jsonl(rows), scores=jsonl([{"id": "1", "bertscore": 0.5}], "scores.jsonl"))


def test_export_of_one_id_in_several_parts_is_refused_and_nothing_written(tmp_path):
    extras = [{"task": "Findings Generation"}, {"task": "Impression Generation"}]
    pairs = make_pairs(["1", "1"], ["x", "y"], ["z", "z"], extras)
    with pytest.raises(DataError, match=r"id '1' is in several of Findings Generation; Impression Generation"):
        export_pairs(pairs, tmp_path / "official")
    assert not (tmp_path / "official").exists()
    for group, some in pairs.groups():
        assert len(read_predictions(export_pairs(some, tmp_path / group.task)[3])) == 1


def test_counts_of_several_metrics_in_one_part_are_all_kept():
    pairs = make_pairs(list("ab"), ["yes", "perhaps"], ["yes", "no"], [{"options": ["yes", "no"]}] * 2)
    assert evaluate(pairs, metrics=["yes_no", "choice"]).parts[0].counts == {"unparsed_answers": 1}
    said = ["[[0, 0], [1, 0], [1, 1]]", "[0, 0, 1, 1]"]  # the first is JSON, but no boxes and no list of polygons
    pairs = make_pairs(list("ab"), said, ["[[[0, 0], [1, 0], [1, 1]]]"] * 2, [{"target": []}] * 2)
    counts = evaluate(pairs, metrics=["boxes", "masks"]).parts[0].counts
    assert counts == {"unparsed_answers_of_boxes": 1, "unparsed_answers_of_masks": 2}
