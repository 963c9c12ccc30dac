"""``cxr-instruct evaluate``: score predictions and write the report."""

from __future__ import annotations

from pathlib import Path

import click

from instruct.cli import options
from instruct.errors import UsageError


@click.command(name="evaluate")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--references", type=click.Path(path_type=Path), help="File of the references, where PREDICTIONS has none."
)
@click.option("--metrics", help="Metrics or groups, parted by commas [default: those of the task].")
@click.option(
    "--scores",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Per-study scores made elsewhere, used in place of computing; may be repeated.",
)
@click.option(
    "--judgements",
    multiple=True,
    metavar="NAME=FILE",
    help="Judge outputs of green or fineradscore, lines of id and output; may be repeated.",
)
@click.option("--leaderboard", type=click.Choice(["rexrank"]), help="Add the table with this board's columns.")
@click.option(
    "--section",
    type=click.Choice(["findings", "impression", "findings+impression"]),
    help="Section of ReXrank records to score [default: findings].",
)
@click.option(
    "--against", type=click.Path(path_type=Path), help="Per-study scores of another system, for paired tests."
)
@click.option(
    "--no-error-severity",
    type=float,
    default=1.0,
    show_default=True,
    help="FineRadScore of a report that the judge left uncorrected.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of bootstrap and paired test.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report [default: <name of PREDICTIONS>.evaluation here].",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the pairs for the official evaluation code into this folder.",
)
@options.as_json
def command(
    predictions: Path,
    references: Path | None,
    metrics: str | None,
    scores: tuple[Path, ...],
    judgements: tuple[str, ...],
    leaderboard: str | None,
    section: str | None,
    against: Path | None,
    no_error_severity: float,
    seed: int,
    out: Path | None,
    export: Path | None,
    as_json: bool,
) -> None:
    """Score PREDICTIONS (ReXrank JSON, CSV, JSONL) and write scores, summary and Markdown table."""
    import json

    from instruct.evaluation import evaluate, export_pairs, read_predictions

    if seed < 0:
        raise UsageError(f"--seed is {seed}; expected 0 or more")
    report = evaluate(
        predictions,
        references,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()] if metrics else None,
        scores=scores,
        judgements=dict(map(_named, judgements)),
        leaderboard=leaderboard,
        section=section,
        against=against,
        no_error_severity=no_error_severity,
        seed=seed,
    )
    paths = report.write(out or Path(f"{predictions.stem}.evaluation"))
    if export is not None:
        paths += export_pairs(read_predictions(predictions, references, section=section), export)
    text = json.dumps(report.summary(), indent=2, ensure_ascii=False) if as_json else report.markdown()
    click.echo(text.rstrip("\n"))
    click.echo(f"wrote {', '.join(map(str, paths))}", err=True)


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise UsageError(f"--judgements {text!r}: expected NAME=FILE, such as green=outputs.jsonl")
    return name, Path(path)
