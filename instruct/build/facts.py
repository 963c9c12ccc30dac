"""Facts: what decides a task's shards, and which of it changed since the last build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instruct.build.job import code_digest
from instruct.build.tables import SourceTables
from instruct.digest import digest_json, digest_package
from instruct.prompts.template import CompiledTemplate
from instruct.sources import get_source
from instruct.specs.recipe import Recipe
from instruct.specs.task_spec import TaskEntry


def dialect_of(template: CompiledTemplate, recipe: Recipe) -> str:
    """The dialect a template is rendered in: the recipe's, or the default where it prints no regions."""
    return recipe.dialect if "regions" in template.columns else str(Recipe.model_fields["dialect"].default)


def task_facts(entry: TaskEntry, sources: SourceTables, template: CompiledTemplate, recipe: Recipe) -> dict[str, Any]:
    """Everything that decides a task's shards, by name; the manifest keeps it, and a plan compares with it."""
    names = [entry.spec.source, *entry.spec.reads]
    spec = {
        "task": entry.task.task,
        "dataset": entry.spec.dataset,
        "namespace": entry.namespace,
        "records": entry.task.records,
        "template": entry.task.template,
    }
    return {
        "inputs": {f"{name}/{file}": digest for name in names for file, digest in sources.get(name)[1].items()},
        "reader": digest_json([digest_package(get_source(name).read.__module__) for name in names]),
        "options": {
            f"{name}.{option}": value
            for name in names
            for option, value in sources.options(name).model_dump(mode="json").items()
        },
        "spec": digest_json(spec),
        "template_files": {name: digest_json(text) for name, text in template.source.texts},
        "settings": {
            "seed": recipe.seed,
            "variants": recipe.variants,
            "images": recipe.images.model_dump(mode="json"),
            "dialect": dialect_of(template, recipe),
            "mentions_change": recipe.mentions_change,
            "shard_rows": recipe.shard_rows,
        },
        "code": code_digest(),
    }


def changes(before: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> list[str]:
    """Why a task's shards are not those of the last build."""
    if before is None or before["facts"] is None:
        return ["not built yet"]
    old = before["facts"]
    reasons = []
    for kind, label in (("inputs", "input file"), ("template_files", "template file")):
        names = sorted(name for name in {*old[kind], *facts[kind]} if old[kind].get(name) != facts[kind].get(name))
        reasons += [f"{label} {name} changed" for name in names]
    for kind, label in (("options", "option"), ("settings", "setting")):
        names = sorted(name for name in {*old[kind], *facts[kind]} if old[kind].get(name) != facts[kind].get(name))
        reasons += [f"{label} {name} changed" for name in names]
    for kind, reason in (
        ("spec", "the task changed in its spec"),
        ("reader", "the reader changed"),
        ("code", "the rendering code or its libraries changed"),
        ("moved", "the records that the recipe's splits and leave_out change are others"),
    ):
        if old.get(kind) != facts.get(kind):
            reasons.append(reason)
    return reasons or ["shards are missing or damaged, or images on disk changed"]
