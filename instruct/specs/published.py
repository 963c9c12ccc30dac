"""What is known of each published dataset beyond its tasks: terms, de-identification, labels, people, citations.

The facts stand in the ``about`` of a spec, ``data/agreements.yaml`` and ``data/citations.bib``, once for the card and
for the terms guard.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, RootModel

from instruct.errors import SpecError
from instruct.model import StrictModel
from instruct.specs.task_spec import About, load_task_specs
from instruct.specs.yaml_file import load_yaml

Permission = Literal["allowed", "forbidden", "unknown"]

_DATA = Path(__file__).parent / "data"


class Agreement(StrictModel):
    """The terms of one dataset or several.

    Attributes:
        share: may rows, texts or images, or anything made from them, be given to others?
        services: may they be sent to a service that somebody else runs?
        clause: what the terms say, in our words.
        link: public page of the terms.
        hub: the licence's identifier on the Hugging Face Hub; empty where it has none.
    """

    share: Permission
    services: Permission
    clause: str = Field(min_length=1)
    link: str = Field(pattern="^https://")
    hub: str = ""


class _Agreements(RootModel[dict[str, Agreement]]):
    """Terms by name."""


@cache
def _agreements() -> dict[str, Agreement]:
    return load_yaml(_DATA / "agreements.yaml").validate(_Agreements).root


@cache
def published_datasets() -> dict[str, About]:
    """What the shipped specs say of the datasets, by the name of the source.

    Raises:
        SpecError: a spec names terms that are not in ``data/agreements.yaml``.
    """
    found: dict[str, About] = {}
    for entry in load_task_specs():
        about = entry.spec.about
        if about is not None:
            if about.agreement not in _agreements():
                place = entry.file.place(("about", "agreement"))
                raise SpecError(f"{place}: no terms are called {about.agreement!r}: {', '.join(_agreements())}")
            found[entry.spec.source] = about
    return found


def agreement_of(source: str) -> Agreement | None:
    """Terms of a source; None of one that this package does not know."""
    known = published_datasets().get(source)
    return _agreements()[known.agreement] if known else None


@cache
def citations() -> dict[str, str]:
    """BibTeX entries by key."""
    entries = re.split(r"\n(?=@)", (_DATA / "citations.bib").read_text("utf-8"))
    return {entry.partition("{")[2].partition(",")[0]: entry.strip() for entry in entries}
