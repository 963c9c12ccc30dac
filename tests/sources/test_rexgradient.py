from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from instruct.errors import DataError
from instruct.sources import get_source
from tests.conftest import Corpora

REX = get_source("rexgradient")
NAN = float("nan")
FILES = {"train": "train", "valid": "val", "test": "test"}


def record(**changes: Any) -> dict[str, Any]:
    """A record in the published form, with one image."""
    return {
        "PatientID": "GRDN1", "AccessionNumber": "ACC1", "StudyInstanceUid": "1.2.3", "PatientSex": "F",
        "PatientAge": "047Y", "EthnicGroup": NAN, "PatientWeight": NAN, "StudyDate": 20140311,
        "InstitutionName": "SITE 07", "Manufacturer": "ExampleCo", "Indication": "Cough.", "Comparison": "None.",
        "Findings": "Heart size normal.", "Impression": "Normal chest.", "ImagePath": ["../deid_png/a/1.png"],
        "ImageViewPosition": ["PA"],
        "ImageModality": ["DX"], "ImageBodyPart": ["CHEST"],
    } | changes  # fmt: skip


def write(root: Path, **files: Mapping[str, Any] | str) -> Path:
    """The three metadata files, each as records by key, or as a text."""
    (root / "metadata").mkdir(exist_ok=True)
    for name in FILES:
        content = files.get(name, {})
        text = content if isinstance(content, str) else json.dumps(content)
        (root / "metadata" / f"{name}_metadata_view_position.json").write_text(text, "utf-8")
    return root


def studies(root: Path, **options: Any) -> pa.Table:
    return REX.tables_of(REX.find(root), REX.options(**options))["studies"]


def rows(root: Path, **options: Any) -> list[dict[str, Any]]:
    return studies(root, **options).to_pylist()


def told(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        studies(root)
    return str(caught.value).replace(f"{root}/metadata/", "")


def test_a_record_becomes_a_row(tmp_path):
    (row,) = rows(write(tmp_path, valid={"p1_a1_s1": record(PatientWeight="61.5", EthnicGroup=" Group ")}))
    assert row == {
        "study": "p1_a1_s1", "split": "val", "patient": "GRDN1", "date": datetime.date(2014, 3, 11), "sex": "F",
        "age": 47.0, "ethnic_group": "Group", "weight": 61.5, "institution": "SITE 07", "manufacturer": "ExampleCo",
        "indication": "Cough.", "comparison": None, "findings": "Heart size normal.", "impression": "Normal chest.",
        "images": ["a/1.png"], "views": ["PA"], "key_image": "a/1.png", "key_view": "PA",
        "origin": "metadata/valid_metadata_view_position.json:1",
    }  # fmt: skip


def test_studies_stand_in_file_order_train_before_val_before_test(tmp_path):
    root = write(tmp_path, test={"t": record()}, valid={"v2": record(), "v1": record()}, train={"z": record()})
    found = rows(root)
    assert [(row["study"], row["split"]) for row in found] == [
        ("z", "train"),
        ("v2", "val"),
        ("v1", "val"),
        ("t", "test"),
    ]
    assert found[2]["origin"] == "metadata/valid_metadata_view_position.json:2"


@pytest.mark.parametrize("missing", [None, NAN, "", "  ", "None", "none.", "N/A", "n/a", "UNKNOWN", "NaN"])
def test_every_spelling_of_a_missing_value(tmp_path, missing):
    fields = ("EthnicGroup", "InstitutionName", "Manufacturer", "Indication", "Comparison", "Findings", "Impression")
    changes = dict.fromkeys(fields, missing)
    (row,) = rows(
        write(tmp_path, train={"a": record(**changes, PatientAge=missing, PatientWeight=missing, StudyDate=missing)})
    )
    names = ("ethnic_group", "institution", "manufacturer", "indication", "comparison", "findings", "impression")
    assert all(row[name] is None for name in (*names, "age", "weight", "date"))


def test_a_longer_text_that_begins_so_is_a_text(tmp_path):
    (row,) = rows(write(tmp_path, train={"a": record(Findings=" None of the above.", Impression="Unknown opacity")}))
    assert (row["findings"], row["impression"]) == ("None of the above.", "Unknown opacity")


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("062Y", 62),
        ("007M", 7 / 12),
        ("003W", 21 / 365.25),
        ("002D", 2 / 365.25),
        ("7Y", 7),
        ("000D", 0),
        ("47", None),
        ("47y", None),
    ],
)
def test_ages_carry_their_unit(tmp_path, written, years):
    (row,) = rows(write(tmp_path, train={"a": record(PatientAge=written)}))
    assert row["age"] == (None if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("written", "sex"), [("M", "M"), ("F", "F"), ("O", None), ("", None), (None, None), ("f", None)]
)
def test_sex(tmp_path, written, sex):
    assert rows(write(tmp_path, train={"a": record(PatientSex=written)}))[0]["sex"] == sex


