"""JSON Schemas of the YAML files, so that editors complete and explain their keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from instruct.specs.recipe import Recipe
from instruct.specs.task_spec import TaskSpec

_MODELS: dict[str, type[BaseModel]] = {"task_spec": TaskSpec, "recipe": Recipe}


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of a file.

    Args:
        kind: ``task_spec`` or ``recipe``.
    """
    return schema_of(_MODELS[kind], kind)


def schema_of(model: type[BaseModel], kind: str) -> dict[str, Any]:
    """The schema of the files that a model describes.

    Args:
        model: the model.
        kind: what such a file is called, with underscores.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return schema | {"title": f"cxr-instruct {kind.replace('_', ' ')}"}
