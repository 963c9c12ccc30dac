"""The parts of a card that come from the build: rows, splits, images, defects, what was left out, how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from instruct.digest import digest_json
from instruct.reasons import EXPLANATIONS, Reason
from instruct.reports.count_table import COLUMNS, column_key, column_title, defects, published
from instruct.reports.markdown import Markdown, Table, bullets, code, escape, visible
from instruct.specs.task_spec import SPLITS, load_task_specs

_COLUMNS = Table(
    "Columns",
    ["column", "content"],
    [
        ["id, task, dataset", "identifier within the row, names of the row"],
        ["images", "list of images, in the order of their placeholders"],
        ["messages", "role and content of each turn, as chat templates take them"],
        ["conversations", "the same as from and value, with an <image> mark for each image"],
        ["regions", "boxes as shares of their image, masks as COCO run lengths"],
        ["options, answers", "choices in the order shown, right ones"],
        ["keys", "record, patient, studies and images, each with the source it belongs to"],
        ["provenance", "published file and row, template and its digest, variant, digest of the task's spec"],
    ],
)
_IMAGE_SETTINGS = {
    "missing": "an image that is not on disk",
    "check": "how images were looked at",
    "paths": "paths",
    "store": "how rows hold images",
    "fit": "side that has the size",
    "size": "pixels of that side",
    "encoding": "encoding",
}


def build_parts(manifest: Mapping[str, Any], prompts: Mapping[str, str]) -> dict[str, Markdown]:
    """Columns, rows, splits, image processing, defects, records left out, and how to make the build again.

    Args:
        manifest: the build's manifest.
        prompts: configuration to a worded example; a row without one says so.
    """
    return {
        "columns": _COLUMNS.markdown(),
        "rows": Markdown("\n\n".join(_row(task, prompts) for task in manifest["tasks"])),
        "splits": _splits(manifest),
        "images": _images(manifest),
        "defects": _defects(manifest),
        "left_out": _left_out(manifest),
        "reproduce": _reproduce(manifest),
    }


def _row(task: Mapping[str, Any], prompts: Mapping[str, str]) -> str:
    lines = [f"### {escape(task['name'])}", ""]
    if task.get("absent"):
        return "\n".join([*lines, f"Not built; not on disk: {escape(', '.join(task['absent']))}."])
    facts = [f"Configuration `{task['config']}`"]
    if task.get("template"):
        facts.append(f"template `{task['template']}`")
    numbers = [f"{split} {task['splits'][split]['records']:,}" for split in SPLITS if split in task["splits"]]
    lines.append(
        f"{', '.join(facts)}. Records: {', '.join(numbers) or 'none'}. {escape(task.get('rule', ''))}".rstrip()
    )
    if task["config"] in prompts:
        lines += ["", code(prompts[task["config"]], "text")]
    return "\n".join(lines)


def _splits(manifest: Mapping[str, Any]) -> Markdown:
    text = (
        "Splits are those of the sources where they have one; where they have none, or a row says otherwise, a hash of"
        " an id decides, the same on every machine. Each row's rule stands above. In tables `val` is `validation`."
    )
    upstream = [
        f"{name} reuses {', '.join(facts['upstream'])}"
        for name, facts in manifest["sources"].items()
        if facts["upstream"] and any(task["source"] == name and task["splits"] for task in manifest["tasks"])
    ]
    return Markdown(text + (f"\n\nSources that share images or reports:\n\n{bullets(upstream)}" if upstream else ""))


def _images(manifest: Mapping[str, Any]) -> Markdown:
    settings = dict(manifest["recipe"]["images"])
    stored = manifest.get("images")
    if stored is None:
        text = "Images are the published files, unchanged; rows refer to them by path."
        settings = {name: settings[name] for name in ("missing", "check", "paths")}
    else:
        text = (
            "Images were decoded, brought to 8 bits of grey, resized and encoded anew, with these settings; nothing is"
            " enlarged. Boxes and masks are shares of what is shown."
        )
        settings |= stored["policy"] | {f"version of {name}": version for name, version in stored["backend"].items()}
        for name, held in stored["sources"].items():
            bad = ", ".join(f"{number:,} {reason}" for reason, number in held["bad"].items())
            settings[f"images of {name}"] = f"{held['images']:,} stored" + (f"; left out: {bad}" if bad else "")
    rows = [
        [_IMAGE_SETTINGS.get(name, name), value if isinstance(value, str) else json.dumps(value)]
        for name, value in settings.items()
    ]
    missing = sum(task.get("missing_images") or 0 for task in manifest["tasks"])
    note = f"{missing:,} references are to images that were not on disk, row by row." if missing else ""
    return Markdown(f"{text}\n\n{Table('Images', ['setting', 'value'], rows, note).markdown()}")


def _defects(manifest: Mapping[str, Any]) -> Markdown:
    parts = []
    differs = [
        Markdown(f"**{escape(task['name'])}**: {escape(task['differs'])}")
        for task in manifest["tasks"]
        if task.get("differs") and task["splits"]
    ]
    if differs:
        parts += ["Where rows differ from the published ones of the same name:", bullets(differs)]
    titles = {column_key(*column): column_title(*column) for column in COLUMNS}
    keys = list(titles)
    built = {task["name"] for task in manifest["tasks"] if task["splits"]}
    wrong: dict[tuple[str, str], list[str]] = {}
    for (row, key), why in defects().items():
        if row in built:
            wrong.setdefault((row, why), []).append(f"{titles[key]} {published()[row][keys.index(key)]:,}")
    if wrong:
        found = [
            Markdown(f"**{escape(row)}**: {escape(', '.join(figures))}: {escape(why)}")
            for (row, why), figures in wrong.items()
        ]
        parts += ["Figures of the published count table that are not right, so that ours differ:", bullets(found)]
    differing = [beside for task in manifest["tasks"] if (beside := _beside_full_release(task))]
    if differing:
        table = Table(
            "", ["row", *SPLITS], differing, "Records here, of those that the publisher's full release gives."
        )
        parts += ["Rows that are not those of the publisher's full release:", table.markdown()]
    return Markdown("\n\n".join(parts) or "None known beside the noise of labels told above.")


def _beside_full_release(task: Mapping[str, Any]) -> list[str]:
    """A row's records beside those of the full release; empty where they are the same, or that is not known."""
    held = {split: task["splits"].get(split, {}).get("records", 0) for split in SPLITS}
    expected = task["expect"]
    if not task["splits"] or all(held[split] == number for split, number in expected.items()):
        return []
    return [task["name"], *(f"{held[split]:,} of {expected[split]:,}" if split in expected else "" for split in SPLITS)]


