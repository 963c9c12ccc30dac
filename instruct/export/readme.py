"""The README of an export: for the Hub its head and terms, for a trainer the lines that make it read the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import instruct
from instruct.build.output import SPLIT_NAMES
from instruct.export.groups import Group
from instruct.export.trainers import Tally
from instruct.reports.card_facts import terms_parts
from instruct.reports.hub import front_matter
from instruct.reports.markdown import Markdown, Table, bullets, code, escape

_KEYS_ONLY = (
    "Rows hold no images, but their keys, `source/path`: with the source's own files, which each user gets from its"
    " owners, a key's image lies at that path below the folder of the source."
)
_EMBEDDED = "Rows hold their images, which `datasets` opens; `path` is the image's key, `source/path`."
_AXOLOTL = """\
datasets:
  - path: {path}
    ds_type: json
    type: chat_template
processor_type: AutoProcessor
skip_prepare_dataset: true
remove_unused_columns: false
sample_packing: false"""


def hub_readme(
    manifest: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Sequence[str]]],
    embedded: bool,
    tallies: Mapping[Group, Tally],
    permissions: Mapping[str, str],
) -> str:
    """The dataset card of a Parquet export.

    Args:
        manifest: the build's manifest, narrowed to what is exported.
        files: configuration to split to files.
        embedded: whether rows hold their images.
        tallies: what became of the examples.
        permissions: source to the reason why its images are exported although its terms say no.
    """
    configs = _configs(files)
    head = yaml.safe_load(front_matter(dict(manifest) | {"configs": configs}))
    del head["dataset_info"]  # the files tell their columns themselves
    terms = terms_parts(manifest)
    granted = bullets(Markdown(f"**{escape(name)}**: {escape(reason)}") for name, reason in permissions.items())
    first = configs[1]["config_name"]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=110)}---",
        f"# {escape(manifest['name'])}",
        f"Instruction data for chest X-rays, built and exported by cxr-instruct {escape(manifest['version'])}."
        " **Not for clinical use.**",
        f"## Access terms\n\n{terms['strictest']}\n\n{terms['terms']}\n\n{terms['terms_notes']}",
        f"Exported by permission, as whoever exported it states:\n\n{granted}" if permissions else "",
        "## Opening it\n\n"
        + code(f'from datasets import load_dataset\n\none = load_dataset("path/to/this/folder", "{first}")', "python"),
        _EMBEDDED if embedded else _KEYS_ONLY,
        f"## Examples\n\n{counts(tallies).markdown()}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _configs(files: Mapping[str, Mapping[str, Sequence[str]]]) -> list[dict[str, Any]]:
    """One configuration for each row, and ``all``, which is the default."""
    own = [
        {
            "config_name": config,
            "data_files": [
                {"split": SPLIT_NAMES[split], "path": f"{config}/{SPLIT_NAMES[split]}-*.parquet"} for split in splits
            ],
        }
        for config, splits in sorted(files.items())
    ]
    held = [split for split in SPLIT_NAMES if any(split in splits for splits in files.values())]
    everything = [{"split": SPLIT_NAMES[split], "path": f"*/{SPLIT_NAMES[split]}-*.parquet"} for split in held]
    return [{"config_name": "all", "default": True, "data_files": everything}, *own]


def trainer_readme(
    manifest: Mapping[str, Any],
    to: str,
    form: str | None,
    folder: Path,
    files: Sequence[str],
    tallies: Mapping[Group, Tally],
) -> str:
    """How a trainer reads an export.

    Args:
        manifest: the build's manifest.
        to: the trainer.
        form: LLaMA-Factory's form.
        folder: the export.
        files: its files.
        tallies: what became of the examples.
    """
    train = [group for group in tallies if group.split == "train"] or list(tallies)
    split = train[0].split_name
    names = ",".join(f"{group.config}_{group.split_name}" for group in train)
    told = {
        "llava": f"--data_path {folder}/{split}.json --image_folder {folder}",
        "llamafactory": f"dataset_dir: {folder}\nmedia_dir: {folder}\ndataset: {names}",
        "ms-swift": f"swift sft --dataset {folder}/{split}/*.jsonl ...",
        "axolotl": _AXOLOTL.format(path=f"{folder}/{split}.jsonl"),
    }[to]
    which = f"{to} ({form})" if form else to
    return (
        "\n\n".join(
            [
                f"# {escape(manifest['name'])} for {which}",
                f"Exported by cxr-instruct {instruct.__version__}. The terms of each source bind these files as"
                " they bind the build; `cxr-instruct card` writes them out.",
                code(told),
                counts(tallies).markdown(),
            ]
        )
        + "\n"
    )


def counts(tallies: Mapping[Group, Tally]) -> Table:
    """What became of the examples, as a table."""
    rows = [
        [group.name, group.split, group.examples, tally.exported, ", ".join(_reasons(tally))]
        for group, tally in tallies.items()
    ]
    return Table("Examples", ["row", "split", "examples", "exported", "left out"], rows)


def _reasons(tally: Tally) -> list[str]:
    return [f"{number:,} {name}" for name, number in sorted(tally.left_out.items())]
