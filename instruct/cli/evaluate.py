"""``cxr-instruct evaluate``: score predictions and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.errors import UsageError

if TYPE_CHECKING:
    from instruct.evaluation import Judge


@click.command(name="evaluate")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--references",
    type=click.Path(path_type=Path),
    help="Where PREDICTIONS has no references: their file, or the dataset folder that `build` made.",
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
@click.option(
    "--judge",
    multiple=True,
    metavar="NAME=URL|FOLDER",
    help="Model that judges for green or fineradscore: base URL of an OpenAI-compatible endpoint (its key in "
    "$OPENAI_API_KEY), or a folder with a model; may be repeated.",
)
@click.option("--judge-model", multiple=True, metavar="NAME=MODEL", help="The endpoint's name of that model.")
@click.option("--judge-prompt", multiple=True, metavar="NAME=FILE", help="Prompt with {reference} and {candidate}.")
@click.option("--allow-third-party", is_flag=True, help="Send reports to such an endpoint whatever their terms say.")
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=DIR",
    help="Folder of weights, such as chexbert=DIR; may be repeated. Others are looked for in "
    "$CXR_INSTRUCT_WEIGHTS/NAME and the local hub cache.",
)
@click.option("--download", is_flag=True, help="Fetch missing weights from the hub.")
@click.option("--device", default="", help="Torch device of the models [default: cuda where there is one, else cpu].")
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
    judge: tuple[str, ...],
    judge_model: tuple[str, ...],
    judge_prompt: tuple[str, ...],
    allow_third_party: bool,
    weights: tuple[str, ...],
    download: bool,
    device: str,
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

    from instruct.build.files import check_writable
    from instruct.evaluation import evaluate, export_pairs, read_predictions

    if seed < 0:
        raise UsageError(f"--seed is {seed}; expected 0 or more")
    out = out or Path(f"{predictions.stem}.evaluation")
    for folder in (out, export):
        if folder is not None:
            check_writable(folder)
    paths = []
    if export is not None:
        paths = export_pairs(read_predictions(predictions, references, section=section), export)
    report = evaluate(
        predictions,
        references,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()] if metrics else None,
        scores=scores,
        judgements=_named("judgements", judgements, "green=outputs.jsonl"),
        judges=_judges(judge, judge_model, judge_prompt),
        allow_third_party=allow_third_party,
        weights=_named("weights", weights, "chexbert=DIR"),
        download=download,
        device=device,
        leaderboard=leaderboard,
        section=section,
        against=against,
        no_error_severity=no_error_severity,
        seed=seed,
    )
    paths = report.write(out) + paths
    text = json.dumps(report.summary(), indent=2, ensure_ascii=False) if as_json else report.markdown()
    click.echo(text.rstrip("\n"))
    click.echo(f"wrote {', '.join(map(str, paths))}", err=True)


def _named(option: str, given: tuple[str, ...], example: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not name or not value:
            raise UsageError(f"--{option} {text!r}: expected NAME=…, such as {example}")
        if name in named:
            raise UsageError(f"--{option} {text!r}: {name} was already given as {named[name]}")
        named[name] = value
    return named


def _judges(where: tuple[str, ...], models: tuple[str, ...], prompts: tuple[str, ...]) -> dict[str, Judge]:
    from instruct.evaluation import Judge

    places = _named("judge", where, "fineradscore=http://localhost:8000/v1")
    names = _named("judge-model", models, "fineradscore=MODEL")
    files = _named("judge-prompt", prompts, "green=prompt.txt")
    return {
        name: Judge(places.get(name, ""), names.get(name, ""), Path(files[name]) if name in files else None)
        for name in sorted(places | names | files)
    }
