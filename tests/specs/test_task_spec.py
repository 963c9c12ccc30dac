from __future__ import annotations

import pytest

from instruct.errors import SpecError, UsageError
from instruct.resources import shipped
from instruct.sources import source_names
from instruct.specs.task_spec import SPLITS, load_task_spec, load_task_specs, slug

SPEC = """\
source: openi
dataset: Toy-Set 2
access: open
licence: CC0
tasks:
  - task: Findings Generation
    template: findings_generation
    records: SELECT 1
    expect: {train: 3}
  - task: Yes/No VQA
    template: close_ended_vqa
    records: |
      SELECT 2
"""


@pytest.fixture
def spec(tmp_path):
    def spec(text: str, name: str = "toy.yaml"):
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path / name

    return spec


def faults(path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_task_spec(path)
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_tasks_carry_their_names_and_places(spec):
    path = spec(SPEC)
    first, second = load_task_spec(path)
    assert (first.name, first.config) == ("[Findings Generation] [Toy-Set 2]", "findings_generation-toy_set_2")
    assert (second.name, second.config) == ("[Yes/No VQA] [Toy-Set 2]", "yes_no_vqa-toy_set_2")
    assert first.place() == f"{path}:6:5"
    assert second.place("records") == f"{path}:12:5"
    assert second.place("expect") == f"{path}:10:5"
    assert first.task.expect == {"train": 3}
    assert first.namespace == "openi"


def test_records_can_be_about_another_source(spec):
    (entry, _) = load_task_spec(spec(SPEC.replace("licence", "namespace: mimic_cxr\nlicence")))
    assert entry.namespace == "mimic_cxr"


def test_every_typo_is_told_at_once(spec):
    text = (
        SPEC.replace("access: open", "access: public")
        .replace("    template: findings_generation", "    templat: findings_generation")
        .replace("close_ended_vqa", "../secret")
        .replace("{train: 3}", "{train: -1, valid: 2}")
        .replace("licence: CC0", "license: CC0")
    )
    told = faults(spec(text))
    assert [problem.split(": ")[0] for problem in told] == [
        "toy.yaml:3:1", "toy.yaml:1:1", "toy.yaml:6:5", "toy.yaml:9:14", "toy.yaml:9:25", "toy.yaml:7:5",
        "toy.yaml:11:5", "toy.yaml:4:1",
    ]  # fmt: skip
    assert told[0].endswith("'open', 'registration', 'gated' or 'credentialed', not 'public'")
    assert told[1].endswith("licence: this key is required")
    assert told[5].endswith("tasks.0.templat: unknown key; did you mean 'template'?")
    assert "not '../secret'" in told[6]
    assert told[7].endswith("license: unknown key; did you mean 'licence'?")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("tasks:", "tasks: []\nx:"), "toy.yaml:5:1: tasks: List should have at least 1 item"),
        (
            ("records: SELECT 1", "records: ''"),
            "toy.yaml:8:5: tasks.0.records: String should have at least 1 character",
        ),
        (("source: openi", "source: Toy Set"), "toy.yaml:1:1: source: String should match pattern"),
        (("dataset: Toy-Set 2", "dataset: 2024"), "toy.yaml:2:1: dataset: Input should be a valid string, not 2024"),
    ],
)
def test_a_wrong_value(spec, change, told):
    assert faults(spec(SPEC.replace(*change)))[0].startswith(told)


def test_a_users_folder_adds_to_what_is_shipped(spec, tmp_path):
    spec(SPEC)
    shipped_only = load_task_specs()
    with_toy = load_task_specs([tmp_path])
    assert {entry.config for entry in with_toy} - {entry.config for entry in shipped_only} == {
        "findings_generation-toy_set_2",
        "yes_no_vqa-toy_set_2",
    }
    assert [entry.config for entry in with_toy][:-2] == [entry.config for entry in shipped_only]


def test_two_tasks_of_one_name_are_told_with_both_places(spec, tmp_path):
    first, second = spec(SPEC, "a.yaml"), spec(SPEC, "b.yaml")
    with pytest.raises(SpecError) as caught:
        load_task_specs([tmp_path])
    assert caught.value.problems == [
        f"{second}:{line}:5: task {name} stands also at {first}:{line}:5; rename one"
        for line, name in ((6, "[Findings Generation] [Toy-Set 2]"), (10, "[Yes/No VQA] [Toy-Set 2]"))
    ]


def test_faults_of_several_files_are_told_together(spec, tmp_path):
    spec("source: x\n", "a.yaml")
    spec("source: [\n", "b.yaml")
    with pytest.raises(SpecError) as caught:
        load_task_specs([tmp_path])
    files = {problem.removeprefix(f"{tmp_path}/").split(":")[0] for problem in caught.value.problems}
    assert files == {"a.yaml", "b.yaml"}


def test_sources_that_there_are_not_are_told_all_at_once(spec, tmp_path):
    text = SPEC.replace(
        "source: openi", "source: opeeni\nnamespace: Openi2\nreads: [openi, nowhere]\nupstream: [mimic_cx]"
    )
    path = spec(text.replace("Openi2", "openi2"))
    with pytest.raises(SpecError) as caught:
        load_task_specs([tmp_path])
    assert [problem.removeprefix(f"{path}:").partition(" (known:")[0] for problem in caught.value.problems] == [
        "1:1: source: no source is called 'opeeni'; did you mean 'openi'?",
        "2:1: namespace: no source is called 'openi2'; did you mean 'openi'?",
        "3:16: reads: no source is called 'nowhere'; there are brax, chestxray14, " + ", ".join(source_names()[2:]),
        "4:12: upstream: no source is called 'mimic_cx'; did you mean 'mimic_cxr'?",
    ]


def test_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"none: there is no task spec \(\*\.yaml\) in it"):
        load_task_specs([tmp_path / "none"])
    with pytest.raises(UsageError, match=r"nowhere: no such folder of task specs"):
        load_task_specs([tmp_path / "nowhere"])


def test_shipped_specs_are_one_file_per_source_or_dataset():
    entries = load_task_specs()
    assert {entry.file.path.parent for entry in entries} == {shipped("task_specs")}
    assert len({entry.name for entry in entries}) == len(entries)
    assert all(set(entry.task.expect) <= set(SPLITS) for entry in entries)
    rows = {entry.name for entry in entries}
    assert {
        "[Findings Generation] [OpenI]",
        "[Impression Generation] [OpenI]",
        "[Findings Summarization] [OpenI]",
        "[Findings Generation] [REX-Gradient]",
        "[Impression Generation] [REX-Gradient]",
        "[Progression Findings Generation] [REX-Gradient]",
        "[Progression Impression Generation] [REX-Gradient]",
        "[Findings Summarization] [REX-Gradient]",
    } <= rows


def test_slug():
    assert slug("Close-Ended VQA (Yes/No)") == "close_ended_vqa_yes_no"
