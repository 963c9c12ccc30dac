"""The page in a browser: what a person sees and does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instruct.api import build_dataset, load_recipe
from instruct.regions import decode_mask
from instruct.reports.preview.document import write_preview
from tests.build.helpers import IMAGE_QUERY, write_report, write_spec, write_template
from tests.reports.preview.chromium import Chromium, Page

Open = Callable[..., Page]
Screen = np.ndarray[Any, np.dtype[np.uint8]]

AMBER = np.array([255, 176, 0])


@pytest.fixture
def opened(browser: Chromium) -> Iterator[Open]:
    """Opens pages; at the end they must have had no error, and asked the network for nothing."""
    pages: list[Page] = []

    def open_page(url: str, **window: Any) -> Page:
        pages.append(Page(browser, url, **window))
        return pages[-1]

    yield open_page
    for one in pages:
        assert one.faults() == []
        assert {url.partition(":")[0] for url in one.requests()} <= {"file", "data"}
        one.close()


def settled(page: Page) -> Page:
    """Wait until every image of the example is there."""
    page.wait("!document.querySelector('#main .wait') && [...document.images].every((one) => one.complete)")
    return page


def choose(page: Page, **filters: str) -> None:
    """Set all filters at once; those not given are taken off."""
    for name in ("text", "dataset", "split"):
        page.js(f"document.getElementById('{name}').value = {json.dumps(filters.get(name, ''))}")
    page.choose("task", filters.get("task", ""))
    settled(page)


def place(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element in the window."""
    found = page.js(
        f"(() => {{ const one = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        " return [one.left, one.top, one.width, one.height]; })()"
    )
    return (found[0], found[1], found[2], found[3])


def row(page: Page) -> dict[str, Any]:
    """The row that the page shows, as it shows it."""
    page.js("document.querySelector('#main .raw').open = true")
    page.wait("document.querySelector('#main pre')")
    shown: dict[str, Any] = json.loads(page.js("document.querySelector('#main pre').textContent"))
    page.js("document.querySelector('#main .raw').open = false")
    return shown


def has_colour(screen: Screen, x: float, y: float, colour: Screen, near: int = 2) -> bool:
    """Whether a colour is within some pixels of a point."""
    left, top = round(x) - near, round(y) - near
    part = screen[max(top, 0) : top + 2 * near + 1, max(left, 0) : left + 2 * near + 1].astype(int)
    return bool((np.abs(part - colour).max(axis=2) < 40).any())


def one_box(page: Page) -> dict[str, Any]:
    """Go on to an example with one region, well inside its image; its row."""
    for _ in range(60):
        shown = row(settled(page))
        boxes = [region["box"] for region in shown["regions"]]
        if len(boxes) == 1 and min(boxes[0]) > 0.05 and max(boxes[0]) < 0.95:
            return shown
        page.press("j")
    raise AssertionError("no example with one box")


# --- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_boxes_are_where_the_data_says(opened: Open, page: str, width: int) -> None:
    shown = opened(page, width=width, height=1100)
    choose(shown, task="Abnormality Grounding")
    (region,) = one_box(shown)["regions"]
    shown.press("p")
    shown.press("l")
    left, top, across, down = place(shown, "#main .frame img")
    assert across / down == pytest.approx(region["size"][1] / region["size"][0], rel=0.01)
    x1, y1, x2, y2 = (share * side for share, side in zip(region["box"], (across, down) * 2, strict=True))
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    edges = [(x1, middle_y), (x2, middle_y), (middle_x, y1), (middle_x, y2), (x1, y1), (x2, y2)]
    beside = [(x1 - 8, middle_y), (x2 + 8, middle_y), (middle_x, y1 - 8), (middle_x, y2 + 8), (middle_x, middle_y)]

    def amber(points: list[tuple[float, float]]) -> list[bool]:
        screen = shown.screenshot()
        return [has_colour(screen, left + x, top + y, AMBER) for x, y in points]

    assert amber(edges) == [True] * 6 and amber(beside) == [False] * 5
    shown.press("b")
    assert amber(edges) == [False] * 6
    shown.press("b")
    assert amber(edges) == [True] * 6


def test_masks_cover_what_the_data_says(opened: Open, page: str) -> None:
    shown = opened(page)
    choose(shown, task="Pneumothorax Segmentation")
    (region,) = one_box(shown)["regions"]
    for key in "bpl":
        shown.press(key)
    left, top, across, down = (round(value) for value in place(shown, "#main .frame img"))
    with_mask = shown.screenshot()
    shown.press("m")
    without = shown.screenshot()
    drawn = np.abs(with_mask.astype(int) - without).max(axis=2)[top : top + down, left : left + across] > 12
    mask = decode_mask(region["mask"], *region["size"])
    rows = ((np.arange(down) + 0.5) / down * mask.shape[0]).astype(int)
    columns = ((np.arange(across) + 0.5) / across * mask.shape[1]).astype(int)
    expected = mask[np.ix_(rows, columns)]
    assert expected.sum() > 300
    # The outline is drawn over the edge, half of it outside.
    assert (expected & ~drawn).sum() <= 0.02 * expected.sum()
    grown = sum(np.roll(expected, (dy, dx), (0, 1)) for dy in range(-3, 4) for dx in range(-3, 4)) > 0
    assert not (drawn & ~grown).any()


