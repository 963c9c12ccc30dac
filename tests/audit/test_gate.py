"""The gate of the build, exceptions, protected sets, and what a wrong recipe is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from instruct.audit.protected import protected_sets
from instruct.audit.result import AuditResult, Finding, build_digest
from instruct.cli.audit import _show
from instruct.errors import UsageError
from instruct.synth import write
from tests.audit.builds import audit, build, named, recipe
from tests.build.helpers import IMAGE_QUERY, call, rows, shards, stamps, write_report, write_spec, write_template
from tests.conftest import run_cli

PAIR = ("openi", "rad_restruct")
REASON = "OpenI is not scored in this project."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenI, and Rad-ReStruct beside it, which shares its reports."""
    root = tmp_path_factory.mktemp("pair")
    write("rad_restruct", root / "rad_restruct", studies=24, images=False)
    return root


def run(folder: Path, data: Path, *arguments: str, check: int = 0, **fields: object):
    file = recipe(folder, PAIR, **fields)
    return call("build", file, "--data-root", data, "--out", folder / "out", *arguments, check=check)


def test_a_build_warns_by_default(data: Path, tmp_path: Path) -> None:
    done = run(tmp_path, data)
    leaks = len(json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))["findings"])
    assert leaks and f"audit: {leaks} leaks between splits (cxr-instruct audit OUT shows them)" in done.err
    result = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert result["build"] == build_digest(json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8")))
    assert "text" not in result["checks"]  # those take longer


def test_fail_stops_the_build_and_says_what_to_do(data: Path, tmp_path: Path) -> None:
    done = run(tmp_path, data, "audit=fail", check=4)
    assert "error: leak: Rad-Restruct train: " in done.err
    assert 'Mend them in the recipe with splits: {"Rad-Restruct": "follow_upstream"}' in done.err
    out = tmp_path / "out"
    assert not (out / "manifest.json").exists() and (out / "audit.json").exists()
    kept = stamps(out)
    assert kept
    # The suggested line, and nothing that it does not change is rendered again.
    run(tmp_path, data, "audit=fail", "splits.Rad-Restruct=follow_upstream")
    audit(out, clean=True)
    after = stamps(out)
    assert all(after[name] == kept[name] for name in after if "openi" in name.split("/")[0])
    assert not rows(out, "*rad_restruct", "train") or {
        row["keys"]["studies"][0] for row in rows(out, "*rad_restruct", "train")
    }.isdisjoint(row["keys"]["studies"][0] for row in rows(out, "*openi", "test"))


def test_off_does_not_look(data: Path, tmp_path: Path) -> None:
    run(tmp_path, data)
    done = run(tmp_path, data, "audit=off")
    assert "audit:" not in done.err and not (tmp_path / "out" / "audit.json").exists()


def test_an_exception_needs_a_reason_and_covers_what_it_names(data: Path, tmp_path: Path) -> None:
    rule = {"between": ["OpenI", "Rad-Restruct"], "checks": ["study", "patient", "image"]}
    assert "audit_exceptions.0.reason" in run(tmp_path, data, check=3, audit_exceptions=[rule]).err
    assert "at least 10" in run(tmp_path, data, check=3, audit_exceptions=[rule | {"reason": "no"}]).err
    run(tmp_path, data, audit_exceptions=[rule | {"reason": REASON}])
    result = json.loads(call("audit", tmp_path / "out", "--json", check=None).out)
    assert {one["accepted"] for one in result["accepted"]} == {REASON}
    assert {one["check"] for one in result["accepted"]} == {"patient", "study", "image"}
    assert {one["check"] for one in result["findings"]} <= {"protected"}
    printed = call("audit", tmp_path / "out", check=None).out
    assert "accepted: Rad-Restruct train: " in printed and REASON in printed
    wrong = rule | {"reason": REASON, "between": ["OpenI"]}
    run(tmp_path, data, check=4, audit="fail", audit_exceptions=[wrong])


def test_what_people_see(data: Path, tmp_path: Path) -> None:
    run(tmp_path, data)
    done = run_cli("audit", tmp_path / "out", check=4)
    assert "\x1b[" not in done.stdout  # no colours in a pipe
    assert "What two datasets share, by their splits; in two splits it leaks" in done.stdout
    assert 'recipe: splits: {"Rad-Restruct": "follow_upstream"}' in done.stdout
    assert "Looked for: protected, patient, study, image, text." in done.stdout
    (line,) = [
        line
        for line in done.stdout.splitlines()
        if line.startswith("  leak: Rad-Restruct train: ") and " also in " in line
    ]
    assert " patients, " in line and " studies, " in line and " images also in OpenI test; first: openi/CXR" in line


WORDS = [
    f"{first}{second}" for first in ("ka", "lo", "mi", "nu", "pe", "ro") for second in ("ban", "dor", "gis", "tul")
]
COPIED = (
    "SELECT study AS id, split, NULL::VARCHAR AS patient, {} AS studies, findings, origin FROM studies,"
    " (VALUES ({})) AS made(split) WHERE study IN ('CXR1', 'CXR2')"
)


@pytest.mark.parametrize("studies", ["[]::VARCHAR[]", "[study]"])
def test_a_copied_report_of_a_record_with_and_without_a_study(tmp_path: Path, studies: str) -> None:
    """The audit names what a build can leave out, and nothing else."""
    data, specs = tmp_path / "data", tmp_path / "specs"
    for number in range(1, 3):
        write_report(data, number, " ".join([*WORDS, *WORDS[::-1], *WORDS[::2]]), "Normal.")
    train = COPIED.format(studies, "'train'").replace("'CXR1', 'CXR2'", "'CXR1'")
    test = COPIED.format("[study]", "'test'").replace("'CXR1', 'CXR2'", "'CXR2'")
    write_spec(
        specs, {"one": train.replace("split,", "made.split,", 1), "two": test.replace("split,", "made.split,", 1)}
    )
    for name in ("one", "two"):
        write_template(specs, name, "Report.")

    def run(*more: str, check: int = 0) -> str:
        out = ("--data-root", data, "--specs", specs, "--out", tmp_path / "out")
        return call("build", "openi", "tasks=[one-mine,two-mine]", *more, *out, check=check).out

    run()
    result = audit(tmp_path / "out")
    (finding,) = result["findings"]
    fix = {"leave_out": ["openi/CXR1"]} if studies == "[study]" else {}
    assert finding["check"] == "text" and finding["fix"] == fix and result["fix"] == fix
    assert finding["examples"][0]["keys"] == ["openi/CXR1" if fix else "record CXR1", "openi/CXR2"]
    printed = call("audit", tmp_path / "out", check=4).out
    if fix:
        assert printed.endswith('All leaks, recipe:\nleave_out: ["openi/CXR1"]\n')
        run("leave_out=[openi/CXR1]")
        audit(tmp_path / "out", clean=True)
    else:
        assert (
            "no line of a recipe leaves these out; build without one of the rows, or see audit_exceptions\n" in printed
        )
        assert "All leaks" not in printed


def test_all_that_mends_an_audit_is_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Finding("study", "A", "train", "B", "test", 1, ["b/1"], {"splits": {"A": "drop_leaks"}}),
        Finding("text", "A", "train", "B", "test", 1, [{"keys": ["a/1", "b/1"]}], {"leave_out": ["a/1"]}),
    ]
    result = AuditResult("", ["study", "text"], found, [], [])
    _show(result)
    told = capsys.readouterr().out.partition("All leaks, recipe:\n")[2]
    assert yaml.safe_load(told) == result.fix == {"splits": {"A": "drop_leaks"}, "leave_out": ["a/1"]}


