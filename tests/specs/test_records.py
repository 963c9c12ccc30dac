from __future__ import annotations

import resource

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.errors import DataError, SpecError
from instruct.sources import get_source, source_names
from instruct.specs import connection, records
from instruct.specs.checks import CHANGING, check_query
from instruct.specs.contract import REGIONS_TYPE
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import SPLITS, load_task_specs

from .toy import CORE, SOURCE, entry, queries, studies

PLAIN = f"SELECT {CORE} FROM studies"


def problems(folder, query: str) -> list[str]:
    """What is wrong with a query, by its contract or when it is bound."""
    with queries() as held:
        try:
            found = check_query(entry(folder, query), held)
        except SpecError as error:
            found = error.problems
    return [problem.removeprefix(f"{folder}/") for problem in found]


def test_a_good_query_is_told_to_be_good_without_any_data(tmp_path):
    query = PLAIN.replace("SELECT", "SELECT findings, images,")
    assert problems(tmp_path, query) == []
    with queries() as held:
        task = entry(tmp_path, query)
        assert held.columns(task) == {
            "findings": "VARCHAR", "images": "VARCHAR[]", "id": "VARCHAR", "split": "VARCHAR", "patient": "VARCHAR",
            "studies": "VARCHAR[]", "origin": "VARCHAR",
        }  # fmt: skip
        assert held.column_types(task)["images"] == pa.list_(pa.string())


@pytest.mark.parametrize(
    "value",
    [
        "NULL", "1", "1.5::DECIMAL(5, 2)", "'a'::ENUM('a', 'b c')", "MAP {'a': [1]}", "now()", "[1, 2]::INTEGER[2]",
        "{'a b': 1, 'select': [{'day': DATE '2020-01-01'}]}", "'x'::BLOB", "TIME '10:00'", "[NULL]", "1::HUGEINT",
    ],
)  # fmt: skip
def test_the_types_of_columns_are_those_of_the_records(tmp_path, value):
    task = entry(tmp_path, f"SELECT {CORE}, findings, {value} AS given FROM studies")
    with queries(studies(("a", "train"))) as held:
        (batch,) = held.records(task, ["findings", "given"], 5)
        types = held.column_types(task)
    assert {name: types[name] for name in ("findings", "given")} == {
        name: batch.schema.field(name).type for name in ("findings", "given")
    }


@pytest.mark.parametrize(
    "table",
    [
        "rexgradient.studies", '"RexGradient"."Studies"', "memory.rexgradient.studies", "main.rexgradient__studies",
        "query_table('rexgradient.studies')", "(PIVOT rexgradient.studies ON split IN ('train') USING count(*))",
    ],
)  # fmt: skip
def test_a_query_that_reads_another_source_has_to_say_so(tmp_path, table):
    task = entry(tmp_path, f"{PLAIN} WHERE (SELECT count(*) FROM {table}) = 0")
    with RecordQueries(SOURCE, reads=[get_source("openi"), get_source("rexgradient")]) as held:
        (problem,) = check_query(task, held)
    assert problem == (
        f"{tmp_path}/toy.yaml:9:1: [Reading] [Toy]: the query uses tables of 'rexgradient'; list it under reads"
    )


