"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    envvar="CXR_INSTRUCT_DATA_ROOT",
    help="Folder below which the sources lie; a source elsewhere: CXR_INSTRUCT_ROOT_<SOURCE> or the recipe's root.",
)
specs = click.option(
    "--specs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder with more task specs (*.yaml), their templates beside them or in templates/. Repeatable.",
)
out = click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder.")
workers = click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that render.")
executor = click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where shards are made: processes of this machine, or a Ray cluster.",
)
address = click.option(
    "--address",
    help="Ray cluster, such as auto or HOST:6379; default: $RAY_ADDRESS, or one of this machine with --workers CPUs.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, no progress.")
overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
folder = click.argument("folder", type=click.Path(path_type=Path), metavar="OUT")
