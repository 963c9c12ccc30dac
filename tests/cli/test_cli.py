"""The command line as people and programs use it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.build.helpers import call, contents
from tests.conftest import Corpora, run_cli

COMMANDS = re.findall(
    r"^  ([a-z]+) {2,}", call("--help").out.partition("Commands:")[2].partition("Exit codes")[0], re.M
)


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    call("build", "openi", "--data-root", corpora.root, "--out", out)
    return out


# --- help --------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands_and_exit_codes() -> None:
    text = call("--help").out
    assert {"demo", "sources", "synth", "lint", "plan", "build", "verify", "counts", "show", "schema"} <= set(COMMANDS)
    for code in (
        "0    done",
        "2    the command was used wrongly",
        "3    a task spec",
        "4    data is missing",
        "130  interrupted",
    ):
        assert code in text
    assert call("-h").out == text


WITHOUT_TRAIN = """
import sys
class Missing:
    def find_spec(self, name, *others):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from instruct.cli.main import main
main()
"""


@pytest.mark.parametrize("arguments", [["train", "lora_tiny"], ["check", "lora_tiny"]])
def test_without_what_training_needs(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAIN, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"error: [a-z]+ is not installed: pip install 'cxr-instruct\[train\]'\n", done.stderr), (
        done.stderr
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    text = call(command, "--help").out
    assert text.startswith(f"Usage: cxr-instruct {command}") or f" {command} " in text.splitlines()[0]
    description = text.split("\n\n")[1].strip().splitlines()[0]
    assert description.endswith((".", ",", ";", ":")) or len(description) > 40
    assert not re.search(r"\n  --[a-z-]+ *[A-Z]*\n", text.replace("--help", "")), "an option without help"


def test_the_version() -> None:
    import instruct

    assert call("--version").out == f"cxr-instruct, version {instruct.__version__}\n"


def test_the_console_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("cxr-instruct")
    if not script.is_file():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cxr-instruct, version ")


# --- for programs ------------------------------------------------------------------------------------------------


def document(*arguments: str | Path, check: int = 0) -> dict[str, Any]:
    """What a command says with --json: one document on stdout; stderr stays for errors."""
    done = call(*arguments, "--json", check=check)
    parsed = json.loads(done.out)
    assert isinstance(parsed, dict) and done.out.count("\n") == 1
    assert check or not done.err
    return parsed


def test_json_of_a_build_and_of_what_looks_at_it(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    where = ("--data-root", corpora.root, "--out", out)
    plan = document("plan", "openi", *where)["tasks"]
    assert plan[0]["task"] == "[Findings Generation] [OpenI]"
    assert all(row["build"] == 1 and row["reasons"] == ["not built yet"] for row in plan)
    assert not out.exists()

    made = document("build", "openi", *where)
    assert made["out"] == str(out) and made["shards"] == {"built": 3, "reused": 0, "dropped": 0} and made["bad"] == {}
    counted = document("counts", out)
    assert counted == made["counts"] and set(counted) == {"rows", "total"}
    assert (
        counted["rows"]["[Findings Generation] [OpenI]"]["test"]
        == corpora.planted["openi"].counts["[Findings Generation] [OpenI]"]["test"].examples
    )
    assert document("verify", out) == {"problems": []}
    assert len(document("show", out)["examples"]) == 3
    assert document("counts", out, "--compare", "published")["differences"]
    assert document("build", "openi", *where)["shards"] == {"built": 0, "reused": 3, "dropped": 0}


def test_json_of_sources_lint_synth_and_schema(tmp_path: Path) -> None:
    sources = {row["name"]: row for row in document("sources")["sources"]}
    assert {"openi", "rexgradient"} <= set(sources)
    assert sources["openi"]["root"] is None and "studies" in sources["openi"]["tables"]
    (tmp_path / "mine.yaml").write_text("name: mine\nsources: {openi: {}}\nvariant: 1\n", "utf-8")
    linted = document("lint", tmp_path / "mine.yaml", check=3)
    assert linted["tasks"] > 10
    assert f"{tmp_path / 'mine.yaml'}:3:1: variant: unknown key; did you mean 'variants'?" in linted["problems"]
    planted = document("synth", "openi", "--out", tmp_path / "openi", "--studies", "20", "--no-images")
    assert planted["planted"]["[Findings Summarization] [OpenI]"]["test"] > 0
    for kind in ("task_spec", "recipe"):
        assert json.loads(call("schema", kind).out)["$schema"].startswith("https://json-schema.org/")


def test_json_of_errors(tmp_path: Path) -> None:
    assert document("build", "opeeni", "--out", tmp_path, check=2)["exit_code"] == 2
    assert "no manifest.json" in document("verify", tmp_path, check=2)["error"]
    failed = document("build", "openi", "images.missing=dorp", "--out", tmp_path, check=3)
    assert failed["exit_code"] == 3 and "images.missing" in failed["error"]
    assert document("build", "openi", check=2)["error"].startswith("Missing option '--out'")
    assert document("build", "openi", "--out", tmp_path / "out", "--data-root", tmp_path, check=4)["exit_code"] == 4


def test_results_go_to_stdout_and_progress_to_stderr_in_plain_lines(corpora: Corpora, tmp_path: Path) -> None:
    done = run_cli("build", "openi", "shard_rows=5", "--data-root", corpora.root, "--out", tmp_path / "out")
    assert done.stdout.startswith("# Instruction Tuning Data for CXR\n")
    lines = done.stderr.splitlines()
    assert lines[0] == f"building openi into {tmp_path / 'out'}"
    assert re.fullmatch(
        r"\[Findings Generation\] \[OpenI\]: \d+ records, shards: \d+ to build \(not built yet\)", lines[1]
    )
    assert lines[-1] == "audit: 0 leaks between splits" and len(lines) == 5
    assert not re.search(r"[\x1b\r]", done.stdout + done.stderr)


def test_a_terminal_gets_a_progress_bar(corpora: Corpora, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "instruct.cli", "build", "openi", "shard_rows=5", "--data-root", str(corpora.root)]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], stdout=subprocess.DEVNULL, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    text = seen.decode()
    assert process.returncode == 0, text
    assert "building openi" in text and "shards" in text and "\x1b[" in text
    assert "Traceback" not in text


def test_a_reader_that_goes_away_is_no_error_to_talk_about(built: Path) -> None:
    command = f'"{sys.executable}" -m instruct.cli show "{built}" -n 40 | head -n 1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[Findings Generation] [OpenI] test: ")
    assert done.stderr == ""


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("bild", "openi"), 2, "No such command 'bild'. Did you mean 'build'?"),
        (("build", "opeeni", "--out", "x"), 2, "opeeni: no such recipe file. Did you mean 'openi'?"),
        (("build", "openi", "--out", "x", "--data-rot", "y"), 2, "Did you mean '--data-root'?"),
        (("build", "openi", "--out", "x", "--workers", "0"), 2, "0 is not in the range x>=1"),
        (("build", "openi", "images.missing:drop", "--out", "x"), 2, "is not of the form key=value"),
        (("build", "openi", "sources={opeeni: {}}", "--out", "x"), 2, "no source is called 'opeeni'. Did you mean"),
        (("build", "openi", "tasks=[none]", "--out", "x"), 2, "have no task none; they have: [Findings Generation]"),
        (
            ("build", "openi", "tasks=['[Findings Generaton] [OpenI]']", "--out", "x"),
            2,
            "no task [Findings Generaton] [OpenI]; did you mean '[Findings Generation] [OpenI]'?",
        ),
        (
            ("build", "rexgradient", "sources.rexgradient.options.key_image=best", "--out", "x"),
            2,
            "sources.rexgradient.options: key_image: Input should be 'view_rank' or 'first'",
        ),
        (("build", "openi", "sourcs={}", "--out", "x"), 3, "sourcs: unknown key; did you mean 'sources'?"),
        (("build", "openi", "images.misssing=drop", "--out", "x"), 3, "did you mean 'missing'?"),
        (("build", "openi", "shard_rows=0", "--out", "x"), 3, "shard_rows: Input should be greater than or equal to 1"),
        (("build", "openi", "--out", "x"), 4, "none of the recipe's tasks has its sources on disk; give --data-root"),
        (("build", "openi", "--out", "x", "--specs", "nowhere"), 2, "nowhere: no such folder of task specs"),
        (("sources", "opeeni"), 2, "no source is called 'opeeni'. Did you mean 'openi'?"),
        (("synth", "opeeni", "--out", "x"), 2, "no synthetic corpus of 'opeeni'; there are: "),
        (("synth", "openi", "--out", "x", "--studies", "5"), 2, "5 is not in the range x>=20"),
        (("schema", "recip"), 2, "'recip' is not one of 'task_spec', 'recipe'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_a_remedy_suggested(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXR_INSTRUCT_DATA_ROOT", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    done = call(*arguments, check=code)
    assert said in done.err and "Traceback" not in done.err
    assert not (tmp_path / "x").exists()


def test_a_recipe_with_several_mistakes_names_them_all(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: Mine!\nsources: {openi: {}}\nvariants: none\nmax_bad: 2\nvariant: 1\n", "utf-8")
    err = call("build", recipe, "--out", tmp_path / "out", check=3).err
    for line, key in ((1, "name"), (3, "variants"), (4, "max_bad"), (5, "variant")):
        assert f"error: {recipe}:{line}:" in err and f" {key}" in err


def test_a_source_by_environment_variable(corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_INSTRUCT_ROOT_OPENI", str(corpora.root / "openi"))
    monkeypatch.setenv("CXR_INSTRUCT_DATA_ROOT", str(tmp_path))
    assert document("plan", "openi", "--out", tmp_path / "out")["tasks"]
    monkeypatch.setenv("CXR_INSTRUCT_ROOT_OPENI", str(tmp_path / "nowhere"))
    err = call("plan", "openi", "--out", tmp_path / "out", check=4).err
    assert f"$CXR_INSTRUCT_ROOT_OPENI = {tmp_path / 'nowhere'}: there is no such folder" in err


def test_ctrl_c(corpora: Corpora, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "instruct.cli", "build", "demo", "shard_rows=2"]
    with subprocess.Popen(
        [*command, "--data-root", str(corpora.root), "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A test run in the background of a shell ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("building ")
        os.killpg(process.pid, signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130
    assert err.endswith("interrupted; what is finished is kept\n") and "Traceback" not in err
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_ctrl_c_amid_a_query_is_no_fault_of_the_query(tmp_path: Path) -> None:
    """DuckDB turns the interruption into an error of its own. (It looks for one where the calling thread runs it.)"""
    (tmp_path / "slow.py").write_text(
        "import os, signal, threading, duckdb, instruct.cli.main as main\n"
        "from instruct.cli.lint import command\n"
        "def slow(**_):\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    query = 'SELECT sum(md5_number(range::VARCHAR) % 7) FROM range(10000000000)'\n"
        "    duckdb.connect(config={'threads': 1}).execute(query)\n"
        "command.callback = slow\n"
        "main.main()\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "slow.py", "lint"], capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "interrupted; what is finished is kept\n")


# --- the other commands ------------------------------------------------------------------------------------------


def test_sources_say_where_they_are_and_what_they_hold(corpora: Corpora) -> None:
    listed = call("sources", "--data-root", corpora.root).out
    assert f"at {corpora.root / 'openi'}" in listed and f"at {corpora.root / 'rexgradient'}" in listed
    assert "https://openi.nlm.nih.gov" in listed and "not on disk" in listed
    told = call("sources", "rexgradient").out
    assert "metadata/train_metadata_view_position.json" in told and "Accept the agreement" in told
    assert "option key_image (default view_rank)" in told
    assert re.search(r"^  table studies:$", told, re.M) and re.search(r"^    key_image +string: the image", told, re.M)
    assert "view studies_with_prior: Every study with the study of the same patient" in told


def test_synth_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        out = call(
            "synth", "rexgradient", "--out", tmp_path / name, "--studies", "20", "--seed", seed, "--no-images"
        ).out
        assert out.endswith(f"20 studies planted: {tmp_path / name}\n")
        assert "[Progression Findings Generation] [REX-Gradient]" in out
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")
    err = call("synth", "rexgradient", "--out", tmp_path / "a", "--studies", "20", check=2).err
    assert "exists already" in err


def test_plan_changes_nothing_and_build_does_what_it_said(corpora: Corpora, tmp_path: Path) -> None:
    where = ("--data-root", corpora.root, "--out", tmp_path / "out")
    said = call("plan", "openi", *where).out
    assert re.search(
        r"^\[Findings Summarization\] \[OpenI\]: \d+ records; shards: 1 to build, 0 to reuse, 0 to drop$", said, re.M
    )
    assert "    not built yet\n" in said
    assert not (tmp_path / "out").exists()
    assert "3 shards rendered, 0 reused, 0 dropped" in call("build", "openi", *where).out
    assert call("plan", "openi", *where).out.endswith("nothing to do: every shard is up to date\n")


def test_counts_in_every_form(built: Path, tmp_path: Path) -> None:
    assert call("counts", built).out == (built / "counts.md").read_text("utf-8")
    table = call("counts", built, "--format", "csv").out
    assert table == (built / "counts.csv").read_text("utf-8")
    file = tmp_path / "other.csv"
    file.write_text(table, "utf-8")
    assert call("counts", built, "--compare", file).out.startswith("3 rows compared: 27 cells equal, 0 differ.")
    for others in (("--compare", file), ("--json",)):
        assert "it goes with neither" in call("counts", built, "--format", "csv", *others, check=2).err
    assert "no such file (or write 'published')" in call("counts", built, "--compare", tmp_path / "no.csv", check=2).err
    file.write_text("task,dataset\nA,B\n", "utf-8")
    assert "other.csv:1: a count table has the columns" in call("counts", built, "--compare", file, check=4).err


def test_the_demo_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_cli("demo", "--out", "here", "--studies", "20", cwd=tmp_path)
    out = tmp_path / "here" / "dataset"
    assert (out / "counts.md").read_text("utf-8") in done.stdout
    assert "writing 20 made-up studies of openi into" in done.stderr
    commands = re.findall(r"^    (.+)$", done.stdout, re.M)
    assert len(commands) == 2
    for command in commands:  # what it prints can be typed, whether or not the environment is activated
        said = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "Findings Generation" in said.stdout or "DatasetDict" in said.stdout

    monkeypatch.chdir(tmp_path)
    again = call("demo", "--out", "here", "--studies", "20", "--json")  # the corpora are there already
    assert again.err == "" and json.loads(again.out)["dataset"] == "here/dataset"
    err = call("demo", "--out", "here", "--studies", "30", check=2).err
    assert "here/data: holds corpora of 20 studies; choose another --out, or delete it" in err
    (tmp_path / "here" / "data" / "written.json").unlink()  # as if the corpora were another's
    assert "exists already" in call("demo", "--out", "here", "--studies", "20", check=2).err


def test_a_demo_that_was_killed_amid_a_corpus_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = out / "data"
    command = [sys.executable, "-m", "instruct.cli", "demo", "--out", str(out), "--studies", "3000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(data.glob("openi/*/*")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert json.loads((data / "written.json").read_text("utf-8")) == {"studies": 3000, "sources": [], "writing": True}
    (data / "mine").mkdir()  # what the demo does not make stays
    call("demo", "--out", out, "--studies", "20")
    assert json.loads((data / "written.json").read_text("utf-8"))["studies"] == 20
    assert (data / "mine").is_dir()
    call("verify", out / "dataset")


def test_lint_tells_names_of_a_recipe_that_are_not_there(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nsources: {opni: {}, rexgradient: {options: {key: 1}}}\n", "utf-8")
    told = call("lint", recipe, check=3).out
    assert f"{recipe}:2:11: no source is called 'opni'. Did you mean 'openi'?" in told
    assert f"{recipe}:2:21: sources.rexgradient.options: key: " in told
    recipe.write_text("name: mine\nsources: {rexgradient: {}}\ntasks:\n- foo\n", "utf-8")
    told = call("lint", recipe, check=3).out
    assert f"{recipe}:4:3: the recipe's sources have no task foo; they have: [Findings Generation] [REX" in told


def test_a_folder_without_the_file_that_a_source_is_known_by_is_told(corpora: Corpora, tmp_path: Path) -> None:
    (tmp_path / "data" / "vindr_cxr").mkdir(parents=True)
    (tmp_path / "data" / "openi").symlink_to(corpora.root / "openi")
    lacking = f"{tmp_path / 'data' / 'vindr_cxr'} has no annotations/annotations_train.csv or"
    recipe = "sources={openi: {}, vindr_cxr: {}}"
    both = call("build", "openi", recipe, "--data-root", tmp_path / "data", "--out", tmp_path / "out")
    assert f"not on disk, their rows will be zeros: vindr_cxr; {lacking}" in both.err
    alone = ("build", "openi", "sources={vindr_cxr: {}}", "--data-root", tmp_path / "data", "--out", tmp_path / "alone")
    assert lacking in call(*alone, check=4).err


@pytest.mark.parametrize("command", ["counts", "show", "stats", "card", "audit", "preview"])
@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_a_damaged_shard_ends_no_command_in_a_traceback(built: Path, tmp_path: Path, command: str, damage: str) -> None:
    shutil.copytree(built, tmp_path / "out")
    for shard in (tmp_path / "out").rglob("data-*.arrow"):
        if damage == "gone":
            shard.unlink()
        else:
            shard.write_bytes(shard.read_bytes()[:-200])
    err = call(command, tmp_path / "out", check=4).err
    assert ".arrow: is missing or damaged; `cxr-instruct verify` says what else is" in err and "Traceback" not in err


@pytest.mark.parametrize("command", [("preview",), ("export", "--to", "llava", "--out", "x")])
def test_a_damaged_images_table_ends_no_command_in_a_traceback(
    corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    stored = ("images.store=pack", "images.missing=drop", "tasks=['[Findings Generation] [OpenI]']")
    call("build", "openi", *stored, "--data-root", corpora.root, "--out", "out")
    for table in (tmp_path / "out" / "images").rglob("*.arrow"):
        table.write_bytes(table.read_bytes()[:-200])
    err = call(command[0], "out", *command[1:], check=4).err
    assert "is missing or damaged; `cxr-instruct verify` says what else is" in err and "Traceback" not in err


def test_sources_tells_which_files_are_there(corpora: Corpora, tmp_path: Path) -> None:
    (tmp_path / "openi").symlink_to(corpora.root / "openi")
    told = call("sources", "openi", "--data-root", tmp_path).out
    assert "NLMCXR_reports.tgz: Download" in told and "      there: ecgen-radiology/" in told
    assert f"      there: {tmp_path / 'openi' / 'images'}\n" in told
    (row,) = json.loads(call("sources", "openi", "--data-root", tmp_path, "--json").out)["sources"]
    assert (
        row["files"][0]["found"] > 20
        and row["files"][0]["first"].startswith("ecgen-radiology/")
        and row["images_found"] == str(tmp_path / "openi" / "images")
    )
    assert "there:" not in call("sources", "openi").out


def test_a_split_goes_by_both_of_its_names(tmp_path: Path) -> None:
    call("demo", "--out", tmp_path / "demo", "--studies", 20)
    dataset = tmp_path / "demo" / "dataset"
    mixture = tmp_path / "mixture_it.yaml"
    mixture.write_text(f"name: it\ndata: [{dataset}]\nuse: [{{tasks: '*'}}]\n")
    for asked in (("show", dataset), ("mixture", mixture)):
        told = call(*asked, "--split", "validation").out
        assert told and told == call(*asked, "--split", "val").out
    assert "is not one of 'train', 'val', 'test'" in call("show", dataset, "--split", "dev", check=2).err


def test_an_answer_of_nothing_is_told(built: Path) -> None:
    done = call("show", built, "--task", "[Findings Generation] [OpenI]", "--split", "train")
    assert (done.out, done.err) == ("", "no example in what was asked for\n")


def test_a_damaged_manifest_is_told_from_none(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-10])
    assert f"{manifest}: is damaged; run the same build command again" in call("counts", tmp_path / "out", check=4).err


def test_images_that_nothing_opens_by_path_are_told(tmp_path: Path) -> None:
    call("synth", "vindr_cxr", "--out", tmp_path / "vindr_cxr", "--studies", "20")
    command = ("build", "openi", "name=v", "sources={vindr_cxr: {}}", "images.missing=drop", "--data-root", tmp_path)
    told = "its images are DICOM files, which `datasets` and trainers cannot open by path; images.store=pack or embed"
    by_path = call(*command, "images.check=decode", "--out", tmp_path / "by path")
    assert told in by_path.out + by_path.err and "undecodable_image" not in by_path.out + by_path.err
    packed = call(*command, "images.store=pack", "--out", tmp_path / "packed")
    assert told not in packed.out + packed.err
