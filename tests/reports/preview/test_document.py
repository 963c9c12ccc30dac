"""The file: what it holds, read without a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instruct.api import build_dataset
from instruct.polygons import fill
from instruct.regions import decode_mask
from instruct.reports.preview.document import write_preview
from instruct.specs.recipe import Images, Recipe
from tests.build.helpers import call

FINDINGS = "findings_generation-rex_gradient"


def data_of(file: Path) -> dict[str, Any]:
    """What a preview's script is given."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', file.read_text("utf-8"), re.S)
    assert found
    held: dict[str, Any] = json.loads(found[1])
    return held


def test_the_command_writes_one_file_and_says_what_it_holds(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.html"
    text = call("preview", built, "--out", out, "--size", "30").out
    assert re.match(rf"{out}: 30 of 268 examples, \d+ images, \d\.\d MB\n", text)
    assert text.endswith("strictest access term of what it holds: credentialed\n")
    assert list(tmp_path.iterdir()) == [out]
    told = json.loads(call("preview", built, "--out", out, "-n", "30", "--json").out)
    assert told["examples"] == 30 and told["of"] == 268 and told["not_shown"] == {}
    assert told["bytes"] == out.stat().st_size and told["access"] == "credentialed"


def test_the_same_bytes_again_and_others_with_another_seed(built: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        write_preview(built, file, size=20, seed=seed)
    first, second, third = [file.read_bytes() for file in files]
    assert first == second != third


def test_the_policy_names_every_script_and_style_and_nothing_else(built: Path, tmp_path: Path) -> None:
    write_preview(built, tmp_path / "p.html", size=3)
    text = (tmp_path / "p.html").read_text("utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert policy
    directives = dict(part.strip().partition(" ")[::2] for part in policy[1].replace("&#x27;", "'").split(";"))
    assert directives["default-src"] == directives["connect-src"] == "'none'" and directives["img-src"] == "data:"
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    for kind in ("script", "style"):
        inline = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.S)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inline]
        assert directives[f"{kind}-src"] == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script")
    assert not re.search(r"""<[^>]+\s(on\w+|style|src|href)\s*=""", text.replace(data_text(text), ""))


def data_text(text: str) -> str:
    """The data and the script of a page: what is no markup."""
    return text[text.index('<script id="data"') :]


def test_the_head_carries_the_strictest_term_of_what_is_shown(built: Path, tmp_path: Path) -> None:
    for task, access in ((None, "credentialed"), ("pneumothorax_segmentation-siim", "registration")):
        write_preview(built, tmp_path / "p.html", size=20, task=task)
        head = (tmp_path / "p.html").read_text("utf-8").splitlines()[:12]
        assert head[1].startswith("<!-- cxr-instruct ") and f"Access: {access}." in head[1]
        assert f'<meta name="cxr-instruct:access" content="{access}">' in head
        named = {source["name"] for source in data_of(tmp_path / "p.html")["terms"]["sources"]}
        assert named == ({"siim"} if task else {"rexgradient", "siim", "vindr_cxr"}) | (named & {"chestxray14"})


def test_to_be_shared_it_is_refused_or_has_a_reason_and_no_paths(built: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.html"
    refused = call("preview", built, "--out", out, "--share", "--task", FINDINGS, check=5)
    assert "a preview to be shared is refused by the terms of 1 of its sources" in refused.err
    assert "rexgradient: research without commercial or clinical use" in refused.err
    assert "--permission SOURCE=REASON" in refused.err and not out.exists()
    call(
        "preview", built, "--out", out, "--share", "--task", FINDINGS,
        "--permission", "rexgradient=letter of 3 May <b>2025",
    )  # fmt: skip
    assert data_of(out)["terms"]["permissions"] == {"rexgradient": "letter of 3 May <b>2025"}
    assert str(data) not in out.read_text("utf-8")
    for entry in data_of(out)["entries"]:
        assert [image["path"] for image in entry["row"]["images"]] == entry["row"]["keys"]["images"]
    write_preview(built, out, size=9, task=FINDINGS)
    assert str(data) in out.read_text("utf-8")


def pixels(picture: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    content = base64.b64decode(picture["uri"].removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))


def test_sixteen_bits_are_windowed(built: Path, tmp_path: Path) -> None:
    write_preview(built, tmp_path / "p.html", size=20, task=FINDINGS)
    held = data_of(tmp_path / "p.html")
    entry = held["entries"][0]
    picture = held["pictures"][entry["pictures"][0]]
    values = np.asarray(Image.open(entry["row"]["images"][0]["path"])).astype(float)
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    shown = pixels(picture)
    assert shown.shape == expected.shape == (picture["height"], picture["width"])
    assert values.max() > 255 and np.abs(shown - expected).mean() < 3
    assert len(np.unique(shown)) > 100
    assert re.fullmatch(r"window [\d,]+ to [\d,]+ \(0.5 to 99.5 %\)", picture["note"])


def test_pictures_are_as_large_as_asked_and_each_is_there_once(built: Path, tmp_path: Path) -> None:
    done = write_preview(built, tmp_path / "p.html", size=500, pixels=100)
    held = data_of(tmp_path / "p.html")
    assert {max(pixels(picture).shape) for picture in held["pictures"]} <= {100, 96}
    used = {key for entry in held["entries"] for key in entry["row"]["keys"]["images"]}
    assert len(held["pictures"]) == len(used) == done.images
    assert len({entry["row"]["id"] + entry["row"]["task"] for entry in held["entries"]}) == 268


@pytest.mark.parametrize("form", ["relative", "pack", "embed"])
def test_every_way_to_hold_images(form: str, data: Path, packed: Path, tmp_path: Path) -> None:
    folder = packed
    if form != "pack":
        images = Images(paths="relative") if form == "relative" else Images(store="embed", missing="drop", size=96)
        folder = tmp_path / "out"
        recipe = Recipe(name="p", sources={"rexgradient": {}}, tasks=[FINDINGS], images=images)
        build_dataset(recipe, folder, data_root=data)
    done = write_preview(folder, tmp_path / "p.html", size=30, task=FINDINGS)
    assert (done.examples, done.images, done.not_shown) == (30, 30, {})
    held = data_of(tmp_path / "p.html")
    assert held["entries"][0]["row"]["images"][0]["bytes"] is None or form == "embed"
    assert {min(pixels(picture).shape) == 96 for picture in held["pictures"]} == {form != "relative"}


def test_images_that_cannot_be_shown_are_counted(built: Path, data: Path, tmp_path: Path) -> None:
    # A corpus that has moved, and one damaged file.
    shutil.copytree(built, tmp_path / "out")
    write_preview(built, tmp_path / "p.html", size=3, task=FINDINGS)
    paths = [Path(entry["row"]["images"][0]["path"]) for entry in data_of(tmp_path / "p.html")["entries"]]
    saved = [path.read_bytes() for path in paths]
    try:
        paths[0].unlink()
        paths[1].write_bytes(saved[1][:200])
        text = call("preview", tmp_path / "out", "--task", FINDINGS, "-n", "3", "--out", tmp_path / "p.html").out
    finally:
        for path, content in zip(paths, saved, strict=True):
            path.write_bytes(content)
    assert "3 of 40 examples, 1 images" in text
    assert "1 images are not shown: missing_image" in text and "1 images are not shown: undecodable_image" in text
    assert [("fault" in picture) for picture in data_of(tmp_path / "p.html")["pictures"]] == [True, True, False]


def test_what_reads_dicom_is_named_where_it_is_not_there(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    text = call("preview", built, "--task", "pneumothorax_segmentation-siim", "--out", tmp_path / "p.html").out
    assert re.search(r"\d+ images are not shown: not_installed \(DICOM: pip install 'cxr-instruct\[dicom\]'\)", text)


def test_outlines_are_the_masks_to_the_pixel(built: Path, tmp_path: Path) -> None:
    write_preview(built, tmp_path / "p.html", size=500, task="pneumothorax_segmentation-siim")
    checked, kinds = 0, set()
    for entry in data_of(tmp_path / "p.html")["entries"]:
        for region, path in zip(entry["row"]["regions"], entry["outlines"], strict=True):
            height, width = region["size"]
            polygons = [ring_of(part, width, height) for part in path.removesuffix("z").split("z")]
            assert (fill(polygons, height, width) == decode_mask(region["mask"], height, width)).all()
            checked += 1
        assert bool(entry["printed"]) == bool(entry["row"]["regions"])
        kinds |= {shape["kind"] for shape in entry["printed"]}
    assert checked > 3 and kinds == {"box", "polygon"}  # some variants ask for a box


def ring_of(path: str, width: int, height: int) -> list[tuple[float, float]]:
    """Corners of ``M1 2h3v4l5 6`` as shares."""
    x = y = 0
    corners = []
    for step, first, second in re.findall(r"([Mhvl])(-?\d+)(?: (-?\d+))?", path):
        if step == "M":
            x, y = int(first), int(second)
        else:
            x += 0 if step == "v" else int(first)
            y += int(first) if step == "v" else int(second or 0)
        corners.append((x / width, y / height))
    return corners


def test_what_the_text_prints_is_read_back(built: Path, tmp_path: Path) -> None:
    write_preview(built, tmp_path / "p.html", size=500, task="abnormality_detection-vindr_cxr")
    checked = 0
    for entry in data_of(tmp_path / "p.html")["entries"]:
        boxes = sorted(region["box"] for region in entry["row"]["regions"])
        read = sorted([value for point in shape["points"] for value in point] for shape in entry["printed"])
        assert np.abs(np.array(boxes) - np.array(read)).max(initial=0) <= 1 / 2000 + 1e-9
        checked += len(read)
    assert checked > 5


def test_wrong_use_is_told(built: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--serve", "--out", "x.html"), "--serve shows the whole build and writes no file"),
        (("--port", "80"), "--port belongs to --serve"),
        (("--permission", "siim=x"), "--permission belongs to --share"),
        (("--task", "X"), "has no task 'X'"),
        (("--task", FINDINGS, "--share", "--permission", "siim=x"), "siim, which needs none"),
    ):
        assert message in call("preview", built, *arguments, check=2).err
    assert "is no build of cxr-instruct" in call("preview", tmp_path, check=2).err
    (tmp_path / "file").touch()
    refused = call("preview", built, "-n", "1", "--out", tmp_path / "file" / "p.html", check=4).err
    assert "cannot be written" in refused
