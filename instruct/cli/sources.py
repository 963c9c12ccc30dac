"""``cxr-instruct sources``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.cli import options

if TYPE_CHECKING:
    from instruct.sources import Input


@click.command("sources")
@click.argument("names", nargs=-1)
@options.data_root
@options.as_json
def command(names: tuple[str, ...], data_root: Path | None, as_json: bool) -> None:
    """List the sources, and where they are on disk; for NAMES, their files, tables and columns too."""
    from instruct.build.roots import find_root
    from instruct.sources import get_source, source_names

    rows: list[dict[str, Any]] = []
    for name in names or source_names():
        source = get_source(name)
        root = find_root(source, data_root)
        row: dict[str, Any] = {
            "name": name,
            "title": source.title,
            "homepage": source.homepage,
            "root": str(root) if root else None,
        }
        if names or as_json:
            row |= {
                "files": [
                    {
                        "name": item.name,
                        "patterns": list(item.patterns),
                        "required": item.required,
                        "obtain": item.obtain,
                        **_found(item, root),
                    }
                    for item in source.inputs
                ],
                "image_folders": list(source.image_folders),
                "images_found": str(source.image_folder(root)) if root and source.image_folder(root).is_dir() else None,
                "options": source.options.model_json_schema().get("properties", {}),
                "tables": {
                    table: {field.name: _described(field) for field in held.schema}
                    for table, held in source.tables.items()
                },
                "views": {view: held.description for view, held in source.views.items()},
            }
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"sources": rows}))
        return
    for row in rows:
        click.echo(f"{row['name']:<14} {row['title']}  ({row['homepage']})")
        click.echo(
            f"{'':<14} {'at ' + str(row['root']) if row['root'] else 'not on disk' if data_root else ''}".rstrip()
        )
        if names:
            _print_details(row)


def _found(item: Input, root: Path | None) -> dict[str, Any]:
    """How many files of an input are below a root, and the first of them."""
    found = item.found(root) if root else ()
    return {"found": len(found), "first": found[0].relative_to(root).as_posix() if root and found else None}


def _described(field: object) -> str:
    return f"{field.type}: {(field.metadata or {}).get(b'description', b'').decode()}"  # type: ignore[attr-defined]


def _print_details(row: dict[str, Any]) -> None:
    files, tables, views, options = row["files"], row["tables"], row["views"], row["options"]
    assert (
        isinstance(files, list) and isinstance(tables, dict) and isinstance(views, dict) and isinstance(options, dict)
    )
    click.echo("  files below its folder:")
    for item in files:
        need = "" if item["required"] else " (optional)"
        click.echo(f"    {' or '.join(item['patterns'])}{need}: {item['obtain']}")
        if row["root"]:
            more = f" and {item['found'] - 1:,} more" if item["found"] > 1 else ""
            click.echo(f"      {'there: ' + item['first'] + more if item['found'] else 'not there'}")
    click.echo(f"  images below {' or '.join(row['image_folders'])}")
    if row["root"]:
        click.echo(f"      {'there: ' + row['images_found'] if row['images_found'] else 'not there'}")
    for name, option in options.items():
        click.echo(f"  option {name} (default {option.get('default')}): {option.get('description', '')}")
    for table, columns in tables.items():
        click.echo(f"  table {table}:")
        for column, text in columns.items():
            click.echo(f"    {column:<16} {text}")
    for view, text in views.items():
        click.echo(f"  view {view}: {text}")
