"""The dataset card: Hub YAML that ``datasets`` verifies, a body made from what was written, Croissant, citations."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from instruct.api import build_dataset, load_recipe
from instruct.build.counts import Count, Counts
from instruct.build.schema import features
from instruct.build.verify import read_manifest
from instruct.reports.card import write_reports
from instruct.reports.count_table import to_markdown
from instruct.reports.hub import yaml_features
from instruct.specs.published import citations
from instruct.synth import write
from tests.build.helpers import call
from tests.conftest import Corpora

COUNTS = Counts({"[A] [Toy]": {"test": Count(5, 4, 3)}, "[A] [Far]": {}}, {"test": Count(5, 4, 3)})
SETTINGS = {"missing": "keep", "check": "exists", "paths": "absolute"}


def toy(**changes: Any) -> dict[str, Any]:
    """A manifest of one row that was built and one that was not."""
    shard = {"file": "a-toy/test/arrow/data-00000-of-00001.arrow", "examples": 5, "records": 5, "bytes": 100}
    told = {"task": "A", "rule": "", "differs": "", "template": "a", "expect": {}, "splits": {}}
    built = {
        **told,
        "name": "[A] [Toy]",
        "config": "a-toy",
        "source": "toy",
        "dataset": "Toy",
        "splits": {"test": {"records": 5, "shards": [shard | {"sha256": "0" * 64}]}},
        "facts": {"inputs": {"toy/a.csv": "1" * 64}, "template_files": {"a.jinja": "2" * 64}},
        "bad": {"missing_image": 1200, "empty_target": 3},
    }
    far = {**told, "name": "[A] [Far]", "config": "a-far", "source": "far", "dataset": "Far", "absent": ["far"]}
    return {
        "name": "mine",
        "version": "1.2.3",
        "configs": [
            {"config_name": "all", "default": True, "data_files": [{"split": "test", "path": "*/test/arrow/*.arrow"}]},
            {"config_name": "a-toy", "data_files": [{"split": "test", "path": "a-toy/test/arrow/*.arrow"}]},
        ],
        "sources": {
            "toy": {"access": "open", "licence": "CC0: no: terms", "upstream": [], "present": True},
            "far": {"access": "gated", "licence": "An agreement", "upstream": [], "present": False},
        },
        "tasks": [built | changes, far],
        "recipe": {"name": "mine", "seed": 0, "images": SETTINGS, "sources": {}},
        "image_roots": {},
    }


def parts(folder: Path) -> tuple[dict[str, Any], str]:
    """The YAML and the body of a card."""
    _, head, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def section(body: str, title: str) -> str:
    """A section of a card."""
    return body.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "out"
    build_dataset(load_recipe("demo", ["shard_rows=30"]), out, data_root=corpora.root)
    return out


@pytest.fixture(scope="module")
def card(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("card") / "whole"
    shutil.copytree(built, out)
    call("card", out)
    return out


# --- what a build leaves -----------------------------------------------------------------------------------------


def test_a_build_gets_its_table_in_three_forms_a_card_croissant_and_citations(tmp_path: Path) -> None:
    write_reports(tmp_path, toy(), COUNTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "CITATION.bib", "README.md", "counts.csv", "counts.json", "counts.md", "croissant.json",
    ]  # fmt: skip
    table = (tmp_path / "counts.md").read_text("utf-8")
    assert table == to_markdown(COUNTS, {"[A] [Far]": ["far"]})
    assert table.endswith("these sources were not on disk: far.\n")
    assert json.loads((tmp_path / "counts.json").read_text())["total"]["images_test"] == 4
    assert (tmp_path / "counts.csv").read_text().splitlines()[1] == "A,Toy,0,0,5,0,0,4,0,0,3"


def test_the_card_of_a_build_tells_what_its_manifest_holds(tmp_path: Path) -> None:
    write_reports(tmp_path, toy(rule="One *per* study.", differs="Fewer <rows>."), COUNTS)
    head, body = parts(tmp_path)
    assert head["configs"] == toy()["configs"]
    assert body.startswith(
        "\n# mine\n\nInstruction data for chest X-rays, built by cxr-instruct 1.2.3: 5 examples of 1 "
    )
    assert "**Not for clinical use.**" in body
    assert body.count("\n# ") == 1
    assert "| toy | open | CC0: no: terms | unknown | unknown |" in section(body, "Access terms")
    assert "### All the datasets" in section(body, "Numbers")
    rows = section(body, "Rows")
    assert "Configuration `a-toy`, template `a`. Records: test 5. One \\*per\\* study." in rows
    assert "Not built; not on disk: far." in rows
    assert "**\\[A\\] \\[Toy\\]**: Fewer &lt;rows&gt;." in section(body, "Known defects")
    left_out = section(body, "Records left out")
    assert "| \\[A\\] \\[Toy\\] | 1,200 | missing\\_image | an image of the record is not on disk |" in left_out
    assert "| \\[A\\] \\[Toy\\] | 3 | empty\\_target | the answer has no text |" in left_out
    assert json.loads(section(body, "How to make it again").split("```json\n")[1].split("```")[0]) == toy()["recipe"]
    assert f"{'1' * 64}  toy/a.csv" in body and f"{'2' * 64}  a.jinja" in body
    assert "Not audited" in section(body, "Splits and leakage audit")
    assert "Not computed yet" in section(body, "Statistics")


def test_a_build_without_quarantine_says_so(tmp_path: Path) -> None:
    write_reports(tmp_path, toy(bad={}), COUNTS)
    assert section(parts(tmp_path)[1], "Records left out").strip() == "None."


def test_a_row_beside_the_full_release(tmp_path: Path) -> None:
    write_reports(tmp_path, toy(expect={"train": 7, "test": 6}), COUNTS)
    assert "| \\[A\\] \\[Toy\\] | 0 of 7 |  | 5 of 6 |" in section(parts(tmp_path)[1], "Known defects")
    write_reports(tmp_path, toy(expect={"test": 5}), COUNTS)
    assert "full release" not in parts(tmp_path)[1]


# --- the YAML ----------------------------------------------------------------------------------------------------


def test_datasets_opens_every_configuration_and_holds_it_to_the_numbers(card: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    infos = {info["config_name"]: info for info in parts(card)[0]["dataset_info"]}
    assert list(infos) == [config["config_name"] for config in parts(card)[0]["configs"]]
    for name, info in infos.items():
        loaded = datasets.load_dataset(str(card), name, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split["name"]: split["num_examples"] for split in info["splits"]
        }
        folder = card if name == "all" else card / name
        for split, rows in datasets.load_from_disk(str(folder)).items():
            assert loaded[split].features == rows.features


def test_a_wrong_number_is_noticed(card: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    shutil.copytree(card, out)
    text = (out / "README.md").read_text("utf-8")
    (out / "README.md").write_text(re.sub(r"num_examples: (\d+)", lambda m: f"num_examples: {int(m[1]) + 1}", text))
    with pytest.raises(datasets.exceptions.DatasetsError if hasattr(datasets, "exceptions") else Exception) as caught:
        datasets.load_dataset(str(out), "findings_generation-openi", cache_dir=str(tmp_path / "cache"))
    assert type(caught.value).__name__ == "NonMatchingSplitsSizesError"


def test_bytes_and_examples_are_those_of_the_shards(card: Path) -> None:
    infos = {info["config_name"]: info for info in parts(card)[0]["dataset_info"]}
    total = 0
    for task in read_manifest(card)["tasks"]:
        files = [card / shard["file"] for split in task["splits"].values() for shard in split["shards"]]
        size = sum(file.stat().st_size for file in files)
        assert infos[task["config"]]["dataset_size"] == infos[task["config"]]["download_size"] == size
        total += size
    assert infos["all"]["dataset_size"] == total


def test_the_features_are_those_of_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    ours = datasets.Features._from_yaml_list(yaml_features(features()))
    assert ours == datasets.Features.from_dict(features())


def test_the_hub_can_read_the_head(card: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.DatasetCard.load(card / "README.md").data.to_dict()
    assert data["license"] == "other" and data["license_name"] == "terms-of-each-source"
    assert data["license_link"].startswith("https://")
    assert data["size_categories"] == ["n<1K"] and data["language"] == ["en"]
    assert set(data["task_categories"]) == {"image-text-to-text", "summarization"}
    assert set(data["extra_gated_fields"].values()) == {"text", "checkbox"}
    assert "I have been granted access to rexgradient by its owners" in data["extra_gated_fields"]


@pytest.mark.parametrize(
    ("examples", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (4_263_566, "1M<n<10M")]
)
def test_the_size_category(tmp_path: Path, examples: int, category: str) -> None:
    manifest = toy()
    manifest["tasks"][0]["splits"]["test"]["shards"][0]["examples"] = examples
    write_reports(tmp_path, manifest, COUNTS)
    assert parts(tmp_path)[0]["size_categories"] == [category]


def test_a_build_of_one_licence_has_it_and_an_open_one_no_gate(tmp_path: Path) -> None:
    manifest = toy(source="openi")
    manifest["sources"]["openi"] = manifest["sources"].pop("toy")
    write_reports(tmp_path, manifest, COUNTS)
    assert parts(tmp_path)[0]["license"] == "cc-by-nc-nd-4.0"
    manifest = toy(source="chestxray14")
    manifest["sources"]["chestxray14"] = manifest["sources"].pop("toy")
    write_reports(tmp_path, manifest, COUNTS)
    assert not {"extra_gated_prompt", "extra_gated_fields"} & set(parts(tmp_path)[0])


# --- the body ----------------------------------------------------------------------------------------------------


def test_the_strictest_terms_come_first_and_upstream_ones_are_told(tmp_path: Path) -> None:
    manifest = toy(source="rad_restruct")
    manifest["sources"] = {
        "rad_restruct": {"access": "open", "licence": "MIT", "upstream": ["openi"], "present": True},
        "rexgradient": {"access": "gated", "licence": "An agreement", "upstream": [], "present": True},
    }
    manifest["tasks"].append(manifest["tasks"][0] | {"config": "a-toy", "source": "rexgradient", "name": "[B] [Toy]"})
    write_reports(tmp_path, manifest, COUNTS)
    terms = section(parts(tmp_path)[1], "Access terms")
    assert terms.strip().startswith("**Only for people to whom the owners have granted access.**")
    table = [line.split(" | ")[0].removeprefix("| ") for line in terms.splitlines() if line.startswith("| ")]
    assert table == ["source", "ReXGradient-160K", "OpenI (Indiana University chest X-rays)", "Rad-ReStruct"]
    assert "<https://creativecommons.org/licenses/by-nc-nd/4.0/>" in terms


def test_the_whole_card_has_statistics_plots_rules_and_worded_examples(card: Path) -> None:
    body = parts(card)[1]
    rows = section(body, "Rows")
    assert rows.count("```text\n") == 8 and "assistant: the impression" in rows
    assert "One example per study, with its key image" in rows
    statistics = section(body, "Statistics")
    assert "### ReXGradient-160K, Table 2" in statistics
    plots = re.findall(r"!\[[^]]*\]\((plots/[^)]+)\)", statistics)
    assert plots and all((card / plot).is_file() for plot in plots)
    assert "gated" in section(body, "Access terms")
    for title in ("Where texts and labels come from", "De-identification", "Patients, and what is not known of them"):
        assert "**ReXGradient-160K**: " in section(body, title) and "**OpenI" in section(body, title)
    assert "so 3,419 reports have 27 ids" in section(body, "Known defects")


def test_no_text_of_a_report_is_in_the_card(card: Path) -> None:
    from tests.build.helpers import rows

    text = (card / "README.md").read_text("utf-8")
    for config in ("findings_summarization-openi", "findings_summarization-rex_gradient"):
        for example in rows(card, config, "test"):
            answer = example["conversations"][-1]["value"]
            assert len(answer) < 25 or answer not in text


def test_the_same_build_has_the_same_card(card: Path, built: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(built, again)
    call("card", again)
    for name in ("README.md", "croissant.json", "CITATION.bib", "statistics.json", "statistics.md"):
        assert (again / name).read_bytes() == (card / name).read_bytes(), name
    call("verify", card)


def test_a_rebuild_takes_the_statistics_out_of_the_card_again(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        build_dataset(load_recipe("openi"), out, data_root=corpora.root)
        assert "Not computed yet" in (out / "README.md").read_text("utf-8")
        call("card", out, "--plots", "none")
        assert "Not computed yet" not in (out / "README.md").read_text("utf-8")


def test_a_users_row_needs_its_specs_for_a_worded_example(corpora: Corpora, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "mine.yaml").write_text(
        "source: openi\ndataset: Mine\naccess: open\nlicence: none\ntasks:\n"
        '  - {task: Coding, template: coding, rule: Each report., records: "SELECT study AS id, split, patient,'
        " [study] AS studies, impression, findings, origin FROM studies WHERE findings <> '' AND impression <> ''\"}\n"
    )
    template = (
        "{% images none %}{% inputs findings %}{% target impression %}\n{% variant %}\n{% user %}WORDS {{ findings }}"
    )
    template += "{% enduser %}\n{% assistant %}{{ impression }}{% endassistant %}\n{% endvariant %}\n"
    (specs / "coding.jinja").write_text(template)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('name: mine\nsources: {openi: {}}\ntasks: ["[Coding] [Mine]"]\n')
    out = tmp_path / "out"
    build_dataset(load_recipe(recipe), out, data_root=corpora.root, specs=[specs])
    call("card", out, "--plots", "none")
    assert "WORDS" not in (out / "README.md").read_text("utf-8")
    call("card", out, "--plots", "none", "--specs", specs)
    assert "user: WORDS the findings\n" in (out / "README.md").read_text("utf-8")
    (specs / "coding.jinja").write_text(template.replace("WORDS", "OTHER"))
    call("card", out, "--plots", "none", "--specs", specs)
    assert "OTHER" not in (out / "README.md").read_text("utf-8")


# --- hostile data ------------------------------------------------------------------------------------------------


def links_and_images(body: str) -> set[str]:
    """Where the links and images of a rendered card lead; nothing else of it may be HTML of its own."""
    markdown_it = pytest.importorskip("markdown_it")
    page = markdown_it.MarkdownIt("commonmark").enable("table").render(body)
    assert set(re.findall(r"<(\w+)", page)) <= {
        "h1", "h2", "h3", "p", "strong", "em", "code", "pre", "ul", "li", "a", "img",
        "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    return set(re.findall(r'(?:href|src)="([^"]*)"', page))


def allowed(body: str) -> set[str]:
    """The links of the terms, and the plots."""
    return set(re.findall(r"<(https://[^>]+)>", body)) | set(re.findall(r"\]\((plots/[^)]+)\)", body))


EVIL = "<script>alert(1)</script> ![x](http://evil.example/x) | **b** \u202e www.evil.example"


def test_hostile_values_of_data_do_nothing(tmp_path: Path) -> None:
    write("rexgradient", tmp_path / "rexgradient", studies=20, images=False)
    for file in (tmp_path / "rexgradient" / "metadata").glob("*.json"):
        records = json.loads(file.read_text("utf-8"))
        for record in records.values():
            record |= {"Manufacturer": EVIL, "InstitutionName": EVIL, "Findings": EVIL, "Impression": EVIL}
            record["ImageViewPosition"] = [EVIL] * len(record["ImageViewPosition"])
        file.write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    recipe = load_recipe("rexgradient", ["images.missing=keep"])
    out = tmp_path / "out"
    build_dataset(recipe, out, data_root=tmp_path)
    call("card", out)
    for name in ("README.md", "statistics.md", "croissant.json", "CITATION.bib"):
        text = (out / name).read_text("utf-8")
        assert "<script" not in text and "\u202e" not in text, name
        assert "www.evil" not in text and "http://evil" not in text, name
    assert "&lt;SCRIPT&gt;ALERT(1)&lt;/SCRIPT&gt;" in (out / "README.md").read_text("utf-8")
    assert links_and_images(parts(out)[1]) <= allowed(parts(out)[1])
    for plot in (out / "plots").glob("*.svg"):
        assert "<script" not in plot.read_text("utf-8").lower()


def test_hostile_names_of_a_stranger_s_spec_do_nothing(tmp_path: Path) -> None:
    name = f"[{EVIL}] [Toy]"
    manifest = toy(name=name, rule=EVIL, differs=EVIL, dataset=EVIL, template="a")
    manifest["sources"]["toy"]["licence"] = EVIL
    manifest["name"] = EVIL
    write_reports(tmp_path, manifest, Counts({name: COUNTS.rows["[A] [Toy]"]}, COUNTS.total))
    head, body = parts(tmp_path)
    assert head["pretty_name"].startswith("<script>")  # YAML, not HTML
    assert "<script" not in body and "\u202e" not in body and "www.evil" not in body
    assert links_and_images(body) <= allowed(body)


# --- Croissant and citations -------------------------------------------------------------------------------------


def test_croissant_validates_and_has_every_shard(card: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=str(card / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert all("datePublished" in warning for warning in issues.warnings), issues.warnings
    document = json.loads((card / "croissant.json").read_text("utf-8"))
    assert "http://mlcommons.org/croissant/1.1" in document["conformsTo"]
    shards = {
        shard["file"]: shard
        for task in read_manifest(card)["tasks"]
        for split in task["splits"].values()
        for shard in split["shards"]
    }
    files = [item for item in document["distribution"] if item["@type"] == "cr:FileObject"]
    assert {item["contentUrl"] for item in files} == set(shards)
    for item in files:
        assert item["sha256"] == shards[item["contentUrl"]]["sha256"]
        assert item["contentSize"] == f"{(card / item['contentUrl']).stat().st_size} B"
    assert len(dataset.metadata.record_sets) == 8
    fields = {field["name"].partition("/")[2] for field in document["recordSet"][0]["field"]}
    assert fields == set(features())
    sets = {item["@id"]: item["includes"] for item in document["distribution"] if item["@type"] == "cr:FileSet"}
    for pattern in sets.values():
        assert list(card.glob(pattern))


def test_citations_are_those_of_the_sources_and_the_table(card: Path) -> None:
    keys = re.findall(r"^@\w+\{(\w+),", (card / "CITATION.bib").read_text("utf-8"), re.MULTILINE)
    assert keys == ["chen2024chexagent", "demnerfushman2016preparing", "zhang2025rexgradient"]
    assert citations()["zhang2025rexgradient"] in section(parts(card)[1], "Citation")


def test_the_command_lists_what_it_wrote(built: Path, tmp_path: Path) -> None:
    card = tmp_path / "out"
    shutil.copytree(built, card)
    files = json.loads(call("card", card, "--plots", "none", "--json").out)["files"]
    assert files == ["README.md", "croissant.json", "CITATION.bib", "statistics.json", "statistics.md"]
    assert call("card", card, "--plots", "png").out.count("plots/") > 10


# --- the audit ---------------------------------------------------------------------------------------------------


def audited(folder: Path, **changes: Any) -> str:
    """The audit's part of a card, for a result of the toy build."""
    from instruct.audit.result import build_digest

    clean = {"build": build_digest(toy()), "checks": ["study", "text"], "findings": [], "accepted": []}
    result = clean | {"matrix": [], "left_out": {}, "fix": {}} | changes
    (folder / "audit.json").write_text(json.dumps(result))
    write_reports(folder, toy(), COUNTS)
    return section(parts(folder)[1], "Splits and leakage audit")