def test_what_the_answer_prints_lies_on_the_box(opened: Open, page: str) -> None:
    shown = opened(page)
    choose(shown, task="Abnormality Grounding")
    (region,) = one_box(shown)["regions"]
    read = shown.js("document.querySelector('#main .printed polygon').getBBox().toJSON?.() ?? (() => { const one = "
                    "document.querySelector('#main .printed polygon').getBBox(); "
                    "return {x: one.x, y: one.y, width: one.width, height: one.height}; })()")  # fmt: skip
    height, width = region["size"]
    corners = [read["x"] / width, read["y"] / height]
    corners += [(read["x"] + read["width"]) / width, (read["y"] + read["height"]) / height]
    assert corners == pytest.approx(region["box"], abs=1 / 2000 + 1e-6)


def test_polygons_run_where_the_answer_says(opened: Open, page: str) -> None:
    """Read from the text here by other means: pairs of thousandths."""
    shown = opened(page)
    choose(shown, task="Pneumothorax Segmentation")
    for _ in range(60):
        answer = row(settled(shown))["messages"][-1]["content"][0]["text"]
        polygons = [re.findall(r"\[(\d+), (\d+)\]", one) for one in re.findall(r"\[(\[.*?\])\]", answer)]
        if polygons:  # some variants ask for a box, and some images have nothing
            break
        shown.press("j")
    for key in "bml":
        shown.press(key)
    left, top, across, down = (round(value) for value in place(shown, "#main .frame img"))
    with_polygons = shown.screenshot()
    shown.press("p")
    drawn = np.abs(with_polygons.astype(int) - shown.screenshot()).max(axis=2) > 40
    drawn = drawn[top : top + down, left : left + across]
    lines = {width: Image.new("L", (across, down)) for width in (1, 7)}
    for corners in polygons:
        scaled = [(int(x) / 1000 * across, int(y) / 1000 * down) for x, y in corners]
        for width, image in lines.items():
            ImageDraw.Draw(image).line([*scaled, scaled[0]], 1, width, joint="curve")
    thin, thick = (np.asarray(image, bool) for image in lines.values())
    assert thin.sum() > 50 and not (drawn & ~thick).any()
    assert (thin & drawn).sum() > 0.3 * thin.sum()  # it is dashed


def test_the_image_is_whole_and_keeps_its_shape_when_large(opened: Open, page: str) -> None:
    shown = opened(page, height=500)
    choose(shown, task="Findings Generation")
    for large in (False, True):
        natural = shown.js("(() => { const one = document.querySelector('#main img'); "
                           "return one.naturalWidth / one.naturalHeight; })()")  # fmt: skip
        _, _, across, down = place(shown, "#main .frame img")
        assert across / down == pytest.approx(natural, rel=0.01)
        assert large or down <= 0.71 * 500
        shown.press("z")


def test_prior_and_current_stand_side_by_side(opened: Open, page: str) -> None:
    for width in (1280, 390):
        shown = opened(page, width=width)
        choose(shown, task="Progression Findings Generation")
        captions = shown.js("[...document.querySelectorAll('#main figcaption')].map((one) => one.firstChild.data)")
        assert captions == ["Prior", "Current"]
        first, second = (place(shown, f"#main figure[data-image='{index}']") for index in (0, 1))
        assert first[1] == second[1] and first[0] + first[2] <= second[0]
        chips = shown.js("[...document.querySelectorAll('#main .chip')].map((one) => one.innerText)")
        assert chips == ["▣ Prior", "▣ Current"]


def test_the_conversation_is_as_the_model_sees_it(opened: Open, page: str) -> None:
    shown = opened(page)
    for task in ("Progression Impression Generation", "Findings Summarization", "Abnormality Detection"):
        choose(shown, task=task)
        held = row(shown)
        said = shown.js("[...document.querySelectorAll('#main .turn')].map((one) => [one.querySelector('h3')"
                        ".textContent, one.querySelector('.said').textContent])")  # fmt: skip
        expected = [
            [
                message["role"],
                "".join("\0" if part["type"] == "image" else part["text"] for part in message["content"]),
            ]
            for message in held["messages"]
        ]
        for word in ("▣ Prior", "▣ Current", "▣ Image"):
            said = [[role, text.replace(word, "\0")] for role, text in said]
        assert said == expected
        facts = shown.text("#main .facts")
        told = held["provenance"]
        for value in (held["keys"]["record"], *held["keys"]["images"], told["origin"], told["template"]):
            assert value in facts
        assert f"Variant\n{told['variant']}\n" in facts and ("gated; " in facts or "credentialed; " in facts)


