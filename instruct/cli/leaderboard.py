"""``cxr-instruct leaderboard``: the place of a summary among the published ReXrank rows."""

from __future__ import annotations

from pathlib import Path

import click

from instruct.cli import options


@click.command(name="leaderboard")
@click.argument("summary", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="ReXGradient, MIMIC-CXR, IU X-ray or CheXpert Plus.")
@click.option(
    "--section",
    type=click.Choice(["findings", "findings+impression"]),
    default="findings",
    show_default=True,
    help="Which of the dataset's two boards.",
)
@click.option("--by", default="inv_radcliq_v1", show_default=True, help="Summary number that ranks.")
@click.option("--part", help="Part of the summary, as printed, where it has several.")
@click.option("--model", default="this model", show_default=True, help="Name of your row.")
@options.as_json
def command(summary: Path, dataset: str, section: str, by: str, part: str | None, model: str, as_json: bool) -> None:
    """Show where SUMMARY (summary.json of an evaluation) stands among the published models."""
    import json

    from instruct.evaluation import rank_summary

    standing = rank_summary(summary, dataset=dataset, section=section, by=by, part=part, model=model)
    text = json.dumps(standing.as_json(), indent=2, ensure_ascii=False) if as_json else standing.markdown()
    click.echo(text.rstrip("\n"))