def test_a_query_may_name_another_source_without_reading_it(tmp_path):
    task = entry(tmp_path, f"{PLAIN} WHERE findings <> 'rexgradient.studies' -- as in OpenI")
    with RecordQueries(SOURCE, reads=[get_source("openi"), get_source("rexgradient")]) as held:
        assert check_query(task, held) == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "SELECT split, NULL::VARCHAR AS patient, [study] AS studies, 'o' AS origin\nFROM studies",
            ["9:1: [Reading] [Toy]: the query has no column 'id' (identifier of the record, unique within the task)"],
        ),
        (
            "SELECT 1 AS id, split, study AS patient, study AS studies FROM studies",
            [
                "9:1: [Reading] [Toy]: column 'id' is INTEGER; expected VARCHAR (identifier of the record, unique "
                "within the task)",
                "9:1: [Reading] [Toy]: column 'studies' is VARCHAR; expected VARCHAR[] (the studies that the record is "
                "about, and counts as)",
                "9:1: [Reading] [Toy]: the query has no column 'origin' (published file, and row in it, that the "
                "record comes from)",
            ],
        ),
        (
            f"SELECT {CORE}, findings AS images, 0 AS _hash FROM studies",
            [
                "9:1: [Reading] [Toy]: column 'images' is VARCHAR; expected VARCHAR[] (images in the order the "
                "template places them; absent for text)",
                "9:1: [Reading] [Toy]: column '_hash' begins with an underscore; such names are the builder's",
            ],
        ),
        (
            f"SELECT {CORE}, [{{'image': 0}}] AS regions FROM studies",
            ["9:1: [Reading] [Toy]: column 'regions' is STRUCT("],
        ),
        (
            f"SELECT {CORE},\n  finding\nFROM studies",
            ['10:1: [Reading] [Toy]: Binder Error: Referenced column "finding"'],
        ),
        (
            f"SELECT {CORE}\nFROM\n\n  study",
            ["12:1: [Reading] [Toy]: Catalog Error: Table with name study does not exist!"],
        ),
        (f"SELECT {CORE}\nFRUM studies", ["10:1: [Reading] [Toy]: Parser Error: syntax error"]),
        (
            f"SELECT {CORE}\nFROM studies\nWHERE mention_change(findings)",
            ["11:1: [Reading] [Toy]: Catalog Error: Scalar Function"],
        ),
        (
            f"{PLAIN}\nWHERE 'é random()' <> '' -- now()\nORDER BY Random ( )",
            ["11:1: [Reading] [Toy]: random() differs from one run to the next"],
        ),
        (f"{PLAIN} WHERE findings < current_date::VARCHAR", ["9:1: [Reading] [Toy]: current_date differs from"]),
        (f'{PLAIN} WHERE "now"() IS NULL', ["9:1: [Reading] [Toy]: now() differs from"]),
        (f"{PLAIN}\nUSING SAMPLE 5", ["10:1: [Reading] [Toy]: USING SAMPLE differs from"]),
        (f"{PLAIN}; {PLAIN}", ["9:1: [Reading] [Toy]: records must be one SELECT statement"]),
    ],
)
def test_what_a_query_lacks_is_told_with_its_line(tmp_path, query, told):
    found = problems(tmp_path, query)
    assert len(found) == len(told)
    assert all(problem.startswith(f"toy.yaml:{wanted}") for problem, wanted in zip(found, told, strict=True)), found


def test_every_function_that_changes_is_known():
    """Those of DuckDB that give something else at every call, but for those that give nothing of use, or fail."""
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
    named = {name for (name,) in duckdb.sql(query).fetchall()}
    assert named - CHANGING == {"error"}


@given(st.lists(st.lists(st.text(max_size=2), max_size=5), max_size=4))
def test_different_texts_are_counted(chunks: list[list[str]]) -> None:
    with queries() as held:
        texts = pa.chunked_array(chunks, pa.string())
        assert held.count_distinct(texts) == len({text for chunk in chunks for text in chunk})


def test_different_texts_are_counted_where_the_disk_has_no_room(tmp_path):
    spill = tmp_path / "spill"
    with queries(studies(("a", "train")), spill=spill) as held:
        spill.rmdir()
        spill.write_text("in the way of what does not fit into memory")
        texts = pa.chunked_array([pa.array(range(12_000_000)).cast(pa.string())])
        assert held.count_distinct(texts) == len(texts)


