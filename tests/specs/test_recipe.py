from __future__ import annotations

import pytest

from instruct.errors import SpecError, UsageError
from instruct.specs.recipe import load_recipe, shipped_recipes

RECIPE = """\
name: mine
sources:
  openi: {}
images:
  missing: drop
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text(RECIPE, "utf-8")
    return tmp_path / "mine.yaml"


def faults(path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_recipe(path, overrides)
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


@pytest.mark.parametrize("name", shipped_recipes("build"))
def test_a_shipped_recipe_goes_by_its_name(name):
    assert load_recipe(name).name == name


def test_defaults_keep_every_image_and_word_each_record_once(recipe):
    loaded = load_recipe(recipe)
    assert (loaded.tasks, loaded.seed, loaded.variants, loaded.dialect) == ("all", 0, 1, "thousand")
    assert (loaded.images.missing, loaded.images.check, loaded.images.paths) == ("drop", "exists", "absolute")
    assert loaded.mentions_change == "substring"


def test_overrides_reach_inside_and_are_yaml(recipe):
    loaded = load_recipe(
        recipe,
        [
            "images.missing=keep",
            "seed=7",
            "variants=all",
            "tasks=[findings_generation-openi]",
            "sources.rexgradient.options.key_image=first",
            "sources.openi.root=/data/openi",
            "mentions_change=word",
            "max_bad=1e-3",
        ],
    )
    assert loaded.images.missing == "keep"
    assert (loaded.seed, loaded.variants, loaded.tasks) == (7, "all", ["findings_generation-openi"])
    assert loaded.sources["rexgradient"].options == {"key_image": "first"}
    assert str(loaded.sources["openi"].root) == "/data/openi"
    assert (loaded.mentions_change, loaded.max_bad) == ("word", 0.001)
    assert load_recipe(recipe).images.missing == "drop"


def test_a_later_override_wins(recipe):
    assert load_recipe(recipe, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=3", ""])
def test_an_override_without_a_value(recipe, override):
    with pytest.raises(UsageError, match="is not of the form key=value"):
        load_recipe(recipe, [override])


def test_an_override_with_an_unknown_key_gets_a_suggestion(recipe):
    told = faults(recipe, "images.mising=keep")
    assert told == [
        "mine.yaml:4:1: images.mising: unknown key; did you mean 'missing'?",
        "(with overrides: images.mising=keep)",
    ]
    assert "did you mean 'variants'?" in faults(recipe, "variant=2")[0]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("shard_rows=10000000000", "shard_rows: Input should be less than or equal to 1000000, not 10000000000"),
        ("seed=-1", "seed: Input should be greater than or equal to 0, not -1"),
        ("seed=many", "seed: Input should be a valid integer"),
        ("variants=0", "variants"),
        ("max_bad=2", "max_bad: Input should be less than or equal to 1, not 2"),
        ("images.missing=yes", "images.missing: Input should be 'keep' or 'drop', not 'yes'"),
        ("images=drop", "images: Input should be a mapping, not 'drop'"),
        ("tasks=[]", "tasks: Input should be 'all'; List should have at least 1 item"),
        ("variants=many", "variants: Input should be 'all' or a valid integer, unable to parse"),
        ("tasks=[1]", "tasks.0: Input should be a valid string, not 1"),
        ("sources={}", "sources: Dictionary should have at least 1 item"),
        ("name=My Recipe", "name: String should match pattern"),
        ("sources.openi.rot=x", "sources.openi.rot: unknown key; did you mean 'root'?"),
    ],
)
def test_an_override_with_a_wrong_value(recipe, override, told):
    assert told in faults(recipe, override)[0]


def test_faults_of_the_file_are_told_with_their_places(recipe):
    recipe.write_text(RECIPE + "  check: look\nsed: 3\n", "utf-8")
    assert faults(recipe) == [
        "mine.yaml:6:3: images.check: Input should be 'exists' or 'decode', not 'look'",
        "mine.yaml:7:1: sed: unknown key; did you mean 'seed'?",
    ]


def test_a_recipe_that_is_not_there():
    with pytest.raises(
        UsageError, match=r"dmeo: no such recipe file\. Did you mean 'demo'\? Shipped recipes: .*, openi"
    ):
        load_recipe("dmeo")


def test_all_stands_for_every_source_and_leaves_room_for_choices():
    chosen = load_recipe("all", ["sources.rexgradient.options.key_image=first"])
    assert chosen.takes("openi") and chosen.takes("rexgradient") and not load_recipe("demo").takes("rsna")
    assert list(chosen.choices) == ["rexgradient"]
    assert chosen.choices["rexgradient"].options == {"key_image": "first"}
    with pytest.raises(SpecError, match=r"sources\.all stands for every source; give root and options under"):
        load_recipe("all", ["sources.all.root=/data"])