def test_a_weight_can_be_a_number_or_a_text(tmp_path):
    weights = {"a": 61, "b": "61.5", "c": "heavy", "d": NAN}
    found = rows(write(tmp_path, train={key: record(PatientWeight=weight) for key, weight in weights.items()}))
    assert [row["weight"] for row in found] == [61.0, 61.5, None, None]


def test_who_and_where_can_be_numbers_or_not_there_at_all(tmp_path):
    fields = {"EthnicGroup": "ethnic_group", "InstitutionName": "institution", "Manufacturer": "manufacturer"}
    bare = record()
    for field in (*fields, "PatientSex", "PatientAge", "PatientWeight"):
        del bare[field]
    given, without = rows(write(tmp_path, train={"a": record(**dict.fromkeys(fields, 7)), "b": bare}))
    assert [given[column] for column in fields.values()] == ["7", "7", "7"]
    assert [without[column] for column in (*fields.values(), "sex", "age", "weight")] == [None] * 6


def test_one_prefix_is_stripped_from_an_image_path_and_no_letters(tmp_path):
    paths = ["../deid_png/deid_png/a.png", "../deid_png/../deid_png/b.png", "deid_png/c.png", "./d.png"]
    (row,) = rows(write(tmp_path, train={"a": record(ImagePath=paths, ImageViewPosition=[None] * 4)}))
    assert row["images"] == ["deid_png/a.png", "../deid_png/b.png", "deid_png/c.png", "./d.png"]


@pytest.mark.parametrize(
    ("views", "best"),
    [
        (["LATERAL", "PA"], 1),
        (["AP", "POSTERO_ANTERIOR", "PA"], 2),
        (["AP AXIAL", "ANTERO_POSTERIOR", "AP"], 2),
        (["UNKNOWN", "ERECT"], 1),
        (["LATERAL", None], 1),
        (["OBLIQUE", "N/A"], 1),
        (["LL", "RAO"], 1),
        (["LAT", "LL", "LATERAL"], 0),
        (["PA", "PA"], 0),
        (["lateral", " pa "], 1),
        (["SUPINE", "PICC LINE"], 0),
    ],
)
def test_the_key_image_is_the_best_view_and_the_first_of_equals(tmp_path, views, best):
    paths = [f"{index}.png" for index in range(len(views))]
    root = write(tmp_path, train={
        "empty": record(ImagePath=[], ImageViewPosition=[]), "a": record(ImagePath=paths, ImageViewPosition=views),
        "b": record(ImagePath=["z.png"], ImageViewPosition=["LATERAL"]),
    })  # fmt: skip
    empty, row, other = rows(root)
    assert (empty["images"], empty["key_image"], empty["key_view"]) == ([], None, None)
    assert row["key_image"] == paths[best]
    assert row["key_view"] == (views[best].strip().upper() if views[best] else None)
    assert other["key_image"] == "z.png"
    assert rows(root, key_image="first")[1]["key_image"] == "0.png"


def view(table: pa.Table, name: str) -> list[dict[str, Any]]:
    connection = duckdb.connect()
    connection.register("held", table)
    connection.execute("CREATE SCHEMA rexgradient; CREATE VIEW rexgradient.studies AS SELECT * FROM held")
    return connection.sql(REX.views[name].sql).to_arrow_table().to_pylist()


def test_the_prior_is_the_study_just_before_of_the_same_patient(tmp_path):
    def of(patient: str, date: int | None, comparison: str | None, image: str = "x.png") -> dict[str, Any]:
        return record(PatientID=patient, StudyDate=date, Comparison=comparison, ImagePath=[image])

    root = write(
        tmp_path,
        train={
            "third": of("P", 20140502, "03/11"), "first": of("P", 20130101, None, "1.png"),
            "q": of("Q", 20120101, None), "same day, repeat": of("P", 20140311, "today"),
            "same day, initial": of("P", 20140311, "None"),
        },
        valid={"other split": of("P", 20150101, None)},
    )  # fmt: skip
    prior = {row["study"]: row["prior"] for row in view(studies(root), "studies_with_prior")}
    assert {study: before and before["study"] for study, before in prior.items()} == {
        "first": None, "same day, initial": "first", "same day, repeat": "same day, initial",
        "third": "same day, repeat", "q": None, "other split": None,
    }  # fmt: skip
    assert prior["same day, initial"]["key_image"] == "1.png"


def test_images_have_a_row_each(tmp_path):
    root = write(tmp_path, train={"a": record(ImagePath=["1", "2"], ImageViewPosition=["PA", None])})
    assert view(studies(root), "images") == [
        {"study": "a", "split": "train", "patient": "GRDN1", "image": image, "view": shown, "position": position}
        for position, (image, shown) in enumerate((("1", "PA"), ("2", None)), 1)
    ]


