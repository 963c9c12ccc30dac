"""The YAML head of a dataset card, as the Hugging Face Hub and ``datasets`` read it.

Fields: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md. ``datasets`` holds a split to the number of
examples told here, so each is the exact one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from instruct.build.output import SPLIT_NAMES
from instruct.build.schema import features
from instruct.reports.markdown import visible
from instruct.specs.published import Agreement, agreement_of
from instruct.specs.terms import sources_of

# Hub category of each task of the published table; every row is also image-text-to-text or text-generation.
_CATEGORIES = {
    "Abnormality Detection": "object-detection",
    "Abnormality Grounding": "object-detection",
    "Close-Ended VQA": "visual-question-answering",
    "Difference VQA": "visual-question-answering",
    "Findings Summarization": "summarization",
    "Foreign Object Detection": "object-detection",
    "Grounded Captioning": "image-to-text",
    "Image Classification": "image-classification",
    "Named Entity Recognition": "token-classification",
    "Natural Language Inference": "text-classification",
    "Open-Ended VQA": "visual-question-answering",
    "Phrase Grounding": "object-detection",
    "Pneumothorax Segmentation": "image-segmentation",
    "Temporal Image Classification": "image-classification",
    "Temporal Sentence Similarity": "text-classification",
    "Text QA": "question-answering",
    "View Classification": "image-classification",
}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_LARGEST = "10M<n<100M"

_PROMPT = (
    "These data are built from clinical chest X-ray datasets. Each has terms of its own, which bind whoever uses these "
    "data: see the card. They are for research, not for the care of patients, and nobody may try to find out who a "
    "patient is."
)


def front_matter(manifest: Mapping[str, Any]) -> str:
    """The card's YAML, without the lines around it."""
    sources = sources_of(manifest)
    terms = [agreement_of(name) for name in sources]
    closed = [name for name, one in zip(sources, terms, strict=True) if one is None or one.share != "allowed"]
    head: dict[str, Any] = {
        "pretty_name": visible(manifest["name"]),
        "language": ["en"],
        **_licence(terms),
        "tags": ["medical", "radiology", "chest-x-ray", "instruction-tuning"],
        "task_categories": _task_categories(manifest),
        "size_categories": [_size(_examples(manifest["tasks"]))],
        "configs": manifest["configs"],
        "dataset_info": dataset_info(manifest),
    }
    if closed:
        head["extra_gated_prompt"] = _PROMPT
        head["extra_gated_fields"] = {"Name": "text", "Affiliation": "text", "Purpose": "text"} | {
            f"I have been granted access to {visible(name)} by its owners": "checkbox" for name in closed
        }
    return yaml.dump(head, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes the features, which every configuration shares, once."""

    def generate_anchor(self, node: yaml.Node) -> str:
        self.last_anchor_id += 1
        return "features" if self.last_anchor_id == 1 else f"features_{self.last_anchor_id}"


def dataset_info(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per configuration: its columns, and the exact bytes and examples of its splits.

    The configurations are those of ``configs``, all of them: with a part, ``datasets`` would take the first for the
    default one.
    """
    columns = yaml_features(features())
    held = {task["config"]: task["splits"] for task in manifest["tasks"] if task["splits"]}
    infos = []
    for config in manifest["configs"]:
        name = config["config_name"]
        parts = list(held.values()) if name == "all" else [held[name]]
        splits = []
        for split, label in SPLIT_NAMES.items():
            shards = [shard for part in parts for shard in part.get(split, {}).get("shards", ())]
            if shards:
                size = sum(shard["bytes"] for shard in shards)
                examples = sum(shard["examples"] for shard in shards)
                splits.append({"name": label, "num_bytes": size, "num_examples": examples})
        total = sum(split["num_bytes"] for split in splits)
        infos.append(
            {
                "config_name": name,
                "features": columns,
                "splits": splits,
                "download_size": total,
                "dataset_size": total,
            }
        )
    return infos


def yaml_features(held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features of ``datasets`` in the notation of a card: a list of names with ``dtype``, ``list`` or ``struct``."""
    return [{"name": name, **_yaml_feature(feature)} for name, feature in held.items()]


def _yaml_feature(feature: Any) -> dict[str, Any]:
    if isinstance(feature, list):
        inner = _yaml_feature(feature[0])
        return {"list": inner.get("dtype") or inner.get("struct") or [inner]}
    if "_type" not in feature:
        return {"struct": yaml_features(feature)}
    return {"dtype": "image" if feature["_type"] == "Image" else feature["dtype"]}


def _licence(terms: Sequence[Agreement | None]) -> dict[str, str]:
    names = {one.hub if one is not None else "" for one in terms}
    if len(names) == 1 and (name := names.pop()):
        return {"license": name}
    closed = [one for one in terms if one is not None and one.share != "allowed"]
    links = [one.link for one in (closed or terms) if one is not None]
    return {"license": "other", "license_name": "terms-of-each-source"} | ({"license_link": links[0]} if links else {})


def _task_categories(manifest: Mapping[str, Any]) -> list[str]:
    held = [task for task in manifest["tasks"] if task["splits"]]
    found = {_CATEGORIES.get(task["task"], "image-text-to-text") for task in held}
    return sorted(found | {"image-text-to-text"}) if held else ["image-text-to-text"]


def _examples(tasks: Iterable[Mapping[str, Any]]) -> int:
    shards = [shard for task in tasks for split in task["splits"].values() for shard in split["shards"]]
    return sum(shard["examples"] for shard in shards)


def _size(examples: int) -> str:
    return next((name for bound, name in _SIZES if examples < bound), _LARGEST)
