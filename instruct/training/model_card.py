"""The card of an adapter: what it was trained on, how, and what it scores."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from instruct.build.files import read_json, write_text
from instruct.mixture.index import MixtureIndex
from instruct.mixture.plan import RunPlan
from instruct.specs.terms import refusals, with_upstream
from instruct.training.log import read_log

FILE = "README.md"


def write_card(run: Path) -> Path:
    """Write the card of a run, and the same beside its adapter, from what the run has recorded.

    Args:
        run: folder of a run with ``recipe.yaml``, ``run.json``, ``plan.json`` and ``log.jsonl``.
    """
    recipe = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    card = "\n".join([_head(recipe), *_body(run, recipe), ""])
    write_text(run / FILE, card)
    if (run / "adapter").is_dir():
        write_text(run / "adapter" / FILE, card)
    return run / FILE


def _head(recipe: dict[str, Any]) -> str:
    model = recipe["model"]["id"]
    facts = {
        "library_name": "peft",
        "pipeline_tag": "image-text-to-text",
        "tags": ["lora", "chest-x-ray", "radiology"],
        **({} if Path(model).is_dir() else {"base_model": model}),
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n"


def _body(run: Path, recipe: dict[str, Any]) -> list[str]:
    record, model = read_json(run / "run.json"), recipe["model"]
    revision = f" at {model['revision']}" if model["revision"] else ""
    share = record["trained_parameters"] / record["parameters"]
    return [
        f"# {recipe['name']}",
        "",
        f"A LoRA adapter for {model['id']}{revision}: {record['trained_parameters']:,} parameters"
        f" ({100 * share:.2f} % of the model), in {len(record['adapter_layers'])} layers."
        " A research model. Not for clinical use.",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForImageTextToText",
        "",
        f'model = AutoModelForImageTextToText.from_pretrained("{model["id"]}")',
        'model = PeftModel.from_pretrained(model, "path/to/adapter")',
        "```",
        "",
        "## Data",
        "",
        *_data(run, record),
        "",
        "## Training",
        "",
        *_training(run, record),
        "",
        "![loss](loss.png)" if (run / "loss.png").is_file() else "",
        "",
        "## Scores",
        "",
        *_scores(run),
        "",
        "## Recipe",
        "",
        "```yaml",
        (run / "recipe.yaml").read_text("utf-8").rstrip(),
        "```",
    ]


def _data(run: Path, record: dict[str, Any]) -> list[str]:
    plan = RunPlan.load(run)
    rows = [row for row in plan.report() if row["draws"]]
    columns = list(rows[0]) if rows else []
    lines = _table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    if sources := record["sources"]:
        lines += ["", "Sources and their terms:", ""]
        lines += [
            f"- {name}: {facts['access']}; {facts['licence']}" if facts else f"- {name} (reused by another)"
            for name, facts in sources.items()
        ]
    if refused := refusals("publish", sources):
        lines += ["", "A model can repeat what it was trained on. Do not publish the adapter without a permission:", ""]
        lines += [f"- {refusal.source}: {refusal.clause}" for refusal in refused]
    if plan.excluded:
        counts = Counter(reason for _, _, reason in plan.excluded)
        left_out = ", ".join(f"{number:,} {reason}" for reason, number in sorted(counts.items()))
        lines += ["", f"Left out: {left_out}."]
    return lines


def drawn_sources(index: MixtureIndex) -> dict[str, dict[str, str]]:
    """Sources that a mixture draws from, and those whose images or reports these reuse: access and licence of each."""
    upstream: dict[str, list[str]] = {}
    facts: dict[str, dict[str, str]] = {}
    drawn = set()
    for part in index.parts:
        if not part.draws:
            continue
        manifest = read_json(part.folder / "manifest.json")
        drawn |= {task["source"] for task in manifest["tasks"] if task["config"] == part.config}
        for name, source in manifest["sources"].items():
            facts[name] = {"access": source["access"], "licence": source["licence"]}
            upstream[name] = source["upstream"]
    return {name: facts.get(name, {}) for name in with_upstream(drawn, upstream)}


def _training(run: Path, record: dict[str, Any]) -> list[str]:
    lines = []
    for session in record["sessions"]:
        start = f"resumed from {session['resumed_from']}" if session["resumed_from"] else "from the start"
        libraries = ", ".join(f"{name} {number}" for name, number in session["libraries"].items())
        lines.append(f"- {session['processes']} x {session['device']} ({session['distributed']}), {start}; {libraries}")
    if train := list(read_log(run, "train")):
        first, last = train[0], train[-1]
        lines.append(f"- loss {first['loss']:.4f} at step {first['step']}, {last['loss']:.4f} at step {last['step']}")
    return lines


def _scores(run: Path) -> list[str]:
    """Of the adapter as it is; after an early stop, that is not the last that was evaluated."""
    lines = []
    *_, end = read_log(run, "end")
    if last := end["evaluation"]:
        parts = last["parts"].items()
        lines += [f"Loss per supervised token on held-out examples, step {last['step']}:", ""]
        lines += _table(
            ["", "loss", "rows", "tokens"],
            [["All", f"{last['loss']:.4f}", str(last["rows"]), str(last["supervised_tokens"])]]
            + [
                [label, f"{part['loss']:.4f}", str(part["rows"]), str(part["supervised_tokens"])]
                for label, part in parts
            ],
        )
    for scores in [line for line in read_log(run, "scores") if line["step"] == end["step"]][-1:]:
        parts = scores["parts"]
        metrics = sorted({name for part in parts.values() for name in part["values"]})
        lines += ["", f"Generated answers, step {scores['step']}:", ""]
        lines += _table(
            ["", "n", *metrics],
            [
                [
                    label,
                    str(part["n"]),
                    *(
                        f"{part['values'][name]:.3f}" if part["values"].get(name) is not None else ""
                        for name in metrics
                    ),
                ]
                for label, part in parts.items()
            ],
        )
    return lines or ["None yet."]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{':--|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)
