"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from instruct.errors import UsageError
from instruct.resources import shipped

data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    envvar="CXR_INSTRUCT_DATA_ROOT",
    help="Folder below which the sources lie; a source elsewhere: CXR_INSTRUCT_ROOT_<SOURCE> or the recipe's root.",
)


def _spec_folders(context: click.Context, parameter: click.Parameter, values: tuple[Path, ...]) -> tuple[Path, ...]:
    """A folder, or the name of one that is shipped."""
    return tuple(
        more if not value.is_dir() and (more := shipped("task_specs") / value).is_dir() else value for value in values
    )


specs = click.option(
    "--specs",
    type=click.Path(path_type=Path),
    multiple=True,
    callback=_spec_folders,
    help="Folder with more task specs (*.yaml), their templates beside them or in templates/; or a shipped one, "
    "progression_by_region. Repeatable.",
)


def _local(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """A build maps its shards into memory and renames them, which stores cannot do."""
    if re.match(r"[a-z0-9+]+:/", str(value)):
        raise UsageError(
            f"--out {value}: is a URL; give a local folder, and send what was built there with `cxr-instruct copy`"
        )
    return value


out = click.option(
    "--out", type=click.Path(path_type=Path), required=True, callback=_local, help="Output folder, on a local disk."
)
store_options = click.option(
    "--option", "settings", multiple=True, metavar="KEY=VALUE", help="Of URL's file system, as fsspec takes it."
)
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


class _Split(click.Choice[str]):
    """A split by its name in the count table, or by the one that ``datasets`` gives it."""

    def __init__(self) -> None:
        super().__init__(["train", "val", "test"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("val" if value == "validation" else value, param, ctx)


split = _Split()


def read_store(settings: tuple[str, ...]) -> dict[str, Any]:
    """What ``--option`` says.

    Raises:
        UsageError: one is not of the form KEY=VALUE.
    """
    from instruct.specs.yaml_file import load_value

    for setting in settings:
        if "=" not in setting:
            raise UsageError(f"--option {setting!r} is not of the form KEY=VALUE")
    return {key: load_value(value) for key, _, value in (setting.partition("=") for setting in settings)}
