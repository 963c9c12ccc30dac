"""The parts of a card that come from what is known of the sources: terms, labels, people, citations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from instruct.errors import UsageError
from instruct.reports.markdown import Markdown, Table, bullets, code, escape
from instruct.sources import get_source
from instruct.specs.published import agreement_of, citations, published_datasets
from instruct.specs.task_spec import load_task_specs
from instruct.specs.terms import ACCESS, sources_of

_ACCESS = {
    "credentialed": "Only for credentialed users who have signed the data use agreements",
    "gated": "Only for people to whom the owners have granted access",
    "registration": "Only for people who have registered with the owners",
    "open": "Open to everybody, each source under its licence",
}
# The table of CheXinstruct, whose shape and rows the count table follows.
_TABLE_CITATION = "chen2024chexagent"


def terms_parts(manifest: Mapping[str, Any]) -> dict[str, Markdown]:
    """The strictest terms in a sentence, the terms of each source, and the clauses."""
    sources = _strictest_first(manifest)
    told = _told(manifest)
    rows = []
    clauses: dict[str, list[str]] = {}
    for name in sources:
        terms = agreement_of(name)
        facts = told.get(name, {})
        rows.append(
            [
                _title(name),
                facts.get("access", "unknown"),
                facts.get("licence", "see its owners"),
                terms.share if terms else "unknown",
                terms.services if terms else "unknown",
            ]
        )
        clause = (
            f"{terms.clause}. {terms.link}" if terms else "its terms are not known to cxr-instruct; ask its owners."
        )
        clauses.setdefault(clause, []).append(f"**{escape(_title(name))}**")
    strictest = told.get(sources[0], {}).get("access", "unknown") if sources else "open"
    closed = [name for name in sources if (terms := agreement_of(name)) is None or terms.share != "allowed"]
    sentence = (
        f"**{_ACCESS.get(strictest, 'Of unknown access')}.** The strictest terms among the sources bind the whole."
    )
    if closed:
        names = ", ".join(escape(_title(name)) for name in closed)
        sentence += f" Not to be given to others, by the terms of: {names}."
    table = Table(
        "Terms",
        ["source", "access", "licence", "may be given to others", "may be sent to services"],
        rows,
        "With the sources whose images or reports these reuse. Unknown counts as no.",
    )
    return {
        "strictest": Markdown(sentence),
        "terms": table.markdown(),
        "terms_notes": Markdown(
            "\n".join(f"- {', '.join(names)}: {_linked(clause)}" for clause, names in clauses.items())
        ),
    }


def source_parts(manifest: Mapping[str, Any]) -> dict[str, Markdown]:
    """What is known of each source's labels, de-identification and people; and the citations."""
    known = published_datasets()
    sources = sources_of(manifest)

    def listed(attribute: str) -> Markdown:
        return bullets(
            Markdown(
                f"**{escape(_title(name))}**: "
                + escape(getattr(known[name], attribute) if name in known else "not told; ask its owners.")
            )
            for name in sources
        )

    return {
        "labels": listed("labels"),
        "deidentification": listed("deidentification"),
        "people": listed("people"),
        "citation": code(bibliography(manifest), "bibtex"),
    }


def bibliography(manifest: Mapping[str, Any]) -> str:
    """BibTeX of every source of a build, of those that these reuse, and of the published count table."""
    known = published_datasets()
    keys = {key for name in sources_of(manifest) if name in known for key in known[name].citations}
    return "\n\n".join(citations()[key] for key in sorted(keys | {_TABLE_CITATION}))


def _told(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Access and licence of the sources: of the build's own as its manifest says, of others as their spec does."""
    shipped = {entry.spec.source: entry.spec for entry in load_task_specs()}
    others = {name: {"access": spec.access, "licence": spec.licence} for name, spec in shipped.items()}
    return {**others, **manifest["sources"]}


def _strictest_first(manifest: Mapping[str, Any]) -> Sequence[str]:
    told = _told(manifest)

    def place(name: str) -> tuple[int, str]:
        access = told.get(name, {}).get("access")
        return (-ACCESS.index(access) if access in ACCESS else -len(ACCESS), name)

    return sorted(sources_of(manifest), key=place)


def _linked(text: str) -> Markdown:
    """A clause of this package's own, whose link may be one."""
    before, mark, link = text.rpartition("https://")
    return Markdown(f"{escape(before)} <{mark}{link}>" if mark else escape(text))


def _title(name: str) -> str:
    try:
        return get_source(name).title
    except UsageError:
        return name
