"""The preview as one HTML file: no network, nothing to install, scripts and styles by digest only."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import instruct
from instruct.build.files import write_text
from instruct.build.verify import read_manifest
from instruct.reports.preview.entries import entry_of
from instruct.reports.preview.pictures import NotShown, Picture, Pictures
from instruct.reports.preview.rows import Group, groups_of, read_example
from instruct.reports.preview.sampling import sample
from instruct.reports.preview.terms import shown_terms
from instruct.specs.terms import check_terms

_SCRIPTS = ("text.js", "pages.js", "figures.js", "page.js")
_THREADS = 4


@dataclass(frozen=True)
class Preview:
    """What a preview holds.

    Attributes:
        file: the file.
        examples: examples in it.
        of: examples it was chosen from.
        images: different images in it.
        not_shown: images that are not, by reason.
        access: the strictest access term of its sources.
        bytes: size of the file.
    """

    file: Path
    examples: int
    of: int
    images: int
    not_shown: dict[str, int]
    access: str
    bytes: int


def write_preview(
    folder: Path,
    out: Path,
    *,
    size: int = 200,
    seed: int = 0,
    pixels: int = 640,
    task: str | None = None,
    split: str | None = None,
    share: bool = False,
    permissions: Mapping[str, str] | None = None,
) -> Preview:
    """Write a sample of a dataset folder as one HTML file.

    Args:
        folder: the dataset folder.
        out: the file to write; it appears whole or not at all.
        size: number of examples; see :func:`~instruct.reports.preview.sampling.sample`.
        seed: key of the choice.
        pixels: longer side of the pictures; smaller images keep their size.
        task: ``[Task] [Dataset]`` or a configuration; None takes every task.
        split: train, val or test; None takes every split.
        share: whether the file is to be given to others. It is refused where a source's terms forbid that, and tells
            nothing of this machine's folders.
        permissions: with ``share``: source to the written reason why it may be shown although its terms say no.

    Raises:
        UsageError: the folder holds no finished build, no example of what was asked for, or a permission is for a
            source that needs none.
        DataError: a shard is missing or damaged, or the file cannot be written.
        TermsError: it is to be shared, and the terms of a source forbid that.
    """
    manifest = read_manifest(folder)
    groups = groups_of(folder, manifest, task, split)
    chosen = [read_example(groups, place) for place in sample(groups, size, seed)]
    terms = shown_terms(manifest, {group.source for group, _ in chosen}, permissions)
    if share:
        check_terms("preview", terms["reached"], permissions or {}, "--permission SOURCE=REASON")
    entries = [entry_of(group, example, manifest["recipe"]["dialect"], share) for group, example in chosen]
    pictures = _add_pictures(entries, [example for _, example in chosen], Pictures(folder, manifest, pixels))
    not_shown = Counter(picture.reason for picture in pictures if isinstance(picture, NotShown))
    total = groups[-1].first + groups[-1].examples
    data = {
        "name": manifest["name"],
        "version": instruct.__version__,
        "terms": terms,
        "total": total,
        "groups": group_list(_held(chosen)),
        "entries": entries,
        "pictures": [picture.entry() for picture in pictures],
    }
    text = page(data)
    write_text(out, text)
    return Preview(
        file=out,
        examples=len(entries),
        of=total,
        images=len(pictures) - not_shown.total(),
        not_shown=dict(not_shown),
        access=terms["access"],
        bytes=len(text.encode()),
    )


def group_list(counts: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    """Examples of every task, dataset and split, as the page's filters take them."""
    return [
        {"task": task, "dataset": dataset, "split": split, "examples": number}
        for (task, dataset, split), number in counts.items()
    ]


def page(data: Mapping[str, Any], connect: str = "'none'") -> str:
    """The page with its data in it.

    Args:
        data: what the page shows; plain data.
        connect: whom its script may ask for more, as a source of a content security policy.
    """
    parts = _parts()
    # "<" can end the element that holds the data, and nothing else in JSON can.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; img-src data:; connect-src {connect}; style-src {_source(parts['style'])}; "
        f"script-src {_source(parts['script'])}; base-uri 'none'; form-action 'none'"
    )
    terms = data["terms"]
    slots = {
        "name": data["name"],
        "policy": policy,
        "access": terms["access"],
        "meaning": terms["meaning"],
        "version": data["version"],
    }
    filled = parts["page"]
    for slot, value in slots.items():
        filled = filled.replace(f"@{slot}@", html.escape(str(value)))
    # Last, as they are: what they hold must not be taken for a slot.
    head, style, rest = filled.partition("@style@")
    middle, script, tail = rest.partition("@script@")
    before, slot, after = middle.partition("@data@")
    assert style and script and slot
    return "".join([head, parts["style"], before, text, after, parts["script"], tail])


@cache
def _parts() -> dict[str, str]:
    here = files("instruct.reports.preview")
    script = "\n".join(here.joinpath(name).read_text("utf-8") for name in _SCRIPTS)
    return {
        "page": here.joinpath("page.html").read_text("utf-8"),
        "style": here.joinpath("page.css").read_text("utf-8"),
        "script": f'"use strict";\n(() => {{\n{script}\n}})();\n',
    }


def _source(text: str) -> str:
    """An inline script or style in a content security policy: by its digest."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _held(chosen: list[tuple[Group, dict[str, Any]]]) -> Counter[tuple[str, str, str]]:
    return Counter((group.task, group.dataset, group.split) for group, _ in chosen)


def _add_pictures(
    entries: list[dict[str, Any]], examples: list[dict[str, Any]], pictures: Pictures
) -> list[Picture | NotShown]:
    """The pictures of examples, each once; entries get their numbers."""
    images = {
        key: image
        for example in examples
        for key, image in zip(example["keys"]["images"], example["images"], strict=True)
    }
    number = {key: index for index, key in enumerate(images)}
    for entry, example in zip(entries, examples, strict=True):
        entry["pictures"] = [number[key] for key in example["keys"]["images"]]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(pictures.read, images.values(), images))