# --- the way through -------------------------------------------------------------------------------------------------


def test_filters_leave_what_they_say(opened: Open, page: str) -> None:
    shown = opened(page)

    def listed() -> list[str]:
        # Not innerText: items that have not been in sight yet have none.
        found: list[str] = shown.js("[...document.querySelectorAll('#list li')].map((one) => one.textContent)")
        return found

    assert len(listed()) == 268 and shown.text("#count") == "1 of 268"
    shown.choose("split", "val")
    shown.wait("document.querySelectorAll('#list li').length < 268")
    assert len(listed()) == 15 and all(" · val · " in one for one in listed())
    shown.choose("dataset", "REX-Gradient")
    shown.wait("document.querySelectorAll('#list li').length === 11")
    assert shown.text("#count") == "1 of 11 · 268 in the file"
    offered = shown.js("[...document.getElementById('task').options].map((one) => [one.text, one.disabled])")
    assert ["Findings Generation (3)", False] in offered and ["Pneumothorax Segmentation (0)", True] in offered
    shown.choose("task", "Findings Summarization")
    shown.wait("document.querySelectorAll('#list li').length === 3")
    shown.choose("text", "nowhere to be found")
    shown.wait("document.querySelectorAll('#list li').length === 0")
    assert shown.text("#main") == "No example suits the filters." and shown.text("#count") == "0 of 0"
    choose(shown, text="PNEUMOTHORAX")
    shown.wait("document.querySelectorAll('#list li').length > 20")
    assert "pneumothorax" in shown.text("#main .talk").lower()
    assert 20 < len(listed()) < 268


def test_keys(opened: Open, page: str) -> None:
    shown = opened(page)
    for key, count in (
        ("j", "2"), ("ArrowRight", "3"), ("k", "2"), ("ArrowLeft", "1"), ("k", "1"), ("End", "268"), ("j", "268"),
        ("Home", "1"),
    ):  # fmt: skip
        shown.press(key)
        assert shown.text("#count") == f"{count} of 268"
        assert shown.js("location.hash") == f"#{count}"
    shown.press("/")
    assert shown.js("document.activeElement.id") == "text"
    shown.press("j")  # is typed, not a command
    assert shown.js("document.getElementById('text').value") == "j"
    shown.wait("!document.getElementById('count').innerText.endsWith('of 268')")  # the filter has redrawn the page
    shown.press("Escape")
    assert shown.js("document.activeElement.id") != "text"
    shown.press("?")
    assert shown.js("document.getElementById('help').open")
    keys = shown.text("#help")
    assert all(word in keys for word in ("next example", "previous example", "boxes on or off", "light or dark"))
    shown.js("document.querySelector('#help button').click()")
    shown.press("r")
    shown.wait("document.querySelector('#main pre')")


def test_an_address_leads_to_its_example(opened: Open, page: str) -> None:
    shown = opened(f"{page}#120")
    assert shown.text("#count") == "120 of 268"
    assert opened(f"{page}#9999").text("#count") == "1 of 268"


def test_buttons_do_what_keys_do(opened: Open, page: str) -> None:
    shown = opened(page)
    shown.js("document.getElementById('next').click()")
    assert shown.text("#count") == "2 of 268"
    shown.js("document.getElementById('previous').click()")
    assert shown.text("#count") == "1 of 268" and shown.js("document.getElementById('previous').disabled")
    assert not shown.js("document.getElementById('terms').checkVisibility()")
    shown.js("document.getElementById('terms-button').click()")
    terms = shown.text("#terms")
    assert "Only for credentialed users" in terms and "vindr_cxr (credentialed): PhysioNet" in terms
    assert "a sample of 268 of 268 examples" in terms


# --- how it looks ----------------------------------------------------------------------------------------------------


def brightness(shown: Page) -> float:
    return float(shown.screenshot()[60:800, 260:].mean(axis=2).__ge__(128).mean())


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(opened: Open, page: str, dark: bool) -> None:
    shown = opened(page, dark=dark)
    choose(shown, task="Findings Summarization")
    assert (brightness(shown) > 0.9) is not dark
    shown.press("d")
    assert (brightness(shown) > 0.9) is dark
    shown.js("document.getElementById('theme').click()")
    assert (brightness(shown) > 0.9) is not dark


