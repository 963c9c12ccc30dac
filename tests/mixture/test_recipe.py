from __future__ import annotations

import json
import re

import pytest

from instruct.errors import SpecError, UsageError
from instruct.mixture.recipe import MixtureRecipe, load_mixture_recipe
from instruct.specs.recipe import shipped_recipes
from instruct.specs.schemas import schema_of
from tests.conftest import REPOSITORY


def faults(mix, text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        mix(text, *overrides)
    return [re.sub(r"/\S*/", "", problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{tasks: '*', weight: 2, count: 5}", "weight and count contradict each other; keep one of them"),
        ("{tasks: '*', share: 0.5, repeats: 2}", "share and repeats contradict each other"),
        ("{weight: 2}", "selects nothing; one of tasks, datasets, tags, configs, mixture is needed"),
        ("{mixture: b.yaml, tasks: '*'}", "mixture takes no tasks; select inside the other mixture"),
    ],
)
def test_an_entry_that_contradicts_itself(mix, entry, told):
    (problem,) = faults(mix, f"use:\n  - tasks: Text QA\n  - {entry}\n")
    assert problem.startswith(f"mine.yaml:5:5: use.1: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("use: [{tasks: '*', wieght: 2}]", "mine.yaml:3:20: use.0.wieght: unknown key; did you mean 'weight'?"),
        ("use: [{tasks: '*', weight: -1}]", "use.0.weight: Input should be greater than or equal to 0, not -1"),
        ("use: [{tasks: '*', share: 1.5}]", "use.0.share: Input should be less than or equal to 1, not 1.5"),
        ("use: [{tasks: '*', count: 0}]", "use.0.count: Input should be greater than or equal to 1, not 0"),
        ("use: [{tasks: '*', repeats: .inf}]", "use.0.repeats: Input should be a finite number"),
        ("use: []", "use: List should have at least 1 item"),
        ("use: [{tasks: '*'}]\ntemperature: 2", "temperature: Input should be less than or equal to 1, not 2"),
        ("use: [{tasks: '*'}]\nsplits: {train: {cap: 5}}", "splits.train"),
        ("use: [{tasks: '*'}]\nsplits: {val: {total: 5}}", "splits.val: total belongs to entries of the split"),
        ("use: [{tasks: '*'}]\nsplits: {val: {cap: 5, use: [{tasks: '*'}]}}", "cap belongs to splits without entries"),
    ],
)
def test_a_wrong_key_or_value(mix, text, told):
    assert told in faults(mix, text)[0]


def test_overrides_reach_inside(mix):
    recipe = mix("use: [{tasks: '*'}]\n", "splits.val.cap=3", "seed=7", "temperature=0.5")
    assert (recipe.splits["val"].cap, recipe.seed, recipe.temperature) == (3, 7, 0.5)


def test_a_nested_mixture_that_is_not_there(mix):
    (problem,) = faults(mix, "use:\n  - mixture: gone.yaml\n")
    assert problem == (
        "mine.yaml:4:5: use.0.mixture: no such mixture: there is no file gone.yaml, and the shipped mixtures are "
        "mixture_demo, mixture_reports"
    )


def test_a_circle_of_mixtures_is_shown(mix, tmp_path):
    (tmp_path / "b.yaml").write_text("name: b\nuse:\n  - tasks: '*'\n  - mixture: c.yaml\n")
    (tmp_path / "c.yaml").write_text("name: c\nuse: [{mixture: b.yaml}]\n")
    (problem,) = faults(mix, "use: [{mixture: b.yaml}]\n")
    assert problem == "c.yaml:2:8: use.0.mixture: a mixture cannot be part of itself: b.yaml -> c.yaml -> b.yaml"
    (problem,) = faults(mix, "use: [{tasks: '*'}]\nsplits: {val: {use: [{mixture: mine.yaml}]}}\n")
    assert problem.endswith("a mixture cannot be part of itself: mine.yaml -> mine.yaml")


def test_the_same_mixture_twice_is_no_circle(mix, tmp_path):
    (tmp_path / "b.yaml").write_text("name: b\nuse: [{tasks: '*'}]\n")
    assert len(mix("use: [{mixture: b.yaml, count: 3}, {mixture: b.yaml}]\n").use) == 2


def test_the_example_of_the_documentation_is_a_mixture(tmp_path):
    page = (REPOSITORY / "docs" / "mixtures.md").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(page.split("```yaml\n")[1].split("```")[0], "utf-8")
    recipe = load_mixture_recipe(tmp_path / "mine.yaml")
    assert [entry.amount for entry in recipe.use] == ["share", "count", "repeats", "weight", "weight"]


@pytest.mark.parametrize("name", shipped_recipes("mixture"))
def test_a_shipped_mixture_goes_by_its_name(name):
    assert load_mixture_recipe(name).name == name
    assert name.startswith("mixture_")


def test_a_recipe_of_another_kind_is_no_mixture():
    with pytest.raises(UsageError, match=r"demo: no such recipe file\. Shipped recipes: mixture_demo, mixture_reports"):
        load_mixture_recipe("demo")
    with pytest.raises(SpecError, match=r"demo\.yaml:\d+:1: sources: unknown key"):
        load_mixture_recipe(REPOSITORY / "recipes" / "demo.yaml")


def test_the_committed_schema_is_that_of_the_code():
    committed = json.loads((REPOSITORY / "docs" / "schemas" / "mixture.schema.json").read_text("utf-8"))
    assert committed == schema_of(MixtureRecipe, "mixture"), (
        "run: cxr-instruct schema mixture > docs/schemas/mixture.schema.json"
    )
    for part in (committed, *committed["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all(key.get("description") for key in part["properties"].values())
