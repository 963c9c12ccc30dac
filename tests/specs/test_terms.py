"""Facts on the published datasets, and the terms guard."""

from __future__ import annotations

import re
from typing import Any

import pytest

from instruct.errors import TermsError, UsageError
from instruct.sources import source_names
from instruct.specs.published import agreement_of, citations, published_datasets
from instruct.specs.task_spec import TaskSpec, load_task_specs
from instruct.specs.terms import check_terms, read_permissions, refusals, sources_of, told_terms, with_upstream


def test_every_source_has_its_facts_and_no_other() -> None:
    assert set(published_datasets()) == set(source_names())
    for name, facts in published_datasets().items():
        assert agreement_of(name) is not None
        assert set(facts.citations) <= set(citations()), name


def test_the_bibliography_is_bibtex_that_somebody_cites() -> None:
    cited = {key for facts in published_datasets().values() for key in facts.citations} | {"chen2024chexagent"}
    assert set(citations()) == cited
    for key, entry in citations().items():
        assert re.match(rf"@(article|inproceedings|misc)\{{{key},\n", entry)
        assert entry.count("{") == entry.count("}") and entry.endswith("\n}")
        assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) = \{", entry, re.MULTILINE))


def test_a_source_that_is_not_open_may_not_be_shared() -> None:
    for entry in load_task_specs():
        terms = agreement_of(entry.spec.source)
        assert terms is not None
        if entry.spec.access != "open":
            assert terms.share != "allowed", entry.spec.source
        if entry.spec.access == "credentialed":
            assert "PhysioNet" in entry.spec.licence and terms.services == "forbidden"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("covidx_cxr3", ["chestxray14", "covidx_cxr3", "rsna"]),
        ("rad_restruct", ["openi", "rad_restruct"]),
        ("radgraph", ["chexpert", "mimic_cxr", "radgraph"]),
        ("openi", ["openi"]),
        ("clinic", ["clinic"]),
    ],
)
def test_upstream_sources_count_too(source: str, found: list[str]) -> None:
    assert with_upstream([source]) == found


def test_upstream_of_a_users_own_source_is_what_its_spec_says() -> None:
    assert with_upstream(["clinic"], {"clinic": ["ms_cxr"]}) == ["clinic", "mimic_cxr", "ms_cxr"]


def spec(source: str, **facts: Any) -> TaskSpec:
    task = {"task": "A", "template": "a", "rule": "All.", "records": "SELECT 1"}
    return TaskSpec.model_validate(
        {"source": source, "dataset": "D", "access": "open", "licence": "MIT", "tasks": [task]} | facts
    )


def test_what_any_spec_of_a_source_says_counts() -> None:
    told = told_terms(
        [
            spec("x", upstream=["openi"]),
            spec("x", access="gated", licence="Ours", reads=["mimic_cxr"]),
            spec("x", namespace="rsna"),
            spec("a", namespace="a", reads=["a"]),
        ]
    )
    assert told == {
        "a": {"access": "open", "licence": "MIT", "upstream": []},
        "x": {"access": "gated", "licence": "MIT; Ours", "upstream": ["mimic_cxr", "openi", "rsna"]},
    }


def test_sources_of_a_build_are_those_with_examples() -> None:
    manifest = {
        "sources": {
            "openi": {"upstream": []},
            "rexgradient": {"upstream": []},
            "rad_restruct": {"upstream": ["openi"]},
        },
        "tasks": [{"source": "rad_restruct", "splits": {"train": {}}}, {"source": "rexgradient", "splits": {}}],
    }
    assert sources_of(manifest) == ["openi", "rad_restruct"]


def test_what_each_use_is_refused_for() -> None:
    sources = ["chestxray14", "clinic", "object_cxr", "openi", "rexgradient"]
    for use in ("publish", "export", "preview"):
        assert [one.source for one in refusals(use, sources)] == ["clinic", "object_cxr", "openi", "rexgradient"]
    assert [one.source for one in refusals("judge", sources)] == ["clinic", "object_cxr", "rexgradient"]
    assert refusals("publish", ["chestxray14"]) == []


def test_the_refusal_names_clause_and_override() -> None:
    with pytest.raises(TermsError) as caught:
        check_terms("publish", ["chestxray14", "openi", "rexgradient"], {"openi": "a letter"}, "--permission S=R")
    text = str(caught.value)
    assert text.startswith("publishing is refused by the terms of 1 of its sources:\n  rexgradient: research without")
    assert "https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K" in text
    assert text.endswith("give it for each of them: --permission S=R")
    assert "openi" not in text
    with pytest.raises(TermsError, match=r"\n  mimic_cxr, vindr_cxr: whoever holds access"):
        check_terms("publish", ["mimic_cxr", "openi", "vindr_cxr"], {}, "--permission S=R")
    with pytest.raises(TermsError, match="clinic: its terms are not known to this package"):
        check_terms("export", ["clinic"], {}, "--permission S=R")


def test_a_permission_lifts_exactly_its_source() -> None:
    check_terms("publish", ["openi", "rexgradient"], {"openi": "a", "rexgradient": "b"}, "x")
    with pytest.raises(UsageError, match="a permission was given for chestxray14, opneI, which needs none here"):
        check_terms("publish", ["openi", "chestxray14"], {"openi": "a", "opneI": "b", "chestxray14": "c"}, "x")


@pytest.mark.parametrize("text", ["openi", "openi=", "=reason", "openi=  "])
def test_a_permission_has_a_reason(text: str) -> None:
    with pytest.raises(UsageError, match="expected SOURCE=REASON"):
        read_permissions([text])


def test_permissions_are_read() -> None:
    assert read_permissions(["openi=letter of 3 May = yes", " rsna = b"]) == {
        "openi": "letter of 3 May = yes",
        "rsna": "b",
    }