def test_regions_of_the_right_type_are_taken(tmp_path):
    region = (
        "[{'image': 0::INTEGER, 'label': 'nodule', 'box': [0.1, 0.2, 0.3, 0.4]::DOUBLE[], 'mask': NULL::VARCHAR,"
        " 'size': [10, 10]::INTEGER[]}] AS regions"
    )
    query = f"SELECT {CORE}, images, {region} FROM studies"
    assert problems(tmp_path, query) == []
    with queries(studies(("a", "train"))) as held:
        (batch,) = held.records(entry(tmp_path, query), [], 5)
    assert batch.schema.field("regions").type == REGIONS_TYPE
    assert batch["regions"].to_pylist()[0][0]["box"] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def hostile(folder) -> list[str]:
    """Queries that try to get at files, at Python or at the settings."""
    secret = folder / "secret.csv"
    secret.write_text("a,b\n1,topsecret\n")
    reads = [
        f"read_text('{secret}')", f"read_blob('{secret}')", f"read_csv('{secret}')", f"read_json('{secret}')",
        f"read_parquet('{secret}')", f"sniff_csv('{secret}')", f"glob('{folder}/*')", f"'{secret}'",
        "'https://example.org/x.csv'", "'s3://bucket/x.parquet'", "read_xlsx('x.xlsx')", f"query_table('{secret}')",
        f"query('COPY (SELECT 1) TO ''{folder}/out.csv''')", "local_table", "duckdb_secrets()", "enable_logging()",
    ]  # fmt: skip
    statements = [
        f"COPY studies TO '{folder}/out.csv'", f"COPY studies FROM '{secret}'", f"ATTACH '{folder}/x.db' AS x",
        "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SET lock_configuration = false",
        "RESET enable_external_access", "PRAGMA database_list", "PRAGMA enable_external_access",
        "CALL pragma_version()",
        f"EXPORT DATABASE '{folder}/out'", f"IMPORT DATABASE '{folder}'", "CREATE TABLE x AS SELECT 1",
        "CREATE MACRO mentions_change(text) AS true", "DROP VIEW toy.studies", "USE main", "CHECKPOINT", "BEGIN",
        "INSERT INTO main.toy__studies (study) VALUES ('x')", "PREPARE p AS SELECT 1", f"EXPLAIN ANALYZE {PLAIN}",
        f"{PLAIN}; DROP TABLE x", f"{PLAIN}) TO '{folder}/out.csv' --", f"{PLAIN}) ; COPY (SELECT 1",
    ]  # fmt: skip
    return [
        *(f"SELECT {CORE} FROM studies, {item}" for item in reads),
        *statements,
        f"SELECT {CORE}, (SELECT content FROM read_text('{secret}')) AS findings FROM studies",
        f"SELECT {CORE}, getenv('HOME') AS findings FROM studies",
    ]


HOSTILE = 43


def test_a_hostile_query_reads_nothing_and_writes_nothing(tmp_path):
    local_table = studies(("a", "train"))  # Python's variables are no tables
    attacks = hostile(tmp_path)
    assert len(attacks) == HOSTILE
    files = {*tmp_path.iterdir(), tmp_path / "toy.yaml"}
    for query in attacks:
        with queries(local_table) as held:
            task = entry(tmp_path, query)
            try:
                held.columns(task)
                list(held.records(task, ["findings"], 10))
            except SpecError as error:
                (problem,) = error.problems
            else:
                pytest.fail(f"this query was run: {query}")
            assert problem.startswith(f"{tmp_path}/toy.yaml:9:1: [Reading] [Toy]: "), query
            assert "topsecret" not in problem
    assert set(tmp_path.iterdir()) == files


def test_a_query_that_fails_on_the_data_names_its_place(tmp_path):
    query = f"SELECT {CORE}\nFROM studies\nWHERE findings::INTEGER > 0"
    with (
        queries(studies(("a", "train"))) as held,
        pytest.raises(SpecError, match=r"toy\.yaml:\d+:1: \[Reading\].*Clear"),
    ):
        list(held.records(entry(tmp_path, query), [], 10))


@pytest.mark.parametrize(
    ("rows", "query", "told"),
    [
        ([("a", "train"), ("a", "val"), ("b", "val")], PLAIN, "several records have the id a$"),
        ([(name, "train") for name in "aabbccddee"], PLAIN, "several records have the id a, b, c and 2 more"),
        ([("a", "train"), (None, "val")], PLAIN, r"the record from toy\.csv:1 has no id"),
        ([("a", "train"), ("b", "valid")], PLAIN, "record 'b' has split 'valid'; expected train, val, test"),
        ([("a", "train"), ("b", None)], PLAIN, "record 'b' has split None; expected train, val, test"),
        ([("a", "train"), ("b", "")], PLAIN, "record 'b' has split ''; expected train, val, test"),
        (
            [("a", "train"), ("b", "train")],
            PLAIN.replace("[study]", "[nullif(study, 'b')]"),
            r"record 'b' has a null in its studies; leave such rows out \(WHERE \.\.\. IS NOT NULL\)",
        ),
        (
            [("a", "train"), ("b", "train")],
            PLAIN.replace("SELECT", "SELECT [study || '.png', nullif(study, 'a')] AS images,"),
            "record 'a' has a null in its images",
        ),
        (
            [("a", "train"), ("b", "train")],
            PLAIN.replace("SELECT", "SELECT CASE study WHEN 'a' THEN images END AS images,"),
            "record 'b' has a null in its images",
        ),
    ],
)
def test_records_that_break_the_contract_are_named(tmp_path, rows, query, told):
    with (
        queries(studies(*rows)) as held,
        pytest.raises(DataError, match=rf"toy\.yaml:9:1: \[Reading\] \[Toy\]: .*{told}"),
    ):
        list(held.records(entry(tmp_path, query), [], 2))