def test_the_card_tells_what_the_audit_found(tmp_path: Path) -> None:
    assert "No leak between splits, 0 accepted with a reason. Looked for: study, text." in audited(tmp_path)
    assert "Not audited since it was built anew" in audited(tmp_path, build="0" * 64)
    leak = {
        "check": "study", "dataset": "Toy", "split": "train", "other": "Far|", "other_split": "test", "count": 1234,
        "examples": ["toy/secret"], "fix": {"splits": {"Toy": "drop_leaks"}},
    }  # fmt: skip
    shared = {one: dict.fromkeys(("train", "val", "test"), 0) for one in ("train", "val", "test")}
    shared["train"]["test"] = 1234
    matrix = [{"first": "Toy", "second": "Far", "kind": "study", "shared": shared}]
    text = audited(tmp_path, findings=[leak], accepted=[leak | {"accepted": "they | agree"}], matrix=matrix)
    assert "1 leak between splits, 1 accepted with a reason." in text
    assert '| study | Toy train | Far\\| test | 1,234 | splits: {"Toy": "drop\\_leaks"} |' in text
    assert "| study | Toy train | Far\\| test | 1,234 | they \\| agree |" in text
    assert "| Toy | Far | study | 0 | 1,234 | 0 | 0 | 0 | 0 |" in text
    assert "secret" not in text
    named = leak | {"check": "text", "fix": {"leave_out": ["toy/secret", "toy/secret2"]}}
    text = audited(tmp_path, findings=[named])
    assert "secret" not in text and "leave\\_out: 2 keys, under fix in audit.json" in text
    assert "Not looked at: 3 images, missing" in audited(tmp_path, left_out={"missing": 3})
