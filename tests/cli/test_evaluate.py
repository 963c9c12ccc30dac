import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from instruct.cli.main import cli
from instruct.errors import DataError, UsageError

ROWS = [
    {"id": "a", "prediction": "No acute findings.", "reference": "No acute cardiopulmonary process."},
    {"id": "b", "prediction": "", "reference": "Mild cardiomegaly."},
    {"id": "c", "prediction": "Clear lungs.", "reference": "Clear lungs."},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(*arguments):
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture
def predictions(tmp_path):
    return write(tmp_path / "mine.jsonl", ROWS)


def test_markdown_and_files(tmp_path, predictions):
    outcome = run("evaluate", predictions, "--out", str(tmp_path / "out"))
    assert outcome.exit_code == 0
    assert "3 given, 3 scored, 0 without reference, 1 empty predictions." in outcome.stdout
    assert "| BERTScore |  | n/a (weights missing) |" in outcome.stdout
    assert outcome.stderr.startswith("wrote ")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["scores.jsonl", "scores.parquet", "summary.json", "summary.md"]
    assert (tmp_path / "out" / "summary.md").read_text().rstrip() == outcome.stdout.rstrip()


def test_json_is_the_summary_and_nothing_else(tmp_path, predictions):
    outcome = run("evaluate", predictions, "--metrics", "bleu2, rouge_l", "--out", str(tmp_path / "out"), "--json")
    printed = json.loads(outcome.stdout)
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(printed["parts"][0]["results"]) == ["bleu2", "rouge_l"]


def test_default_folder_export_and_comparison(tmp_path, predictions, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", predictions, "--metrics", "lexical", "--export", "official").exit_code == 0
    assert (tmp_path / "mine.evaluation" / "summary.json").is_file()
    assert (tmp_path / "official" / "predictions.csv").is_file()
    outcome = run("evaluate", predictions, "--metrics", "lexical", "--against", "mine.evaluation/scores.parquet")
    assert "Against the other system" in outcome.stdout


@pytest.mark.parametrize("option", ["--out", "--export"])
def test_a_folder_that_cannot_be_written_is_told_before_scoring(tmp_path, predictions, option, monkeypatch):
    def never(*_, **__):
        raise AssertionError("scored")

    monkeypatch.setattr("instruct.evaluation.evaluate", never)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x: cannot be written \(.*/file is no folder\); choose another"):
        run("evaluate", predictions, option, str(tmp_path / "file" / "x"))
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != locked)
    with pytest.raises(DataError, match=r"x/y: cannot be written \(.*/locked is not writable\)"):
        run("evaluate", predictions, option, str(locked / "x" / "y"))


def test_scores_judgements_and_leaderboard(tmp_path):
    rows = [{"id": str(i), "prediction": "x y z", "reference": "x y w"} for i in range(4)]
    predictions = write(tmp_path / "p.jsonl", rows)
    scores = write(
        tmp_path / "s.jsonl",
        [{"id": str(i), "bertscore": 0.4 + i / 50, "sembscore": 0.5, "radgraph_f1": 0.2} for i in range(4)],
    )
    judged = write(tmp_path / "j.jsonl", [{"id": str(i), "output": "{}"} for i in range(4)])
    out = str(tmp_path / "out")
    outcome = run(
        "evaluate", predictions, "--scores", scores, "--judgements", f"fineradscore={judged}",
        "--leaderboard", "rexrank", "--section", "findings", "--out", out,
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert "| 1/RadCliQ-v1 | BLEU | BertScore |" in outcome.stdout
    assert "| 1.000 ± 0.000 |" in outcome.stdout
    board = run("leaderboard", f"{out}/summary.json", "--dataset", "iu_xray", "--model", "mine")
    assert board.exit_code == 0
    assert "of 17 (among 16 published models)" in board.stdout
    assert "Scored on 4 studies, the published rows on 590" in board.stdout
    plain = json.loads(run("leaderboard", f"{out}/summary.json", "--dataset", "iu_xray", "--json").stdout)
    assert plain["models"] == 16
    with pytest.raises(UsageError, match="scored the section 'findings'"):
        run("leaderboard", f"{out}/summary.json", "--dataset", "iu_xray", "--section", "findings+impression")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--metrics", "radcliq_v1"), UsageError, "radcliq_v1 is refused, it needs radgraph_f1, bertscore, sembscore"),
        (("--metrics", "nonsense"), UsageError, "unknown metric 'nonsense'"),
        (("--judgements", "green"), UsageError, "expected NAME=…, such as green=outputs.jsonl"),
        (("--weights", "chexpert=x"), UsageError, "no weights are known for 'chexpert'"),
        (("--weights", "chexbert"), UsageError, "--weights 'chexbert': expected NAME=…, such as chexbert=DIR"),
        (("--weights", "chexbert=a", "--weights", "chexbert=b"), UsageError, "chexbert was already given as a"),
        (("--judge", "bleu2=http://x/v1"), UsageError, "no judge is asked for 'bleu2'"),
        (("--judgements", "bleu2=x"), UsageError, "no judge outputs are read for 'bleu2'; expected green or"),
        (("--seed", "-1"), UsageError, "--seed is -1"),
        (("--no-error-severity", "9"), UsageError, "no_error_severity is 9; expected 0 to 4"),
        (("--references", "gone.csv"), DataError, "gone.csv: no such file"),
    ],
)
def test_mistakes(predictions, arguments, error, message):
    with pytest.raises(error, match=message):
        run("evaluate", predictions, *arguments)