def _left_out(manifest: Mapping[str, Any]) -> Markdown:
    rows: list[list[object]] = []
    for task in manifest["tasks"]:
        rows += [[task["name"], number, reason, _explained(reason)] for reason, number in task.get("bad", {}).items()]
        rows += [
            [task["name"], number, f"{reason} (image)", "left out of a record that stays"]
            for reason, number in task.get("dropped_images", {}).items()
        ]
    if not rows:
        return Markdown("None.")
    note = "Each record is listed in `quarantine.jsonl` of the build."
    return Markdown(f"{Table('', ['row', 'number', 'reason', 'meaning'], rows).markdown()}\n\n{note}")


def _explained(reason: str) -> str:
    return EXPLANATIONS[Reason(reason)] if reason in set(Reason) else ""


def _reproduce(manifest: Mapping[str, Any]) -> Markdown:
    built = [task for task in manifest["tasks"] if task.get("facts")]
    inputs = _by_source({file: digest for task in built for file, digest in task["facts"]["inputs"].items()})
    templates = dict(
        sorted({file: digest for task in built for file, digest in task["facts"]["template_files"].items()}.items())
    )
    shards = sum(len(split["shards"]) for task in built for split in task["splits"].values())
    shipped = {entry.config for entry in load_task_specs()}
    own = [escape(task["name"]) for task in built if task["config"] not in shipped]
    specs = f" --specs SPECS`, with the folder of the specs and templates of {', '.join(own)}" if own else "`"
    recipe = code(json.dumps(manifest["recipe"], indent=1, sort_keys=True, ensure_ascii=False), "json")
    steps = [
        f"cxr-instruct {escape(manifest['version'])} with this recipe as a file (YAML reads JSON):\n\n{recipe}",
        "and the same input files and templates give the same bytes: `cxr-instruct build recipe.yaml --data-root DATA"
        f" --out OUT{specs}. `manifest.json` has the SHA-256 of each of the {shards:,} shards;"
        " `cxr-instruct verify OUT` checks them.",
    ]
    for title, digests in (("Input files", inputs), ("Templates", templates)):
        if digests:
            steps.append(_digests(title, digests))
    return Markdown("\n\n".join(steps))


# A source of more files, such as one for each report, gets one digest for all.
_LISTED = 12


def _by_source(inputs: Mapping[str, str]) -> dict[str, str]:
    """Input files and their digests; those of a source with many files together."""
    sources: dict[str, dict[str, str]] = {}
    for name, digest in sorted(inputs.items()):
        sources.setdefault(name.partition("/")[0], {})[name] = digest
    shown: dict[str, str] = {}
    for source, files in sources.items():
        whole = {f"{source}: {len(files):,} files, digest of their names and digests": digest_json(files)}
        shown |= files if len(files) <= _LISTED else whole
    return shown


def _digests(title: str, digests: Mapping[str, str]) -> str:
    lines = "\n".join(f"{digest}  {visible(file)}" for file, digest in digests.items())
    return f"{title} (SHA-256):\n\n{code(lines, 'text')}"
