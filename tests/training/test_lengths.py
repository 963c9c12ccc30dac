"""Lengths are those of the real processor, token for token, from headers alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.api import build_dataset, load_recipe
from instruct.build.image_table import ImageTable
from instruct.mixture.index import build_index
from instruct.mixture.recipe import MixtureRecipe
from instruct.mixture.rows import open_rows
from instruct.testing.tiny import FAMILIES
from instruct.training.asked import AskedRows
from instruct.training.collate import Collator
from instruct.training.images import ImageFault
from instruct.training.lengths import Lengths, measure_part
from instruct.training.measures import measure_index
from instruct.training.predictions import Answer
from instruct.training.processor import load_processor
from tests.training.rows import IMAGE, png, question, row, text

# Newlines and blanks next to an image merge with what the processor puts there.
around = st.text(st.sampled_from("a\n \n."), max_size=6)


@st.composite
def rows_with_images(draw):
    parts, images = [text(draw(around) or "?")], []
    for _ in range(draw(st.integers(0, 3))):
        parts += [IMAGE, *([text(words)] if (words := draw(around)) else [])]
        images.append(png(draw(st.integers(8, 400)), draw(st.integers(8, 400))))
    return row(
        ("user", parts), ("assistant", draw(st.sampled_from(["Yes.", "\n\nThe heart\n is large. "]))), images=images
    )


# Idefics' tiny model does not split images; split, one takes many tokens or few by its size.
SPLIT = {"do_image_splitting": True, "size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}}


@pytest.fixture(scope="module")
def processors(tiny, tmp_path_factory):
    made = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family) / "model"
        shutil.copytree(tiny(family), folder)
        file = folder / "preprocessor_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **(SPLIT if family == "idefics3" else {})}))
        made[family] = load_processor(folder)
    return made


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(examples=st.lists(rows_with_images(), min_size=1, max_size=4))
def test_tokens_are_those_of_the_processor(family, examples, processors):
    processor = processors[family]
    lengths = Lengths(processor)
    batch = Collator(processor)(examples)
    for place, example in enumerate(examples):
        tokens = lengths.tokens(example)
        real = batch["attention_mask"][place].bool()
        assert tokens.ids.tolist() == batch["input_ids"][place][real].tolist()
        assert tokens.supervised.tolist() == (batch["labels"][place][real] != -100).tolist()
        assert lengths(example) == int(real.sum())


def test_the_settings_do_vary_the_tokens_of_an_image(processors):
    for family in ("qwen2_vl", "idefics3"):
        square, wide = (Lengths(processors[family])(question("Yes.", png()), [size]) for size in [(60, 60), (300, 60)])
        assert square != wide


def test_a_text_that_opens_with_an_image_behind_an_added_token(tiny):
    from tokenizers.processors import TemplateProcessing

    processor = load_processor(tiny("llava"))
    number = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", number)]
    )
    processor.chat_template = processor.chat_template.replace(
        "{{ '<|im_start|>' + message['role'] + '\n' }}", "{{ '' if loop.first else 'Answer: ' }}"
    )
    example = row(("user", [IMAGE]), ("assistant", "Yes."), images=[png()])
    batch, tokens = Collator(processor)([example]), Lengths(processor).tokens(example)
    assert batch["input_ids"][0, :3].tolist() == [number, *[processor.image_token_id] * 2]
    assert tokens.ids.tolist() == batch["input_ids"][0].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_part_is_measured_as_the_collator_makes_it(family, processor_of, demo_rows):
    processor = processor_of(family)
    some = demo_rows[:24]
    measured = measure_part(some, processor)
    batch = Collator(processor)(some)
    assert measured.length.tolist() == batch["attention_mask"].sum(1).tolist()
    assert measured.supervised.tolist() == (batch["labels"] != -100).sum(1).tolist()
    assert measured.images.tolist() == [len(example["images"]) for example in some]
    assert (measured.faults, measured.unclosed) == ((), 0)
    assert [array.dtype for array in (measured.length, measured.supervised, measured.images)] == ["i4", "i4", "i2"]


def test_no_pixel_is_decoded(processor_of, tmp_path, monkeypatch):
    file = tmp_path / "cut.png"
    file.write_bytes(png(300, 200)[:60])
    cut = row(("user", [IMAGE]), ("assistant", "Yes."), images=[{"path": str(file), "bytes": None}])
    whole = question("Yes.", png(300, 200), asked="")
    whole["messages"][0]["content"].pop()
    lengths = Lengths(processor_of("qwen2_vl"))
    assert lengths(cut) == lengths(whole) == lengths(cut, [(300, 200)])


def test_faults_are_counted_with_their_rows(processor_of, tmp_path):
    good = question("Large.", png(), name="good")
    rows = [
        good,
        question("A <image> b.", name="dirty"),
        question(" ", name="empty"),
        row(
            ("user", [IMAGE]),
            ("assistant", "Yes."),
            images=[{"path": str(tmp_path / "x.png"), "bytes": None}],
            name="gone",
        ),
        question("Yes. " * 400, name="long"),
        question("Yes.", png(1, 300), name="thin"),
        row(("user", "A?"), name="mute"),
        good,
    ]
    measured = measure_part(rows, processor_of("qwen2_vl"), max_length=200)
    assert [(fault.row, fault.id, fault.reason) for fault in measured.faults] == [
        (2, "empty", "empty_target"),
        (3, "gone", "missing_image"),
        (4, "long", "too_long"),
        (5, "thin", "refused_image"),
        (6, "mute", "nothing_to_learn"),
    ]
    assert [place for place, length in enumerate(measured.length) if length == -1] == [2, 3, 4, 5, 6]
    assert (measured.supervised > 0).tolist() == (measured.length > 0).tolist()
    assert measured.images.tolist() == [1, 0, 0, 1, 0, 1, 0, 1]
    assert "tokens, more than 200" in measured.faults[2].detail
    assert "1 x 300 pixels: Qwen2VLProcessor refuses it: absolute aspect ratio" in measured.faults[3].detail
    (dirty,) = measure_part(rows[:2], processor_of("llava")).faults
    assert (dirty.row, dirty.id, dirty.reason) == (1, "dirty", "special_token")


def test_an_image_it_refuses_is_told_with_the_row(processor_of):
    with pytest.raises(ImageFault, match=r"row thin, image 2: 1 x 300 pixels: Qwen2VLProcessor refuses it"):
        Lengths(processor_of("qwen2_vl"))(question("Yes.", png(), png(1, 300), name="thin"))


def test_no_rows_measure_to_nothing(processor_of):
    measured = measure_part([], processor_of("llava"))
    assert len(measured.length) == len(measured.supervised) == len(measured.images) == 0


def test_rows_whose_answer_has_no_end_are_counted(tiny):
    processor = load_processor(tiny("llava"))
    processor.chat_template = processor.chat_template.replace(
        "{{ '<|im_end|>' }}{% endgeneration %}", "{% endgeneration %}{{ '<|im_end|>' }}"
    )
    assert measure_part([question(), question(" ")], processor).unclosed == 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_vl"])  # the one whose processor is a class made on the spot
def test_no_number_of_workers_changes_the_result(family, processor_of, demo_rows, monkeypatch):
    monkeypatch.setattr("instruct.training.lengths._WORTH", 300)
    rows = [*(demo_rows * 6)[:600], question(" ", name="empty")]
    one, two = (measure_part(rows, processor_of(family), workers=workers) for workers in (1, 2))
    for name in ("length", "supervised", "images"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.faults == two.faults and [fault.row for fault in one.faults] == [600]


def test_what_needs_no_pixels_copies_no_image(corpora, tiny, tmp_path, monkeypatch):
    """Measuring, cutting into batches, and writing predictions, of a build with packed images."""
    overrides = ["images.store=pack", "images.size=64", "tasks=['[Findings Generation] [REX-Gradient]']"]
    build_dataset(load_recipe("demo", overrides), tmp_path / "packed", data_root=corpora.root)
    mixture = MixtureRecipe.model_validate({"name": "m", "data": [tmp_path / "packed"], "use": [{"tasks": "*"}]})
    index = build_index(mixture)
    processor = load_processor(tiny("qwen2_vl"))
    (rows,) = (open_rows(part) for part in index.parts)
    lengths = [Lengths(processor)(rows[number]) for number in range(len(rows))]
    copied = []
    monkeypatch.setattr(ImageTable, "data", lambda self, path: copied.append(path))
    assert measure_index(index, processor, tmp_path, tokenized_by="x").length[0].tolist() == lengths
    asked = AskedRows(index)
    asked.batches(8)
    asked.line(0, Answer("", "stop", "", 0, 0))
    assert not copied
