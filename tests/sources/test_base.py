from __future__ import annotations

import pyarrow as pa
import pytest

from instruct.errors import DataError
from instruct.sources import Files, Input, Options, Source, Table, column, get_source, source_names

SCHEMA = pa.schema([column("study", pa.string(), "key", nullable=False)])


def toy(read=lambda files, options: {}, **changes: object) -> Source:
    settings = {
        "name": "toy",
        "title": "Toy",
        "homepage": "",
        "folders": ("toy",),
        "inputs": (
            Input("reports", ("reports/*.xml", "reports.tgz"), "Download it from somewhere."),
            Input("labels", ("labels.csv",), "Ask for it."),
            Input("views", ("views.csv",), "Nice to have.", required=False),
        ),
        "image_folders": ("images", "png"),
        "tables": {"studies": Table("One row per study.", SCHEMA)},
        "read": read,
    }
    return Source(**settings | changes)


def test_files_are_found_by_the_first_pattern_that_matches(tmp_path):
    for name in ("reports.tgz", "labels.csv"):
        (tmp_path / name).touch()
    found = toy().find(tmp_path)
    assert (found["reports"], found["labels"], found["views"]) == (
        (tmp_path / "reports.tgz",),
        (tmp_path / "labels.csv",),
        (),
    )
    (tmp_path / "reports").mkdir()
    for name in ("reports/b.xml", "reports/a.xml", "views.csv"):
        (tmp_path / name).touch()
    (tmp_path / "reports" / "folder.xml").mkdir()
    found = toy().find(tmp_path)
    assert found["reports"] == (tmp_path / "reports" / "a.xml", tmp_path / "reports" / "b.xml")
    assert [found.relative(path) for path in found.all()] == [
        "labels.csv",
        "reports/a.xml",
        "reports/b.xml",
        "views.csv",
    ]


def test_every_missing_file_is_told_with_where_to_get_it(tmp_path):
    with pytest.raises(DataError) as caught:
        toy().find(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: reports not found; expected reports/*.xml or reports.tgz. Download it from somewhere.",
        f"{tmp_path}: labels not found; expected labels.csv. Ask for it.",
    ]


def test_a_source_is_present_as_soon_as_one_needed_file_is(tmp_path):
    (tmp_path / "views.csv").touch()
    assert not toy().present(tmp_path)
    (tmp_path / "labels.csv").touch()
    assert toy().present(tmp_path)


def test_images_are_in_the_first_folder_that_is_there(tmp_path):
    assert toy().image_folder(tmp_path) == tmp_path / "images"
    (tmp_path / "png").mkdir()
    assert toy().image_folder(tmp_path) == tmp_path / "png"
    (tmp_path / "images").mkdir()
    assert toy().image_folder(tmp_path) == tmp_path / "images"


def test_a_reader_is_held_to_its_schema(tmp_path):
    good = pa.table({"study": ["a"]}, schema=SCHEMA)
    files = Files(tmp_path, {})
    assert toy(lambda files, options: {"studies": good}).tables_of(files, Options()) == {"studies": good}
    wrong = good.rename_columns(["key"])
    with pytest.raises(
        TypeError, match=r"(?s)reader toy: table studies is key: string not null.*declared study: string"
    ):
        toy(lambda files, options: {"studies": wrong}).tables_of(files, Options())


def test_rows_may_come_piece_by_piece(tmp_path):
    good = pa.table({"study": ["a", "b", "c"]}, schema=SCHEMA)
    files = Files(tmp_path, {})
    pieces = toy(lambda files, options: {"studies": iter(good.to_batches(2))})
    assert pieces.tables_of(files, Options()) == {"studies": good}

    def count(name, schema, rows):
        return pa.table({name: [len(batch) for batch in rows]})

    assert pieces.tables_of(files, Options(), count)["studies"].to_pydict() == {"studies": [2, 1]}
    wrong = toy(lambda files, options: {"studies": iter(good.rename_columns(["key"]).to_batches())})
    with pytest.raises(TypeError, match=r"(?s)reader toy: table studies is key: .*declared study: string"):
        wrong.tables_of(files, Options())


@pytest.mark.parametrize("name", source_names())
def test_every_source_documents_what_it_reads_and_gives(name):
    source = get_source(name)
    assert source.name == name
    assert source.title
    assert source.homepage.startswith("https://")
    assert source.folders
    assert any(item.required for item in source.inputs)
    assert len({item.name for item in source.inputs}) == len(source.inputs)
    for item in source.inputs:
        assert item.patterns
        assert item.obtain.endswith(".")
        assert not any(pattern.startswith("/") or ".." in pattern for pattern in item.patterns)
    for table in (*source.tables.values(), *source.views.values()):
        assert table.description
    for table_name, table in source.tables.items():
        for field in table.schema:
            assert (field.metadata or {}).get(b"description"), f"{table_name}.{field.name} has no description"
    for option in source.options.model_fields.values():
        assert option.description