def test_missing_files_are_all_told(tmp_path):
    write(tmp_path)
    for name in ("valid", "test"):
        (tmp_path / "metadata" / f"{name}_metadata_view_position.json").unlink()
    lines = told(tmp_path).splitlines()
    assert [line.split(": ")[1].split(";")[0] for line in lines] == ["valid not found", "test not found"]
    assert (
        "metadata/valid_metadata_view_position.json or valid_metadata_view_position.json. Accept the agree" in lines[0]
    )


def lacking(name: str) -> dict[str, Any]:
    return {key: value for key, value in record().items() if key != name}


WHERE = "train_metadata_view_position.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            json.dumps({"a": record(), "b": record()})[:-60],
            f"{WHERE}:1 (byte 904): the file ends in the middle of a record; get it",
        ),
        ("", f"{WHERE}:1 (byte 0): the file ends in the middle of a record; get it again"),
        ([record()], f"{WHERE}:1: not a JSON object; expected {{study key: record, ...}}"),
        ({"a": [record()]}, f"{WHERE}:1 (byte 1): 'a' is list; expected {{study key: record}}"),
        (
            {"a": lacking("Findings")},
            f"{WHERE}:1 (byte 1): record 'a': Object missing required field `Findings`",
        ),
        ({"a": lacking("StudyInstanceUid")}, f"{WHERE}:1 (byte 1): record 'a' has no field \"StudyInstanceUid\""),
        (
            {"a": record(), "b": lacking("PatientID"), "c": record()},
            f"{WHERE}:1 (byte 1): record 'b': Object missing required field `PatientID`",
        ),
        (
            {"a": record(), "b": record(PatientID=None)},
            f"{WHERE}:1 (byte 1): record 'b': Expected `str`, got `null` - at `$.PatientID`",
        ),
        (
            {"a": record(), "b": record(ImagePath="x.png")},
            f"{WHERE}:1 (byte 1): record 'b': Expected `array`, got `str` - at `$.ImagePath`",
        ),
        (
            {"a": record(), "b": record(ImagePath=[None])},
            f"{WHERE}:1 (byte 1): record 'b': Expected `str`, got `null` - at `$.ImagePath[0]`",
        ),
        (
            {"a": record(ImageViewPosition=["PA", "AP"])},
            f"{WHERE}: record 'a' lists another number of views than of images",
        ),
        (
            {"a": record(), "b": record(Findings=["x"])},
            f"{WHERE}:1 (byte 1): record 'b': Expected `str | null`, got `array` - at `$.Findings`",
        ),
        (
            {"a": record(), "b": record(StudyDate="2014-03-11")},
            f"{WHERE}: record 'b' has StudyDate '2014-03-11'; expected a date as",
        ),
        (
            {"a": record(StudyDate=20141332)},
            f"{WHERE}: record 'a' has StudyDate '20141332'; expected a date as YYYYMMDD",
        ),
        (
            {"a": record(StudyDate=20140230)},
            f"{WHERE}: record 'a' has StudyDate '20140230'; expected a date as YYYYMMDD",
        ),
        ({"a": record(Findings="\ud800")}, f"{WHERE}:1 (byte "),
    ],
)
def test_a_file_that_is_not_as_published_is_told(tmp_path, content, message):
    content = content if isinstance(content, str) else json.dumps(content)
    assert re.sub(r"\(byte \d+\): record", "(byte 1): record", told(write(tmp_path, train=content))).startswith(message)


def test_two_studies_with_one_key_are_told_with_both_places(tmp_path):
    twice = '{"a": ' + json.dumps(record()) + ',\n"a": ' + json.dumps(record()) + ', "b": ' + json.dumps(record()) + "}"
    assert told(write(tmp_path, train=twice)) == f"{WHERE}:1 (byte 1): two records have the key 'a'"
    root = write(tmp_path, train={"b": record(), "a": record()}, test={"c": record(), "a": record()})
    assert told(root) == (
        "study a stands more than once: metadata/train_metadata_view_position.json:2,"
        " metadata/test_metadata_view_position.json:2"
    )


def test_keys_that_only_begin_differently_are_different(tmp_path):
    keys = [f"p{number}_s1.2.3.4.5.6.7.8.9.10" for number in (1, 2)]
    assert studies(write(tmp_path, train={key: record() for key in keys}))["study"].to_pylist() == keys


def test_the_synthetic_corpus_reads_as_it_was_planted(corpora: Corpora):
    found = rows(corpora.root / "rexgradient")
    for split, facts in corpora.planted["rexgradient"].splits.items():
        held = [row for row in found if row["split"] == split]
        assert len(held) == facts.studies
        assert sum(len(row["images"]) for row in held) == facts.images
        assert len({row["patient"] for row in held}) == facts.patients
        keys = [row["key_view"] for row in held]
        assert {view: keys.count(view if view != "null" else None) for view in facts.key_views} == dict(facts.key_views)
    deid = corpora.root / "rexgradient" / "deid_png"
    assert all((deid / image).is_file() for row in found for image in row["images"])