def test_weights_and_device(tmp_path, predictions):
    pytest.importorskip("torch")
    from tests.evaluation.tiny import chexbert

    chexbert(tmp_path / "chexbert", tmp_path / "encoder")
    outcome = run(
        "evaluate", predictions, "--metrics", "sembscore,f1chexbert", "--device", "cpu", "--out", str(tmp_path / "out"),
        "--weights", f"chexbert={tmp_path / 'chexbert'}", "--weights", f"bert-base-uncased={tmp_path / 'encoder'}",
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert "computed with chexbert, bert-base-uncased" in outcome.stdout
    assert "- chexbert/chexbert.pth: sha256 " in outcome.stdout
    assert "torch " in outcome.stdout


def test_a_judge_elsewhere_is_refused_with_exit_code_5(tmp_path):
    rows = [{**row, "dataset": "REX-Gradient"} for row in ROWS]
    path = write(tmp_path / "rex.jsonl", rows)
    code = "from instruct.cli.main import main; main()"
    judge = ("--judge", "fineradscore=https://judge.invalid/v1", "--judge-model", "fineradscore=m")
    command = [sys.executable, "-c", code, "evaluate", path, "--metrics", "fineradscore", *judge]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 5
    assert done.stderr.startswith("error: fineradscore would send 3 pairs of reports to judge.invalid: REX-Gradient (")
    assert "--allow-third-party" in done.stderr


def test_a_mistake_ends_in_a_message_and_a_code_not_in_a_traceback(tmp_path):
    path = write(tmp_path / "twice.jsonl", [ROWS[0], ROWS[0]])
    code = "from instruct.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "evaluate", path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith(f"error: {path}:2: id 'a' occurs twice")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "twice.evaluation").exists()


def test_importing_the_room_and_its_commands_is_light():
    code = (
        "import sys, instruct.evaluation, instruct.cli.evaluate, instruct.cli.leaderboard;"
        "heavy = {'numpy', 'pyarrow', 'torch', 'rapidfuzz', 'scipy'} & set(sys.modules); print(sorted(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_scoring_needs_no_torch_scipy_or_pandas(tmp_path, predictions):
    code = (
        "import sys\nfrom instruct.evaluation import evaluate\n"
        f"evaluate({predictions!r}).markdown()\n"
        "print(sorted({'torch', 'transformers', 'scipy', 'pandas', 'nltk', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