def test_two_ids_in_different_splits_and_batches_are_still_one_id(tmp_path):
    rows = [(f"s{number}", "train") for number in range(50)] + [("s7", "test")]
    with queries(studies(*rows)) as held, pytest.raises(DataError, match="several records have the id s7"):
        list(held.records(entry(tmp_path, PLAIN), [], 3))


@settings(max_examples=25)
@given(splits=st.lists(st.sampled_from(SPLITS), max_size=40), rows=st.integers(1, 12))
def test_batches_hold_one_split_and_as_many_rows_as_asked(tmp_path_factory, splits, rows):
    folder = tmp_path_factory.getbasetemp()
    # Keys in an order that is not that of the rows.
    named = [(f"s{(number * 7) % 41:02d}", split) for number, split in enumerate(splits)]
    with queries(studies(*named)) as held:
        batches = list(held.records(entry(folder, PLAIN), [], rows))
    ids = [batch["id"].to_pylist() for batch in batches]
    assert [name for batch in ids for name in batch] == [
        name for split in SPLITS for name in sorted(name for name, of in named if of == split)
    ]
    by_split: dict[str, list[int]] = {}
    for batch in batches:
        (split,) = set(batch["split"].to_pylist())
        by_split.setdefault(split, []).append(len(batch))
    for split, lengths in by_split.items():
        assert all(length == rows for length in lengths[:-1])
        assert 0 < lengths[-1] <= rows
        assert sum(lengths) == splits.count(split)
    assert list(by_split) == [split for split in SPLITS if split in splits]


def kept_apart(name, schema, rows):
    """Records in batches of three rows, as they may lie on disk."""
    assert name == "records"
    return pa.Table.from_batches(pa.Table.from_batches(rows, schema).combine_chunks().to_batches(3), schema)


@settings(max_examples=25)
@given(
    named=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.sampled_from(SPLITS)
    ),
    rows=st.integers(1, 12),
)
def test_records_put_in_order_are_those_that_the_database_sorts(tmp_path_factory, named, rows):
    folder = tmp_path_factory.getbasetemp()
    table = studies(*named.items())
    with queries(table) as one, queries(table, spill=folder / "spilled", keep=kept_apart) as other:
        asked = entry(folder, f"SELECT {CORE}, findings FROM studies")
        found = [list(held.records(asked, ["findings"], rows)) for held in (one, other)]
    assert found[0] == found[1]


# What a sort needs depends on the machine; a list of all rows in one value can never go to disk.
GREEDY = f"SELECT {CORE} FROM studies WHERE len((SELECT list(repeat(findings, 80)) FROM studies)) > 0"


def test_a_query_that_cannot_do_with_little_memory_gets_more(tmp_path, monkeypatch):
    made = []
    connect_as_before = records.connect

    def connect(*given):
        made.append(given[-1])
        return connect_as_before(*given)

    monkeypatch.setattr(records, "connect", connect)
    bounds = [connection.Bound("20MB", 2), connection.Bound("30MB", 1), None]
    monkeypatch.setattr(records, "BOUNDS", bounds)
    table = studies(*((f"s{number:06d}", "train") for number in range(100_000)))
    with queries(table, spill=tmp_path / "spilled", keep=kept_apart) as held:
        batches = list(held.records(entry(tmp_path, GREEDY), [], 50_000))
    assert made == bounds
    assert [batch["id"][0].as_py() for batch in batches] == ["s000000", "s050000"]
    assert not list((tmp_path / "spilled").iterdir())


