"""What goes wrong ends in a message that says where, what and what to do; nothing that was finished is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instruct.api import build_dataset, load_recipe
from tests.build.helpers import (
    TEXT_QUERY,
    Call,
    call,
    contents,
    rows,
    shards,
    write_report,
    write_spec,
    write_template,
)
from tests.conftest import Corpora

METADATA = "rexgradient/metadata/{}_metadata_view_position.json"


@pytest.fixture
def data(tmp_path: Path, corpora: Corpora) -> Path:
    """A copy of the corpora that may be spoilt."""
    folder = tmp_path / "data"
    for part in ("openi/ecgen-radiology", "openi/images", "rexgradient/metadata"):
        shutil.copytree(corpora.root / part, folder / part)
    return folder


def build(data: Path, recipe: str | Path, *arguments: str | Path, check: int = 0) -> Call:
    return call("build", recipe, "--data-root", data, "--out", data.parent / "out", *arguments, check=check)


# --- published files ---------------------------------------------------------------------------------------------


def test_a_missing_file(data: Path) -> None:
    (data / METADATA.format("test")).unlink()
    err = build(data, "rexgradient", check=4).err
    assert "test not found; expected metadata/test_metadata_view_position.json" in err
    assert "Accept the agreement of rajpurkarlab/ReXGradient-160K" in err  # where to get it
    assert not (data.parent / "out" / "manifest.json").exists()


def test_no_source_at_all(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    err = build(tmp_path / "data", "openi", check=4).err
    assert "none of the recipe's tasks has its sources below --data-root" in err and "openi, OpenI, iu_xray" in err
    assert not (tmp_path / "out").exists()


def test_a_data_root_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no such folder" in build(tmp_path / "data", "openi", check=4).err


def test_a_half_written_json_file(data: Path) -> None:
    file = data / METADATA.format("valid")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    err = build(data, "rexgradient", check=4).err
    assert (
        "valid_metadata_view_position.json:" in err and "the file ends in the middle of a record; get it again" in err
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda records: list(records.values()), ":1: not a JSON object; expected {study key: record"),
        (lambda records: "a text", ":1: not a JSON object; expected {study key: record"),
        (lambda records: {key: [record] for key, record in records.items()}, "is list; expected {study key: record}"),
        (lambda records: {key: {**record, "ImagePath": "one.png"} for key, record in records.items()}, "record 'p"),
        (lambda records: {key: {**record, "StudyDate": "last week"} for key, record in records.items()}, "YYYYMMDD"),
        (
            lambda records: {key: {**record, "ImageViewPosition": []} for key, record in records.items()},
            "number of views",
        ),
        (
            lambda records: {
                key: {k: v for k, v in record.items() if k != "Findings"} for key, record in records.items()
            },
            "missing required field `Findings`",
        ),
    ],
    ids=["list", "text", "records are lists", "path is no list", "date", "views", "missing column"],
)
def test_json_of_another_shape(data: Path, spoil: Callable[[dict[str, dict[str, object]]], object], said: str) -> None:
    file = data / METADATA.format("train")
    file.write_text(json.dumps(spoil(json.loads(file.read_text("utf-8")))), "utf-8")
    err = build(data, "rexgradient", check=4).err
    assert "train_metadata_view_position.json" in err and "Traceback" not in err
    assert said in err, err


def test_a_csv_file_without_a_column(data: Path) -> None:
    (data / "openi" / "nlmcxr_dicom_metadata.csv").write_text("imageid,Rows\nCXR1_IM-0001-3001,512\n", "utf-8")
    err = build(data, "openi", check=4).err
    assert "nlmcxr_dicom_metadata.csv:1: no column View Position" in err


def test_xml_without_a_section(data: Path) -> None:
    write_report(data, 70001, "Clear lungs.", None)
    err = build(data, "openi", check=4).err
    assert "70001.xml:1: report CXR70001 has no section IMPRESSION; expected COMPARISON, INDICATION" in err


def test_xml_that_is_cut_off(data: Path) -> None:
    file = write_report(data, 70001, "Clear lungs.", "Normal.")
    file.write_text(file.read_text("utf-8")[:200], "utf-8")
    err = build(data, "openi", check=4).err
    assert "70001.xml:1: malformed XML" in err and "get it again" in err


def test_xml_that_is_no_report(data: Path) -> None:
    (data / "openi" / "ecgen-radiology" / "70001.xml").write_text("<svg/>", "utf-8")
    assert "70001.xml:1: not an OpenI report; expected <eCitation>" in build(data, "openi", check=4).err


def test_two_reports_with_one_id(data: Path) -> None:
    file = write_report(data, 70001, "Clear lungs.", "Normal.")
    shutil.copy(file, file.with_name("70002.xml"))
    err = build(data, "openi", check=4).err
    assert "70002.xml: report CXR70001 stands also in ecgen-radiology/70001.xml" in err


def test_two_studies_with_one_key(data: Path) -> None:
    train, test = (data / METADATA.format(split) for split in ("train", "test"))
    key, record = next(iter(json.loads(train.read_text("utf-8")).items()))
    test.write_text(json.dumps({**json.loads(test.read_text("utf-8")), key: record}), "utf-8")
    err = build(data, "rexgradient", check=4).err
    assert f"study {key} stands more than once: metadata/train" in err and "metadata/test" in err


def test_what_was_finished_outlives_files_that_break_later(data: Path) -> None:
    build(data, "openi")
    out = data.parent / "out"
    before = contents(out)
    file = next((data / "openi" / "ecgen-radiology").glob("*.xml"))
    file.write_text("<eCitation>", "utf-8")
    build(data, "openi", check=4)
    assert contents(out) == before
    assert call("verify", out).out == f"{out}: all is well\n"


# --- images ------------------------------------------------------------------------------------------------------


def quarantine(data: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (data.parent / "out" / "quarantine.jsonl").read_text("utf-8").splitlines()]


def test_an_image_that_cannot_be_decoded(data: Path) -> None:
    images = data / "openi" / "images"
    write_report(data, 70001, "Clear lungs.", "Normal.", ["CXR70001_a"])
    write_report(data, 70002, "Clear lungs.", "Normal.", ["CXR70002_a", "CXR70002_b"])
    whole = next(images.glob("CXR*.png"))
    for name in ("CXR70001_a", "CXR70002_b"):
        (images / f"{name}.png").write_bytes(whole.read_bytes()[:3000])
    shutil.copy(whole, images / "CXR70002_a.png")
    decode = ("images.check=decode", "tasks=[findings_generation-openi]")
    err = build(data, "openi", *decode, check=4).err
    assert "1 undecodable_image: an image of the record cannot be decoded; first: CXR70001 from ecgen-radiology" in err
    assert "70001.xml: CXR70001_a.png" in err and "max_bad=SHARE" in err

    done = build(data, "openi", *decode, "max_bad=0.1", "--workers", "2")
    assert "1 records left out: undecodable_image (quarantine.jsonl)" in done.out
    assert "1 images left out of records that stay: undecodable_image" in done.out
    (bad,) = quarantine(data)
    assert (bad["id"], bad["reason"], bad["split"]) == ("CXR70001", "undecodable_image", "test")
    held = {row["id"]: row["keys"]["images"] for row in rows(data.parent / "out")}
    assert "CXR70001" not in held and held["CXR70002"] == ["openi/CXR70002_a.png"]


@pytest.mark.parametrize(
    "path", ["../deid_png/../../../secret.png", "/etc/hostname", "a/../../../../secret.png", "..\\secret.png"]
)
def test_a_path_that_climbs_out_of_the_folder(data: Path, path: str) -> None:
    (data.parent / "secret.png").write_bytes(b"not for you")
    file = data / METADATA.format("train")
    records = json.loads(file.read_text("utf-8"))
    key, record = next(iter(records.items()))
    record["ImagePath"], record["ImageViewPosition"] = [path], ["PA"]
    file.write_text(json.dumps(records), "utf-8")
    task = "tasks=[findings_generation-rex_gradient]"
    err = build(data, "rexgradient", task, "max_bad=0", check=4).err
    assert "1 path_outside_root: " in err and f"leads out of the source's folder; first: {key}" in err
    build(data, "rexgradient", task, "max_bad=0.1")
    assert [(row["id"], row["reason"]) for row in quarantine(data)] == [(key, "path_outside_root")]
    paths = [image["path"] for row in rows(data.parent / "out") for image in row["images"]]
    assert not [found for found in paths if ".." in found or "secret" in found or "hostname" in found]


# --- specs, templates and queries --------------------------------------------------------------------------------


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    write_spec(folder, {"mine": TEXT_QUERY})
    write_template(folder, "mine", "Report.")
    return folder


def build_mine(corpora: Corpora, specs: Path, check: int = 0) -> Call:
    return call(
        "build", "openi", "tasks=[mine-mine]", "--data-root", corpora.root, "--specs", specs,
        "--out", specs.parent / "out", check=check,
    )  # fmt: skip


def test_a_spec_with_a_misspelt_key(corpora: Corpora, specs: Path) -> None:
    spec = specs / "mine.yaml"
    spec.write_text(spec.read_text("utf-8").replace("template:", "tempalte:"), "utf-8")
    err = build_mine(corpora, specs, 3).err
    assert f"{spec}:7:5: tasks.0.tempalte: unknown key; did you mean 'template'?" in err
    assert "tasks.0.template: this key is required" in err  # all faults at once


def test_a_template_with_a_name_that_no_column_has(corpora: Corpora, specs: Path) -> None:
    write_template(specs, "mine", "{{ fidnings }}")
    err = build_mine(corpora, specs, 3).err
    assert f"{specs / 'mine.yaml'}:7:5: [mine] [Mine]: template mine reads fidnings; the query gives id, split" in err


def test_a_template_that_is_not_there(corpora: Corpora, specs: Path) -> None:
    (specs / "templates" / "mine.jinja").unlink()
    spec = specs / "mine.yaml"
    spec.write_text(spec.read_text("utf-8").replace("SELECT ", "SELECT nowhere, "), "utf-8")
    err = build_mine(corpora, specs, 3).err
    assert "there is no template 'mine.jinja' in" in err and f"(wanted at {spec}:7:5)" in err
    assert 'Referenced column "nowhere" not found' in err  # all faults at once


def test_a_template_that_does_not_parse(corpora: Corpora, specs: Path) -> None:
    file = write_template(specs, "mine", "{% if findings %}")
    assert f"{file}:5:1: " in build_mine(corpora, specs, 3).err


def test_a_query_with_a_column_that_no_table_has(corpora: Corpora, specs: Path) -> None:
    write_spec(specs, {"mine": TEXT_QUERY.replace("split", "splt")})
    err = build_mine(corpora, specs, 3).err
    assert f"{specs / 'mine.yaml'}:9:1: [mine] [Mine]: " in err and '"splt"' in err and '"split"' in err


def test_a_query_that_fails_on_the_data(corpora: Corpora, specs: Path) -> None:
    write_spec(specs, {"mine": TEXT_QUERY + " AND findings::INTEGER > 1"})
    err = build_mine(corpora, specs, 3).err
    assert f"{specs / 'mine.yaml'}:" in err and "Conversion Error" in err


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("'one' AS id, split", "ids must be unique; several records have the id one"),
        ("NULL::VARCHAR AS id, split", "has no id"),
        ("study AS id, 'dev' AS split", "has split 'dev'; expected train, val, test"),
    ],
)
def test_a_query_that_breaks_the_contract_of_records(corpora: Corpora, specs: Path, column: str, said: str) -> None:
    write_spec(specs, {"mine": TEXT_QUERY.replace("study AS id, split", column)})
    err = build_mine(corpora, specs, 4).err
    assert said in err and f"{specs / 'mine.yaml'}:9:1: [mine] [Mine]" in err


SECRET = "words that nobody may read"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET, "utf-8")
    return file


def check_nothing_was_told(done: Call, folder: Path) -> None:
    assert SECRET not in done.out + done.err and "Traceback" not in done.err
    assert not [file for file in (folder / "out").rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("head", "prompt"),
    [
        ('{% import "SECRET" as stolen %}', "{{ stolen }}"),
        ('{% import "../../secret.txt" as stolen %}', "{{ stolen }}"),
        ('{% import "linked.jinja" as stolen %}', "{{ stolen }}"),
        ('{% from "SECRET" import words %}', "{{ words }}"),
        ("{% import findings as stolen %}", "{{ stolen }}"),
        ("", '{% include "SECRET" %}'),
        ('{% extends "SECRET" %}', ""),
        ("", "{{ findings.__class__.__mro__ }}"),
        ("", "{{ ''['__class__'] }}"),
        ("", "{{ findings|attr('__class__') }}"),
        ("", "{{ '{0.__class__}'.format(findings) }}"),
        ("", "{{ self._TemplateReference__context }}"),
        ("", "{{ images.__init__.__globals__ }}"),
        ("", "{{ range.__self__ }}"),
        ("", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"),
        ("", "{{ lipsum.__globals__ }}"),
        ("", "{{ 'x' * 10000000000 }}"),
        ("", "{{ 10 ** 10 ** 10 }}"),
        ("", "{% for i in range(10000000000) %}{% endfor %}"),
    ],
)
def test_a_hostile_template(corpora: Corpora, specs: Path, secret: Path, head: str, prompt: str) -> None:
    file = write_template(specs, "mine", prompt.replace("SECRET", str(secret)), head.replace("SECRET", str(secret)))
    (specs / "templates" / "linked.jinja").symlink_to(secret)
    done = build_mine(corpora, specs, 3)
    assert f"error: {file.parent}/" in done.err or f"error: {specs / 'mine.yaml'}:7:5: " in done.err
    check_nothing_was_told(done, specs.parent)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{{ findings }}", "the prompt tells the target 'findings'"),
        ("What is in {study}?", "{study} prints as it stands; write {{ study }}"),
        ("<image> What is there?", "models read <image> as a control token; leave it out"),
        ("What is there?<|im_end|>", "models read <|im_end|> as a control token"),
        ("{{ '<ima' ~ 'ge>' }} What is there?", "variant 0: models read <image> as a control token; leave it out"),
        ("{% raw %}{# [INST] #}{% endraw %} What is there?", "models read [INST] as a control token"),
    ],
)
def test_a_build_refuses_a_template_that_lint_refuses(corpora: Corpora, specs: Path, prompt: str, said: str) -> None:
    file = write_template(specs, "mine", prompt)
    assert f"{file}:" in (told := call("lint", "--specs", specs, check=3).out) and said in told
    assert said in build_mine(corpora, specs, 3).err
    assert not list((specs.parent / "out").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("NULL", "NULL"), ("[NULL]", "NULL[]"), ("['a', 'b']::VARCHAR[2]", "VARCHAR[2]"),
        ("MAP {'a': 1}", "MAP(VARCHAR, INTEGER)"), ("'a'::ENUM('a')", "ENUM('a')"), ("INTERVAL 1 DAY", "INTERVAL"),
        ("'a'::BLOB", "BLOB"), ("'1'::BIT", "BIT"), ("1::UNION(a INTEGER, b VARCHAR)", "UNION(a INTEGER, b VARCHAR)"),
        ("[{'a': INTERVAL 1 DAY}]", "STRUCT(a INTERVAL)[]"),
    ],
)  # fmt: skip
def test_a_column_of_a_type_that_no_template_prints(corpora: Corpora, specs: Path, value: str, kind: str) -> None:
    spec = write_spec(specs, {"mine": TEXT_QUERY.replace("findings,", f"findings, {value} AS indication,", 1)})
    write_template(specs, "mine", "{{ indication }}")
    told = f"{spec}:9:1: [mine] [Mine]: column 'indication' is {kind}; cast it ({{}}::VARCHAR)"
    told = told.format("NULL" if value == "NULL" else "indication")
    assert told in call("lint", "--specs", specs, check=3).out
    assert told in build_mine(corpora, specs, 3).err


def test_a_comment_of_a_template_may_hold_anything(specs: Path) -> None:
    write_template(specs, "mine", "What is there?", "{# <image> and {braces},\n<|im_end|> #}")
    assert "all is well" in call("lint", "--specs", specs).out


def test_lint_tells_no_more_of_a_hostile_template_than_a_build(specs: Path, secret: Path) -> None:
    write_template(specs, "mine", "{{ stolen }}", '{% import "../../secret.txt" as stolen %}')
    done = call("lint", "--specs", specs, check=3)
    assert f"{specs / 'templates' / 'mine.jinja'}:" in done.out
    check_nothing_was_told(done, specs.parent)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT content AS id, 'test' AS split, content AS patient, [content] AS studies, content AS findings,"
        " 'x' AS origin FROM read_text('SECRET')",
        "SELECT column0 AS id, 'test' AS split, column0 AS patient, [column0] AS studies, column0 AS findings,"
        " 'x' AS origin FROM read_csv('SECRET', header=false)",
        "SELECT * FROM 'SECRET'",
        "SELECT file AS id, 'test' AS split, file AS patient, [file] AS studies, file AS findings, 'x' AS origin"
        " FROM glob('/*')",
        "COPY studies TO 'STOLEN'",
        "SELECT * FROM studies; COPY studies TO 'STOLEN'",
        "SELECT 1) TO 'STOLEN'; --",
        "ATTACH 'STOLEN' AS mine",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CREATE TABLE mine AS SELECT * FROM studies",
        "EXPORT DATABASE 'STOLEN'",
        TEXT_QUERY.replace("findings,", "getenv('HOME') AS findings,"),
    ],
)
def test_a_hostile_query(corpora: Corpora, specs: Path, secret: Path, query: str) -> None:
    stolen = secret.with_name("stolen")
    write_spec(specs, {"mine": query.replace("SECRET", str(secret)).replace("STOLEN", str(stolen))})
    done = build_mine(corpora, specs, 3)
    assert f"error: {specs / 'mine.yaml'}:9:1: [mine] [Mine]: " in done.err
    check_nothing_was_told(done, specs.parent)
    assert not stolen.exists()


def test_a_query_may_not_read_variables_of_the_program(corpora: Corpora, specs: Path) -> None:
    write_spec(specs, {"mine": "SELECT * FROM corpora"})
    assert "corpora does not exist" in build_mine(corpora, specs, 3).err


# --- the output folder -------------------------------------------------------------------------------------------


def test_a_folder_that_holds_the_build_of_another_recipe(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("build", "openi", "--data-root", corpora.root, "--out", out)
    before = contents(out)
    for command in ("build", "plan"):
        err = call(command, "demo", "--data-root", corpora.root, "--out", out, check=2).err
        assert f"{out}: holds the build 'openi'; this recipe is named 'demo'. Choose another --out" in err
    assert contents(out) == before


def test_a_folder_that_holds_something_else(corpora: Corpora, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my only copy", "utf-8")
    for command in ("build", "plan"):
        err = call(command, "openi", "--data-root", corpora.root, "--out", tmp_path, check=2).err
        assert f"{tmp_path}: is not empty (thesis.txt) and holds no build; choose another --out" in err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_out_that_is_a_file_or_below_one(corpora: Corpora, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        err = call("build", "openi", "--data-root", corpora.root, "--out", out, check=2).err
        assert f"{out}: cannot be an output folder: " in err and "choose another --out" in err
    assert (tmp_path / "file").read_text("utf-8") == "mine"


@contextmanager
def building(*arguments: str | Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A build in a process of its own, from the moment it has the folder."""
    command = [sys.executable, "-m", "instruct.cli", "build", *map(str, arguments)]
    with subprocess.Popen(  # type: ignore[call-overload]
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        assert process.stderr.readline().startswith("building ")
        yield process


def test_a_temporary_folder_with_an_apostrophe(
    corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "the reader's"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    out = ("--data-root", corpora.root, "--out", tmp_path / "out")
    call("build", "openi", "splits.OpenI=drop_leaks", *out)
    call("counts", tmp_path / "out")


def test_two_builds_into_one_folder_at_once(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building("openi", "--data-root", corpora.root, "--out", out) as first:
        first.send_signal(signal.SIGSTOP)
        err = call("build", "openi", "--data-root", corpora.root, "--out", out, check=2).err
        assert f"{out}: another build is writing into this folder (process {first.pid}); wait for it" in err
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0
    assert call("verify", out).code == 0
    assert "nothing to render" in call("build", "openi", "--data-root", corpora.root, "--out", out).out


def limit_files(size: int) -> Callable[[], None]:
    """What makes every write beyond a size fail, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("what", "workers"), [("records", "2"), ("shards", "1"), ("shards", "2")])
def test_a_full_disk(corpora: Corpora, tmp_path: Path, what: str, workers: str) -> None:
    # Impressions come first and are shorter than summaries, so that the limit lets some shards through.
    rows = ("shard_rows=30", "tasks=['[Impression Generation] [OpenI]', '[Findings Summarization] [OpenI]']")
    recipe, out, undisturbed = load_recipe("openi", rows), tmp_path / "out", tmp_path / "undisturbed"
    build_dataset(recipe, undisturbed, data_root=corpora.root)
    largest = max(file.stat().st_size for file in shards(undisturbed).values())
    size = {"records": 4096, "shards": largest - 1}[what]
    command = ("openi", *rows, "--data-root", corpora.root, "--out", out, "--workers", workers)
    with building(*command, preexec_fn=limit_files(size)) as process:
        err = process.stderr.read() if process.stderr else ""
    assert process.returncode == 4
    assert f"{out}/.build/{what}/" in err and "cannot be written: File too large. What is finished is kept" in err
    assert "make room and run the same command again" in err and "Traceback" not in err
    assert call("verify", out, check=2).err.startswith(f"error: {out}: the build is not finished")

    result = build_dataset(recipe, out, data_root=corpora.root)
    assert result.reused > 0 if what == "shards" else result.reused == 0
    assert contents(out) == contents(undisturbed)


def test_a_damaged_shard_is_found_and_made_anew(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("build", "openi", "shard_rows=10", "--data-root", corpora.root, "--out", out)
    before = contents(out)
    shard = shards(out)["findings_generation-openi/test/1"]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = call("verify", out, check=4)
    assert f"{shard}: its content differs from what was built" in done.out and "build it again" in done.out
    again = call("build", "openi", "shard_rows=10", "--data-root", corpora.root, "--out", out)
    assert f"1 shards rendered, {len(shards(out)) - 1} reused, 0 dropped" in again.out
    assert contents(out) == before and call("verify", out).code == 0


# --- processes ---------------------------------------------------------------------------------------------------


def workers_of(process: subprocess.Popen[str], number: int) -> list[int]:
    """Process ids of a build's workers, once there are so many."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        if len(found) >= number:
            return found
        time.sleep(0.01)
    raise AssertionError("the build started no workers")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def two_workers(corpora: Corpora, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ("demo", "shard_rows=5", "--data-root", corpora.root, "--out", tmp_path / "out", "--workers", "2")
    with building(*arguments, start_new_session=True) as process:
        yield process


def test_a_killed_worker_is_replaced(tmp_path: Path, two_workers: subprocess.Popen[str]) -> None:
    os.kill(workers_of(two_workers, 2)[0], signal.SIGKILL)
    err = two_workers.stderr.read() if two_workers.stderr else ""
    assert two_workers.wait() == 0
    assert "a worker process died; run again: " in err and "Traceback" not in err
    assert call("verify", tmp_path / "out").code == 0


def test_workers_that_are_killed_again_and_again(corpora: Corpora, tmp_path: Path) -> None:
    """As a job that needs too much memory would have it."""
    out = tmp_path / "out"
    with building("demo", "shard_rows=5", "--data-root", corpora.root, "--out", out, "--workers", "2") as process:
        for _ in range(3):
            workers = workers_of(process, 2)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            while any(map(alive, workers)):  # or they would be found again
                time.sleep(0.01)
        err = process.stderr.read() if process.stderr else ""
    assert process.returncode == 4
    assert (
        "3 worker processes died, perhaps for want of memory, while these were running or next:"
        " findings_generation-openi" in err
    )
    assert "run the same command again, with fewer --workers" in err and "Traceback" not in err
    build_dataset(load_recipe("demo", ["shard_rows=5"]), out, data_root=corpora.root)
    assert call("verify", out).code == 0


def test_workers_end_with_a_build_that_is_killed(two_workers: subprocess.Popen[str]) -> None:
    workers = workers_of(two_workers, 2)
    two_workers.kill()
    two_workers.wait()
    end = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [worker for worker in workers if alive(worker)]
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def test_ctrl_c_ends_a_build_with_workers_quietly(two_workers: subprocess.Popen[str]) -> None:
    workers = workers_of(two_workers, 2)
    os.killpg(two_workers.pid, signal.SIGINT)  # as a terminal does: to the build and its workers
    err = two_workers.stderr.read() if two_workers.stderr else ""
    assert two_workers.wait() == 130
    assert err.endswith("interrupted; what is finished is kept\n") and "Traceback" not in err
    assert not [worker for worker in workers if alive(worker)]
