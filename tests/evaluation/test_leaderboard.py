import json
from dataclasses import replace

import numpy as np
import pytest

from instruct.errors import DataError, UsageError
from instruct.evaluation import evaluate, make_pairs, published_rows, rank_summary
from instruct.evaluation.boards import STUDIES, board
from instruct.evaluation.catalogue import METRICS
from instruct.evaluation.estimate import estimate
from instruct.evaluation.metric import Settings


def summary(n=590, mean=0.75, section="findings", statistic="radcliq_v1", spread=0.3):
    """Summary of n invented studies with the given mean."""
    pairs = make_pairs([str(i) for i in range(n)], ["x"] * n, ["x"] * n, section=section)
    report = evaluate(pairs, metrics="bleu1")
    values = mean + spread * np.resize([-1.0, 1.0], n)
    results = {
        item.name: estimate(
            item, (values,), key=item.name, origin="invented", settings=Settings(), seed=0, resamples=10
        )
        for item in METRICS[statistic].statistics
    }
    (part,) = report.parts
    return replace(report, parts=(replace(part, results=results),)).summary()


def test_the_boards_are_the_published_ones():
    sizes = {}
    for row in published_rows():
        sizes.setdefault((row["dataset"], row["section"]), []).append(row)
    assert set(sizes) == set(STUDIES)
    for (_, section), rows in sizes.items():
        assert len(rows) == (16 if section == "findings" else 6)
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        values = [row["inv_radcliq_v1_mean"] for row in rows]
        assert values == sorted(values, reverse=True)
    first = published_rows()[0]
    assert (first["dataset"], first["model"], first["inv_radcliq_v1_mean"]) == ("ReXGradient", "MedVersa", 0.98)
    assert first["inv_fineradscore_ci95"] == 0.02


@pytest.mark.parametrize("name", ["IU X-ray", "iu_xray", "IUXRAY"])
def test_a_board_by_any_spelling(name):
    full, entries = board(name, "findings")
    assert full == "IU X-ray"
    assert len(entries) == 16


def test_place_among_sixteen():
    standing = rank_summary(summary(mean=1 / 1.30), dataset="iu_xray", section="findings", model="mine")
    values = [entry.values["inv_radcliq_v1"] for entry in standing.entries]
    assert values == sorted(values, reverse=True)
    assert len(values) == 17
    assert standing.entries[standing.place - 1].model == "mine"
    assert standing.best <= standing.place <= standing.worst
    assert standing.notes == ()
    text = standing.markdown()
    assert f"Place {standing.place} of 17 (among 16 published models)" in text
    assert "**mine**" in text
    plain = json.loads(json.dumps(standing.as_json()))
    assert plain["rows"][standing.place - 1]["own"] is True


def test_extremes_are_first_and_last():
    best = rank_summary(summary(mean=0.2, spread=0.01), dataset="iu_xray", section="findings")
    assert (best.place, best.best, best.worst) == (1, 1, 1)
    worst = rank_summary(summary(mean=9, spread=0.01), dataset="iu_xray", section="findings")
    assert (worst.place, worst.best, worst.worst) == (17, 17, 17)


def test_a_wide_interval_is_no_place():
    wide = rank_summary(summary(mean=1 / 1.2, spread=3), dataset="iu_xray", section="findings")
    assert wide.best < wide.place < wide.worst


def test_a_summary_without_an_interval_may_stand_anywhere(jsonl):
    one = make_pairs(["a"], ["clear lungs"], ["clear heart"], section="findings")
    standing = rank_summary(
        evaluate(one, metrics="bleu2").summary(), dataset="IU X-ray", section="findings", by="bleu2"
    )
    assert (standing.best, standing.worst) == (1, 17)
    assert "has no interval of bleu2" in standing.notes[0]
    assert f"| **{standing.place}** | **this model** |  |" in standing.markdown()
    assert "| GPT4V | [0.080, 0.080] |" in standing.markdown()  # printed as ± 0.00
    near_the_pole = summary(n=590, mean=0.01, spread=3)
    assert near_the_pole["parts"][0]["results"]["inv_radcliq_v1"]["ci95"] is None
    standing = rank_summary(near_the_pole, dataset="IU X-ray", section="findings")
    assert (standing.place, standing.best, standing.worst) == (1, 1, 17)


def test_published_reciprocals_get_an_interval_of_the_reciprocal():
    _, entries = board("IU X-ray", "findings")
    top = entries[0]
    value, raw = top.values["inv_radcliq_v1"], top.raw_ci95["inv_radcliq_v1"]
    low, high = top.bounds("inv_radcliq_v1")
    assert high - low == pytest.approx(2 * raw * value**2)
    low, high = top.bounds("bleu2")
    assert high - low == pytest.approx(2 * top.raw_ci95["bleu2"])


def test_rank_by_another_column_and_doubts_about_the_test_set():
    standing = rank_summary(
        summary(n=382, statistic="bleu2", mean=0.21, spread=0.1, section=""),
        dataset="IU X-ray",
        section="findings+impression",
        by="bleu2",
    )
    assert len(standing.entries) == 7
    assert "Scored on 382 studies, the published rows on 590" in standing.notes[0]
    assert "does not say which section" in standing.notes[1]


def test_refusals_say_why(tmp_path):
    with pytest.raises(UsageError, match=r"no value of inv_radcliq_v1 \(n/a: not asked for\); it has bleu2"):
        rank_summary(summary(statistic="bleu2", mean=0.2), dataset="IU X-ray", section="findings")
    with pytest.raises(UsageError, match="scored the section 'findings', the board is 'findings\\+impression'"):
        rank_summary(summary(), dataset="IU X-ray", section="findings+impression")
    with pytest.raises(UsageError, match=r"no published board for 'PadChest'.*ReXGradient, MIMIC-CXR, IU X-ray"):
        rank_summary(summary(), dataset="PadChest", section="findings")
    with pytest.raises(UsageError, match="cannot rank by 'rouge_l'"):
        rank_summary(summary(), dataset="IU X-ray", section="findings", by="rouge_l")
    with pytest.raises(UsageError, match="no part 'x'; choose one of all"):
        rank_summary(summary(), dataset="IU X-ray", section="findings", part="x")
    path = tmp_path / "summary.json"
    with pytest.raises(DataError, match=r"summary.json: no such file"):
        rank_summary(path, dataset="IU X-ray", section="findings")
    path.write_text("{}")
    with pytest.raises(DataError, match="not a summary; expected a JSON object with format"):
        rank_summary(path, dataset="IU X-ray", section="findings")
    with pytest.raises(DataError, match=r"cannot be read .*; expected the summary.json of an evaluation"):
        rank_summary(tmp_path, dataset="IU X-ray", section="findings")
    whole = summary()
    for parts in (None, [], [3], [{"part": "all"}], {"all": 1}):
        path.write_text(json.dumps({**whole, "parts": parts}))
        with pytest.raises(DataError, match=r"summary.json: its parts are damaged; expected one or more"):
            rank_summary(path, dataset="IU X-ray", section="findings")
    del whole["parts"]
    with pytest.raises(DataError, match="its parts are damaged"):
        rank_summary(whole, dataset="IU X-ray", section="findings")