def test_an_audit_needs_a_finished_build(tmp_path: Path) -> None:
    assert "is no build of cxr-instruct" in call("audit", tmp_path, check=2).err


def test_a_dataset_that_is_not_built(data: Path, tmp_path: Path) -> None:
    err = run(tmp_path, data, check=2, splits={"Rad-Restrict": "drop_leaks"}).err
    assert "splits: the recipe builds no dataset 'Rad-Restrict'. Did you mean 'Rad-Restruct'?" in err
    assert "splits.Rad-Restruct" in run(tmp_path, data, check=3, splits={"Rad-Restruct": "mend"}).err


def test_an_upstream_that_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Rad-Restruct cannot follow its upstream \(openi\): neither rows of it nor"):
        build(tmp_path, data, ["rad_restruct"], splits={"Rad-Restruct": "follow_upstream"})
    with pytest.raises(UsageError, match=r"OpenI cannot follow its upstream \(it has none\)"):
        build(tmp_path, data, ["openi"], splits={"OpenI": "follow_upstream"})


def test_leave_out_names_keys_that_exist(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no record has the key 'openi/CXR0' \(and 0 more\)"):
        build(tmp_path, data, ["rad_restruct"], leave_out=["openi/CXR0"])
    out = build(tmp_path, data, ["rad_restruct"], audit="off")
    studies = sorted({row["keys"]["studies"][0] for row in rows(out, split="train")})
    tested = {row["keys"]["studies"][0] for row in rows(out, split="test")}
    out = build(tmp_path, data, ["rad_restruct"], audit="off", leave_out=[studies[0], min(tested)])
    assert sorted({row["keys"]["studies"][0] for row in rows(out, split="train")}) == studies[1:]
    assert {row["keys"]["studies"][0] for row in rows(out, split="test")} == tested  # test is never cut
    (moved,) = {json.dumps(task["facts"]["moved"]) for task in json.loads((out / "manifest.json").read_text())["tasks"]}
    assert list(json.loads(moved)) == ["train left out"]


def test_corrected_builds_are_reused_and_planned(data: Path, tmp_path: Path) -> None:
    build(tmp_path, data, PAIR)
    again = recipe(tmp_path, PAIR, splits={"Rad-Restruct": "drop_leaks"})
    plan = json.loads(call("plan", again, "--data-root", data, "--out", tmp_path / "out", "--json").out)
    text = json.dumps(plan)
    assert "the records that the recipe's splits and leave_out change are others" in text
    done = call("build", again, "--data-root", data, "--out", tmp_path / "out", "--json")
    first = stamps(tmp_path / "out")
    assert json.loads(done.out)["shards"]["built"] > 0
    done = call("build", again, "--data-root", data, "--out", tmp_path / "out", "--json")
    assert json.loads(done.out)["shards"]["built"] == 0 and stamps(tmp_path / "out") == first
    assert set(shards(tmp_path / "out"))


def test_a_protected_set_is_known_by_its_rows(tmp_path: Path) -> None:
    write("ms_cxr_t", tmp_path / "data" / "ms_cxr_t", studies=40, images=False)
    out = build(tmp_path, tmp_path / "data", ["ms_cxr_t"])
    found = named(audit(out))
    assert found["protected", "MS-CXR-T", "train", "MS-CXR-T", ""] > 0
    mended = build(tmp_path, tmp_path / "data", ["ms_cxr_t"], "mended", splits={"MS-CXR-T": "drop_leaks"}, audit="fail")
    assert not rows(mended, split="train") and rows(mended, split="test")


def test_every_protected_set_says_where_it_is_from() -> None:
    for item in protected_sets():
        assert item.taken_from.startswith("http") or "://" in item.taken_from
        ways = [bool(item.studies), bool(item.images), item.official is not None, item.source is not None]
        assert sum(ways) == 1 and (item.source or item.namespace)


def test_real_rexrank_studies_among_real_openi_reports(shared_data: Path, tmp_path: Path) -> None:
    """All of OpenI put into train: every one of ReXrank's IU X-ray studies is found, by the number of its report."""
    folder = shared_data / "rexrank-iu_xray" / "data" / "iu_xray"
    if not folder.is_dir() or not (shared_data / "openi").is_dir():
        pytest.skip("needs the published OpenI reports and ReXrank's files")
    specs = tmp_path / "specs"
    query = IMAGE_QUERY.replace("SELECT study AS id, split", "SELECT study AS id, 'train' AS split")
    write_spec(specs, {"everything": query})
    write_template(specs, "everything", "Describe.", images="any")
    out = build(tmp_path, shared_data, ["openi"], tasks=["everything-mine"])
    found = {one["other"]: one for one in audit(out, "--all-keys")["findings"]}
    assert set(found) == {"ReXrank IU X-ray test", "ReXrank IU X-ray valid"}
    for part, number in (("test", 590), ("valid", 296)):
        studies = json.loads((folder / f"ReXRank_IUXray_{part}.json").read_text("utf-8"))
        keys = {"openi/" + key.split("_")[0] for key in studies}
        finding = found[f"ReXrank IU X-ray {part}"]
        assert finding["count"] == len(keys) == number and set(finding["examples"]) == keys
    mended = build(tmp_path, shared_data, ["openi"], "mended", tasks=["everything-mine"], splits={"Mine": "drop_leaks"})
    left = {row["keys"]["studies"][0] for row in rows(mended)}
    assert len({row["keys"]["studies"][0] for row in rows(out)} - left) == 590 + 296
    audit(mended, clean=True)