def test_corrections_hold_when_a_query_runs_again(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BOUNDS", [connection.Bound("20MB", 2), None])
    asked = entry(tmp_path, GREEDY)
    table = studies(*((f"s{number:06d}", "train") for number in range(100_000)))
    corrected = {asked.config: pa.table({"id": ["s000007"], "split": ["test"]})}
    with queries(table, spill=tmp_path / "spilled", keep=kept_apart, corrections=corrected) as held:
        batches = list(held.records(asked, [], 200_000))
    assert [len(batch) for batch in batches] == [99_999, 1]
    assert batches[1]["id"].to_pylist() == ["s000007"]


def test_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BOUNDS", [connection.Bound("25MB", 1)])
    asked = entry(tmp_path, f"SELECT {CORE} FROM studies ORDER BY hash(study)")
    table = studies(*((f"s{number:06d}", "train") for number in range(200_000)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with queries(table, spill=tmp_path / "spilled", keep=kept_apart) as held:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))  # as if no room were left
        try:
            with pytest.raises(DataError) as caught:
                list(held.records(asked, [], 1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/spilled/duckdb_temp_")
    assert "cannot be written: File too large. What is finished is kept; make room and run the same command" in told


def test_a_query_that_fails_amid_its_rows_names_its_place(tmp_path):
    table = studies(*((f"s{number:06d}", "train") for number in range(300_000)))
    query = f"SELECT {CORE}, CASE WHEN study = 's299999' THEN error('the last row') ELSE '' END AS answer FROM studies"
    for options in ({}, {"spill": tmp_path / "spilled", "keep": kept_apart}):
        with (
            queries(table, **options) as held,
            pytest.raises(SpecError, match=r"toy\.yaml:9:1: \[Reading\].*the last row"),
        ):
            list(held.records(entry(tmp_path, query), ["answer"], 1000))


CHOICES = ["PA", "AP", "Lateral", "Oblique", "None of these"]


def shuffled(folder, count: int, options: str, **settings: object) -> dict[str, list[str]]:
    """Options of some records, by id."""
    table = studies(*((f"s{number}", "train") for number in range(count)))
    with queries(table, **settings) as held:
        batches = list(held.records(entry(folder, f"SELECT {CORE}, {options} AS options FROM studies"), [], 10_000))
    return {row["id"]: row["options"] for batch in batches for row in batch.to_pylist()}


def test_options_are_shuffled_by_record_and_seed_alone(tmp_path):
    forward = shuffled(tmp_path, 300, f"{CHOICES}")
    assert all(sorted(options) == sorted(CHOICES) for options in forward.values())
    assert shuffled(tmp_path, 40, f"{CHOICES[::-1]}").items() <= forward.items()
    assert shuffled(tmp_path, 300, f"{CHOICES}", seed=1) != forward
    # Every choice comes first about as often as any other.
    firsts = [sum(options[0] == choice for options in forward.values()) for choice in CHOICES]
    assert all(35 <= count <= 90 for count in firsts), firsts


@settings(max_examples=15)
@given(st.lists(st.text("ab'é\"", max_size=4), max_size=6))
def test_shuffled_options_are_a_permutation(tmp_path_factory, options):
    values = ", ".join("'" + option.replace("'", "''") + "'" for option in options)
    (found,) = shuffled(tmp_path_factory.getbasetemp(), 1, f"[{values}]::VARCHAR[]").values()
    assert sorted(found) == sorted(options)


def test_a_source_reads_its_own_tables_without_and_others_with_their_name(tmp_path):
    table = studies(("a", "test"), ("b", "train"))
    for place in ("studies", "toy.studies"):
        with queries(table) as held:
            (one, other) = held.records(entry(tmp_path, f"SELECT {CORE} FROM {place} ORDER BY study DESC"), [], 9)
            assert (one["id"].to_pylist(), other["id"].to_pylist()) == (["b"], ["a"])
    with queries(table) as held:
        (only,) = held.records(entry(tmp_path, f"SELECT {CORE} FROM tests"), [], 9)
        assert only["id"].to_pylist() == ["a"]


def test_only_what_is_wanted_is_computed(tmp_path):
    query = f"SELECT {CORE}, findings, CASE WHEN split <> '' THEN error('computed') END AS costly FROM studies"
    with queries(studies(("a", "train"))) as held:
        (batch,) = held.records(entry(tmp_path, query), ["findings"], 9)
        assert batch.schema.names == ["id", "split", "patient", "studies", "origin", "findings", "_variant_hash"]
        with pytest.raises(SpecError, match="computed"):
            list(held.records(entry(tmp_path, query), ["costly"], 9))


def test_any_column_type_comes_as_arrow_of_one_kind(tmp_path):
    query = f"SELECT {CORE}, 1.5 AS ratio, {{'d': DATE '2020-01-02', 'names': ['x']}} AS prior FROM studies"
    with queries(studies(("a", "train"))) as held:
        (batch,) = held.records(entry(tmp_path, query), ["ratio", "prior"], 9)
        assert str(batch.schema.field("prior").type) == "struct<d: date32[day], names: list<item: string>>"
        assert batch.schema.field("studies").type == pa.list_(pa.string())


@pytest.mark.parametrize("name", source_names())
def test_the_views_of_every_source_bind(name):
    source = get_source(name)
    needed = {entry.spec.source: entry.spec.reads for entry in load_task_specs()}.get(name, [])
    with RecordQueries(source, reads=[get_source(other) for other in needed if other != name]) as held:
        assert held is not None