def test_it_fits_a_phone(opened: Open, page: str) -> None:
    shown = opened(page, width=390, height=844)
    tasks = shown.js("[...document.getElementById('task').options].map((one) => one.value).filter(Boolean)")
    assert len(tasks) == 9
    for task in tasks:
        choose(shown, task=task)
        shown.js("document.querySelector('#main .raw').open = true")
        shown.wait("document.querySelector('#main pre')")
        assert shown.js("[document.documentElement.scrollWidth, innerWidth]") == [390, 390], task
        assert shown.js("matchMedia('(max-width: 800px)').matches")
    # What is touched is large enough, and the way on is always in sight.
    _, top, width, height = place(shown, "#next")
    assert width >= 40 and height >= 40 and top + height <= 844


# --- foreign text ----------------------------------------------------------------------------------------------------

HOSTILE = (
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> "
    "<svg onload=\"document.title='owned'\"> </div></main> <!-- [see](javascript:document.title='owned') "
    "https://example.org/ @script@ @data@ {{ 7 * 7 }} &lt;b&gt; \u202egnp.exe\u202c \u2067abc\u2069 a\u200bb שלום end"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("hostile")
    names = ['"><b>x', "</script><script>document.title='owned'"]
    write_report(root, 1, findings=HOSTILE, images=[escape(name, {'"': "&quot;"}) for name in names])
    write_report(root, 2, findings="Clear lungs.", images=["plain"])
    write_template(root / "specs", "wording", "\nReport <b>it</b>.", images="any")
    write_spec(root / "specs", {"wording": IMAGE_QUERY})
    recipe = load_recipe("openi", ["tasks=['[wording] [Mine]']"])
    build_dataset(recipe, root / "out", data_root=root, specs=[root / "specs"])
    write_preview(root / "out", root / "p.html")
    return (root / "p.html").as_uri()


def test_hostile_text_is_shown_and_does_nothing(browser: Chromium, hostile: str) -> None:
    shown = Page(browser, hostile)
    shown.wait("!document.querySelector('#main .wait')")
    shown.js("document.querySelector('#main .raw').open = true")
    shown.wait("document.querySelector('#main pre')")
    assert shown.js("document.title") == "openi – preview"
    assert shown.js("document.scripts.length") == 2
    for selector in ("a", "img", "#main b", "#main .said svg", "iframe", "[onerror]", "[onload]"):
        assert shown.js(f"document.querySelectorAll({json.dumps(selector)}).length") == 0, selector
    said = shown.text("#main .turn.assistant")
    for literal in ("<script>document.title = 'owned'</script>", "[see](javascript:", "@script@ @data@ {{ 7 * 7 }}"):
        assert literal in said
    marks = shown.js("[...document.querySelectorAll('#main .turn.assistant .unseen')].map((one) => "
                     "[one.textContent, one.title])")  # fmt: skip
    assert marks == [
        ["U+202E", "right-to-left override"], ["U+202C", "pop directional formatting"],
        ["U+2067", "right-to-left isolate"], ["U+2069", "pop directional isolate"], ["U+200B", "zero width space"],
    ]  # fmt: skip
    assert not shown.js("/[\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test(document.body.innerText)")
    assert shown.faults() == [] and {url.partition(":")[0] for url in shown.requests()} == {"file"}
    shown.press("j")
    assert "Clear lungs." in shown.text("#main")
    shown.close()


def test_a_direction_mark_turns_nothing_around_it(browser: Chromium, hostile: str) -> None:
    """Reading order on the screen: what follows the mark in the text follows it on the line."""
    shown = Page(browser, hostile)
    order = shown.js(
        "(() => { const said = document.querySelector('#main .turn.assistant .said');"
        " const mark = said.querySelector('.unseen'); const range = document.createRange();"
        " const text = mark.nextSibling; range.setStart(text, 0); range.setEnd(text, 1);"
        " const first = range.getBoundingClientRect().left; range.setStart(text, 2); range.setEnd(text, 3);"
        " return [mark.getBoundingClientRect().right, first, range.getBoundingClientRect().left]; })()"
    )
    assert order == sorted(order)
    shown.close()


def test_the_check_itself_sees_what_a_policy_refuses(browser: Chromium, page: str, tmp_path: Path) -> None:
    """A page whose text did get into its markup: the policy stops it, and these tests would have noticed."""
    text = Path(page.removeprefix("file://")).read_text("utf-8")
    broken = text.replace("</header>", "</header><img src=https://example.org/x.png><script>1</script>", 1)
    (tmp_path / "p.html").write_text(broken, "utf-8")
    shown = Page(browser, (tmp_path / "p.html").as_uri())
    faults = " ".join(shown.faults())
    assert "img-src" in faults and "script-src" in faults
    shown.close()
