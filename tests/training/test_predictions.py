"""The folder of predictions: what was finished stays, what was cut off is done again, nothing is mixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.build.files import locked
from instruct.errors import UsageError
from instruct.evaluation import evaluate, read_predictions
from instruct.training.predictions import Answer, PredictionFolder, prediction_line, rexrank, write_predictions
from instruct.training.scoring import headline, score

FACTS = {"model": "m", "batch_size": 2}


def line(name: str, text: str = "Clear lungs.", task: str = "Findings Generation", **changes: Any) -> dict[str, Any]:
    row = {
        "id": name,
        "task": task,
        "dataset": "OpenI",
        "messages": [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "Findings?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "The lungs are clear."}]},
        ],
        "keys": {"record": name, "patient": None, "studies": [f"openi/{name}"], "images": [f"openi/{name}.png"]},
    }
    return {**prediction_line(row, "test", Answer(text, "stop", "0" * 16, 20, 4)), **changes}


def test_a_line_holds_all_there_is_to_know() -> None:
    assert line("CXR1") == {
        "id": "CXR1",
        "task": "Findings Generation",
        "dataset": "OpenI",
        "split": "test",
        "prediction": "Clear lungs.",
        "reference": "The lungs are clear.",
        "finish": "stop",
        "prompt": "0" * 16,
        "prompt_tokens": 20,
        "new_tokens": 4,
        "studies": ["openi/CXR1"],
        "images": ["openi/CXR1.png"],
    }


def test_what_is_finished_survives(tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", FACTS)
    assert folder.claim() == {}
    folder.append(0, 0, [line("a"), line("b")])
    folder.append(1, 3, [line("c")])
    part = tmp_path / "out" / ".parts" / "part-0.jsonl"
    part.write_text(part.read_text("utf-8") + '{"batch": 2, "lines": [{"id": "d", "pred', "utf-8")  # killed here
    again = PredictionFolder(tmp_path / "out", FACTS)
    assert not again.finished()
    assert again.claim() == {0: [line("a"), line("b")], 3: [line("c")]}
    again.append(0, 2, [line("d")])  # must not go on behind the line that was cut off
    assert sorted(PredictionFolder(tmp_path / "out", FACTS).claim()) == [0, 2, 3]


@settings(max_examples=15)  # each writes and syncs files
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8),
    st.data(),
)
def test_any_text_and_any_interruption(texts: list[str], data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        done: dict[int, Any] = {}
        for batch, text in enumerate(texts):
            if data.draw(st.booleans()):
                assert PredictionFolder(out, FACTS).claim() == done
            done[batch] = [line(f"r{batch}", text)]
            folder = PredictionFolder(out, FACTS)
            folder.claim()
            folder.append(data.draw(st.integers(0, 3)), batch, done[batch])
        folder = PredictionFolder(out, FACTS)
        assert folder.claim() == done
        file = folder.finish([done[batch][0] for batch in sorted(done)], {})
        assert [json.loads(each)["prediction"] for each in file.read_text("utf-8").split("\n")[:-1]] == texts
        assert list(read_predictions(file).predictions) == [text if text.strip() else "" for text in texts]


def test_finished_predictions_are_recognised(tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", FACTS)
    folder.claim()
    folder.append(0, 0, [line("a")])
    folder.finish([line("a")], {"seconds": 1.0})
    assert PredictionFolder(tmp_path / "out", FACTS).finished()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "generation.json", "predictions.jsonl", "rexrank"
    ]  # fmt: skip
    record = json.loads((tmp_path / "out" / "generation.json").read_text("utf-8"))
    assert record == {"facts": FACTS, "examples": 1, "finish": {"stop": 1}, "seconds": 1.0}


@pytest.mark.parametrize("finished", [True, False])
def test_other_predictions_are_not_mixed_in(tmp_path: Path, finished: bool) -> None:
    folder = PredictionFolder(tmp_path / "out", FACTS)
    folder.claim()
    if finished:
        folder.finish([line("a")], {})
    with pytest.raises(UsageError, match=r"made otherwise \(model was 'm', now 'n'\)\. Choose another --out"):
        PredictionFolder(tmp_path / "out", {**FACTS, "model": "n"}).claim()


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty \(notes\.txt\) and holds no predictions"):
        PredictionFolder(tmp_path, FACTS).claim()
    with pytest.raises(UsageError, match="is a file"):
        PredictionFolder(tmp_path / "notes.txt", FACTS).finished()


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", FACTS)
    with (
        locked(folder.lock, "generation"),
        pytest.raises(UsageError, match="out: another generation is writing into this folder"),
        locked(folder.lock, "generation"),
    ):
        pass


def test_rexrank_files_are_read_back(tmp_path: Path) -> None:
    lines = [
        line("CXR1"),
        line("CXR2", "Large heart."),
        line("CXR1", task="Impression Generation", prediction="Normal."),
    ]
    lines.append(line("CXR1", "yes", task="View Classification"))
    folder = PredictionFolder(tmp_path / "out", FACTS)
    folder.claim()
    folder.finish(lines, {})
    files = sorted(path.name for path in (tmp_path / "out" / "rexrank").iterdir())
    assert files == ["findings_generation-openi-test.json", "impression_generation-openi-test.json"]
    findings = json.loads((tmp_path / "out" / "rexrank" / files[0]).read_text("utf-8"))
    assert findings["CXR2"] == {
        "model_prediction": "Large heart.",
        "section_findings": "The lungs are clear.",
        "section_impression": None,
        "image_path": ["CXR2.png"],
        "key_image_path": "CXR2.png",
        "frontal_lateral": [None],
        "context": "",
    }
    read = read_predictions(tmp_path / "out" / "rexrank" / files[0])
    assert read.ids == ("CXR1", "CXR2") and read.predictions == ("Clear lungs.", "Large heart.")
    read = read_predictions(tmp_path / "out" / "rexrank" / files[1], section="impression")
    assert (read.predictions, read.references) == (("Normal.",), ("The lungs are clear.",))
    report = evaluate(tmp_path / "out" / "rexrank" / files[0], metrics=["lexical"])
    assert report.result("bleu2").n_scored == 2


def test_several_examples_of_a_study_keep_their_own_names() -> None:
    twice = [line("CXR1#0", studies=["openi/CXR1"]), line("CXR1#1", studies=["openi/CXR1"]), line("CXR2")]
    (records,) = rexrank(twice).values()
    assert list(records) == ["CXR1#0", "CXR1#1", "CXR2"]


def test_scores_of_a_run_are_those_of_the_suite(tmp_path: Path) -> None:
    lines = [line("a"), line("b", ""), line("c", "The lungs are clear.")]
    write_predictions(tmp_path / "p.jsonl", lines)
    (part,) = score(tmp_path / "p.jsonl").values()
    report = evaluate(tmp_path / "p.jsonl", metrics=["lexical"])
    assert part["values"] == {name: result.value for name, result in report.parts[0].results.items()}
    assert set(part["values"]) == {"bleu1", "bleu2", "bleu3", "bleu4", "rouge_l"}
    assert (part["n"], part["empty"]) == (3, 1)
    (text,) = headline({"[A] [B] test": part})
    assert text.startswith("[A] [B] test (n 3): bleu1 0.") and "rouge_l" in text
