from __future__ import annotations

import json

import pytest

from instruct.specs.recipe import Recipe
from instruct.specs.schemas import json_schema
from instruct.specs.task_spec import TaskSpec
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("kind", ["task_spec", "recipe"])
def test_the_committed_schema_is_that_of_the_code(kind):
    committed = json.loads((REPOSITORY / "docs" / "schemas" / f"{kind}.schema.json").read_text("utf-8"))
    assert committed == json_schema(kind), f"run: cxr-instruct schema {kind} > docs/schemas/{kind}.schema.json"


@pytest.mark.parametrize(("kind", "model"), [("task_spec", TaskSpec), ("recipe", Recipe)])
def test_a_schema_explains_every_key_and_refuses_others(kind, model):
    schema = json_schema(kind)
    assert schema["title"] == f"cxr-instruct {kind.replace('_', ' ')}"
    assert set(schema["properties"]) == set(model.model_fields)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        for name, key in part["properties"].items():
            assert key.get("description") or "$ref" in key or name in ("tasks", "images"), name


@pytest.mark.parametrize("file", sorted((REPOSITORY / "task_specs").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_specs_name_the_schema_for_editors(file):
    first = file.read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../docs/schemas/task_spec.schema.json"
