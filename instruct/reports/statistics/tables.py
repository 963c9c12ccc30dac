"""Statistics as tables, for the terminal and the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from instruct.reports.markdown import Table, plain
from instruct.reports.statistics import published_rexgradient
from instruct.reports.statistics.readers import AGE_BANDS, SECTIONS

# Values of a distribution that a table lists.
_SHOWN = 12
_SEXES = {"M": "male", "F": "female", "unknown": "unknown"}


def statistics_tables(statistics: Mapping[str, Any]) -> list[Table]:
    """All tables of some statistics, empty ones left out."""
    tables = [
        _studies(statistics),
        _people(statistics),
        *_distributions(statistics),
        _sections(statistics),
        *_published(statistics),
        _targets(statistics),
        _labels(statistics),
    ]
    return [table for table in tables if table.rows]


def _splits(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, source in statistics["sources"].items():
        for split, held in source["splits"].items():
            yield name, split, held


def _studies(statistics: Mapping[str, Any]) -> Table:
    rows = []
    for name, split, held in _splits(statistics):
        listed, described = held.get("images_listed"), held.get("described")
        per_study = listed / described if listed is not None and described else None
        rows.append([name, split, held["studies"], held["patients"], held["images"], listed, per_study])
    notes = [f"{name}: {source['note']}." for name, source in statistics["sources"].items() if "note" in source]
    return Table(
        "Studies, patients and images",
        ["source", "split", "studies", "patients", "images shown", "images of these studies", "images per study"],
        rows,
        "Distinct keys in the shards, by the source they belong to. Images of these studies: as the source lists them,"
        " shown or not. " + " ".join(notes),
    )


def _people(statistics: Mapping[str, Any]) -> Table:
    rows = []
    for name, split, held in _splits(statistics):
        ages, sexes = held.get("ages"), held.get("sexes")
        if ages is None and sexes is None:
            continue
        rows.append([name, split, *_shares_of_ages(ages), *_shares_of_sexes(sexes)])
    return Table(
        "Age and sex",
        ["source", "split", *AGE_BANDS, "age missing", *_SEXES.values()],
        rows,
        "Percent of studies: age bands of those with an age (a lower end belongs to its band), the rest of all. Sources"
        " that are not listed tell neither.",
    )


def _shares_of_ages(ages: Mapping[str, int] | None) -> list[float | None]:
    if ages is None:
        return [None] * (len(AGE_BANDS) + 1)
    known = sum(ages[band] for band in AGE_BANDS)
    return [*(_percent(ages[band], known) for band in AGE_BANDS), _percent(ages["missing"], known + ages["missing"])]


def _shares_of_sexes(sexes: Mapping[str, int] | None) -> list[float | None]:
    return [_percent(sexes[sex], sum(sexes.values())) if sexes else None for sex in _SEXES]


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _distributions(statistics: Mapping[str, Any]) -> Iterator[Table]:
    for key, title in (("views", "Views"), ("manufacturers", "Manufacturers")):
        rows = [[name, split, _listing(held[key])] for name, split, held in _splits(statistics) if held.get(key)]
        unit = "images" if key == "views" else "studies"
        yield Table(title, ["source", "split", unit], rows)
    rows = [
        [name, split, held["sites"], held["sites_missing"]]
        for name, split, held in _splits(statistics)
        if "sites" in held
    ]
    yield Table("Sites", ["source", "split", "sites", "studies without a site"], rows)
    rows = [
        [name, split, _listing(held["images_per_study"])]
        for name, split, held in _splits(statistics)
        if held.get("images_per_study")
    ]
    yield Table("Images per study", ["source", "split", "images: studies"], rows)


def _listing(values: Mapping[str, int]) -> str:
    shown = [f"{plain(value)}: {number:,}" for value, number in list(values.items())[:_SHOWN]]
    left = list(values.values())[_SHOWN:]
    return ", ".join(shown) + (f", {len(left)} more: {sum(left):,}" if left else "")


def _sections(statistics: Mapping[str, Any]) -> Table:
    tokenizer = statistics["tokenizer"]
    rows = []
    for name, split, held in _splits(statistics):
        for section in SECTIONS:
            if told := held.get("sections", {}).get(section):
                row = [name, split, section, told["texts"], told["mean_words"], told["mean_words_present"]]
                rows.append([*row, told.get("mean_tokens")] if tokenizer else row)
    heads = ["source", "split", "section", "studies with it", "mean words", "where present"]
    return Table(
        "Sections of the reports",
        [*heads, f"mean tokens ({tokenizer})"] if tokenizer else heads,
        rows,
        "Whitespace-separated words of the section as published; the mean is over all studies, a missing section having"
        " none.",
    )


def _published(statistics: Mapping[str, Any]) -> Iterator[Table]:
    """Table 1 and Table 2 of the ReXGradient-160K paper beside ours."""
    splits = statistics["sources"].get("rexgradient", {}).get("splits", {})
    first: list[list[object]] = []
    second: list[list[object]] = []
    for split, held in splits.items():
        theirs = published_rexgradient()[split]
        counts = {"studies": held["studies"], "images": held.get("images_listed"), "patients": held["patients"]}
        first += [[split, kind, ours, int(theirs[kind])] for kind, ours in counts.items()]
        for section in ("indication", "comparison", "findings", "impression"):
            ours = held.get("sections", {}).get(section, {}).get("mean_words")
            first.append([split, f"{section}, mean words", ours, theirs[section]])
        shares = dict(zip([*AGE_BANDS, "missing"], _shares_of_ages(held.get("ages")), strict=True))
        second += [[split, f"age {band}", shares[band], theirs[band]] for band in AGE_BANDS]
        sexes = _shares_of_sexes(held.get("sexes"))
        second += [[split, name, ours, theirs[sex]] for (sex, name), ours in zip(_SEXES.items(), sexes, strict=True)]
    heads = ["split", "figure", "ours", "published"]
    yield Table(
        "ReXGradient-160K, Table 1",
        heads,
        first,
        "Published: arXiv:2505.00228, Table 1. The paper does not name its tokenizer; ours are whitespace words.",
    )
    yield Table(
        "ReXGradient-160K, Table 2",
        heads,
        second,
        "Published: arXiv:2505.00228, Table 2, percent. The paper does not say to which band a bound belongs, nor how"
        " missing ages count.",
    )


def _targets(statistics: Mapping[str, Any]) -> Table:
    tokenizer = statistics["tokenizer"]
    rows = []
    for name, splits in statistics["rows"].items():
        for split, held in splits.items():
            words = held["target_words"]
            counts = list(held["variants"].values())
            row = [name, split, held["examples"], words["mean"], words["median"], words["p95"], words["max"]]
            if tokenizer:
                row.append(held["target_tokens"]["mean"])
            told = f"{min(counts):,} to {max(counts):,}" if counts else None
            rows.append([*row, held["distinct_prompts"], len(counts), told])
    heads = ["row", "split", "examples", "mean words", "median", "95th percentile", "longest"]
    if tokenizer:
        heads.append(f"mean tokens ({tokenizer})")
    return Table(
        "Answers and prompts",
        [*heads, "distinct prompts", "variants", "examples per variant"],
        rows,
        "Words and tokens are those of the answers. Distinct prompts: different texts before the answer, images aside.",
    )


def _labels(statistics: Mapping[str, Any]) -> Table:
    rows = []
    for name, splits in statistics["rows"].items():
        for split, held in splits.items():
            if labels := held.get("labels"):
                shares = {label: f"{100 * number / held['records']:.1f} %" for label, number in labels.items()}
                shown = ", ".join(f"{plain(label)} {share}" for label, share in list(shares.items())[:_SHOWN])
                left = max(0, len(labels) - _SHOWN) + held["labels_not_listed"]
                rows.append([name, split, held["records"], shown + (f", {left} more" if left else "")])
    return Table(
        "Label prevalence",
        ["row", "split", "records", "records with the label"],
        rows,
        "Right choices of menus, or labels of regions. A record can have several.",
    )
