"""What is known of each published dataset beside its spec: terms, de-identification, labels, people, citations.

The facts stand in ``data/datasets.yaml`` and ``data/citations.bib``, once for the card and for the terms guard.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from instruct.model import StrictModel
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


class Published(StrictModel):
    """A published dataset.

    Attributes:
        agreement: name of its terms.
        deidentification: what was done to protect the patients.
        labels: where texts and labels come from.
        people: who the patients are, and what of that is given.
        citations: keys of its entries in ``citations.bib``.
    """

    agreement: str
    deidentification: str = Field(min_length=1)
    labels: str = Field(min_length=1)
    people: str = Field(min_length=1)
    citations: list[str] = Field(min_length=1)


class _File(StrictModel):
    agreements: dict[str, Agreement]
    datasets: dict[str, Published]


@cache
def _file() -> _File:
    return load_yaml(_DATA / "datasets.yaml").validate(_File)


def published_datasets() -> dict[str, Published]:
    """The known datasets, by the name of their source."""
    return _file().datasets


def agreement_of(source: str) -> Agreement | None:
    """Terms of a source; None of one that this package does not know."""
    known = _file().datasets.get(source)
    return _file().agreements[known.agreement] if known else None


@cache
def citations() -> dict[str, str]:
    """BibTeX entries by key."""
    entries = re.split(r"\n(?=@)", (_DATA / "citations.bib").read_text("utf-8"))
    return {entry.partition("{")[2].partition(",")[0]: entry.strip() for entry in entries}
