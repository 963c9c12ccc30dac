"""Batches: what is padded, learnt, refused and counted."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from instruct.testing.tiny import FAMILIES
from instruct.training.collate import Collator, PromptCollator
from instruct.training.images import ImageFault
from instruct.training.processor import load_processor
from instruct.training.supervision import RowFault, Supervision
from tests.training.rows import IMAGE, png, question, row, text


def learnt(processor, batch, place=0):
    """The supervised text of a row of a batch."""
    return processor.tokenizer.decode(batch["input_ids"][place][batch["labels"][place] != -100])


def broken(name="b"):
    """A row whose image is cut short behind its header."""
    return question("Small.", png(50, 40)[:60], name=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_rows_with_no_image_one_and_two(family, processor_of, demo_rows):
    rows = [next(one for one in demo_rows if len(one["images"]) == count) for count in (0, 1, 2)]
    batch = Collator(processor_of(family))(rows)
    facts = batch.pop("facts")
    assert all(isinstance(value, torch.Tensor) for value in batch.values())
    assert batch["input_ids"].shape == batch["attention_mask"].shape == batch["labels"].shape
    for place, one in enumerate(rows):
        assert learnt(processor_of(family), batch, place).strip().startswith(one["messages"][-1]["content"][0]["text"])
    length = batch["attention_mask"].sum(1)
    assert not batch["attention_mask"][:, 1:].gt(batch["attention_mask"][:, :-1]).any(), "padding is not on the right"
    assert (facts.ids, facts.images) == (tuple(one["id"] for one in rows), 3)
    assert (facts.tokens, facts.padded) == (int(length.sum()), 3 * int(length.max()))
    assert facts.supervised == int((batch["labels"] != -100).sum())
    assert (facts.bad_images, facts.masked_rows) == (0, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_alone_and_in_a_batch_is_the_same(family, processor_of, demo_rows):
    collate = Collator(processor_of(family))
    together = collate(demo_rows[:6])
    for place, one in enumerate(demo_rows[:6]):
        alone = collate([one])
        size = alone["input_ids"].shape[1]
        assert torch.equal(together["input_ids"][place, :size], alone["input_ids"][0])
        assert torch.equal(together["labels"][place, :size], alone["labels"][0])
        assert not together["attention_mask"][place, size:].any()
        assert (together["labels"][place, size:] == -100).all()


def test_the_last_end_token_is_learnt_where_it_pads_too(processor_of):
    processor = processor_of("llava", True, False)
    assert processor.tokenizer.pad_token == processor.tokenizer.eos_token
    batch = Collator(processor)([question("Large."), question("It is not large at all.")])
    for place, answer in enumerate(["Large.", "It is not large at all."]):
        assert learnt(processor, batch, place) == answer + "<|im_end|>"
    assert int((batch["input_ids"][0] == processor.tokenizer.eos_token_id).sum()) > 2, "nothing was padded"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_in_an_answer_is_not_learnt(family, processor_of):
    processor = processor_of(family)
    example = row(("user", "Show it."), ("assistant", [text("Here: "), IMAGE, text(" it is.")]), images=[png()])
    batch = Collator(processor)([example])
    token = processor.tokenizer.image_token_id
    assert (batch["input_ids"][0] == token).any()
    assert not (batch["labels"][0] == token).any()
    assert {"Here", "it is."} <= {part for part in ("Here", "it is.") if part in learnt(processor, batch)}


def test_a_long_row_is_refused_and_not_cut(processor_of):
    short, long = question("Yes.", name="short"), question("Yes. " * 50, name="long")
    collate = Collator(processor_of("llava"), max_length=40)
    assert collate([short])["input_ids"].shape[1] <= 40
    with pytest.raises(
        RowFault, match=r"row long: \d+ tokens, more than max_length = 40; rows are never cut"
    ) as caught:
        collate([short, long])
    assert caught.value.reason == "too_long"


def test_a_control_token_in_a_text_is_refused(processor_of):
    for collate in (Collator(processor_of("llava")), PromptCollator(processor_of("llava"))):
        with pytest.raises(RowFault, match="row dirty: a text of the user holds '<image>'"):
            collate([question(name="clean"), question(asked="What is <image>?", name="dirty")])


def test_a_bad_image_stops_with_the_row(processor_of):
    for collate in (Collator(processor_of("llava")), PromptCollator(processor_of("llava"))):
        with pytest.raises(ImageFault, match=r"row b, image 1: .* cannot be decoded"):
            collate([question("Yes.", png()), broken()])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bad_image_is_masked_and_counted_on_request(family, processor_of):
    collate = Collator(processor_of(family), on_bad_image="mask")
    good, whole = question("Large.", png()), question("Small.", png(50, 40), name="b")
    batch, plain = collate([good, broken()]), collate([good, whole])
    facts, plain_facts = batch.pop("facts"), plain.pop("facts")
    assert {name: value.shape for name, value in batch.items()} == {name: value.shape for name, value in plain.items()}
    assert torch.equal(batch["labels"][0], plain["labels"][0])
    assert (batch["labels"][1] == -100).all() and (plain["labels"][1] != -100).any()
    assert (facts.bad_images, facts.masked_rows, facts.images) == (1, 1, 2)
    assert facts.supervised == int((batch["labels"] != -100).sum()) < plain_facts.supervised


def test_a_batch_of_bad_images_alone_has_nothing_to_learn(processor_of):
    batch = Collator(processor_of("llava"), on_bad_image="mask")([broken(), broken("c")])
    assert (batch["labels"] == -100).all()
    assert (batch["facts"].masked_rows, batch["facts"].supervised) == (2, 0)


def test_a_row_with_nothing_supervised_is_an_error_with_its_id(tiny):
    processor = load_processor(tiny("llava", False))
    # Marks in a branch that is never taken: without a check, training would run and learn nothing.
    processor.chat_template += "{% if false %}{% generation %}{% endgeneration %}{% endif %}"
    with pytest.raises(
        RowFault, match=r"row q7: .*llava-unmarked puts none of the assistant's text .* nothing would be"
    ):
        Collator(processor)([question(name="q7")])


def test_an_image_the_processor_refuses_is_told_with_the_row(processor_of):
    rows = [question("Yes.", png()), question("Yes.", png(), png(1, 300), name="thin")]
    for collate in (Collator(processor_of("qwen2_vl")), PromptCollator(processor_of("qwen2_vl"))):
        with pytest.raises(
            ImageFault, match="row thin, image 2: 1 x 300 pixels: Qwen2VLProcessor refuses it: absolute"
        ):
            collate(rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("marks", [True, False])
def test_the_prompt_to_generate_from_is_the_start_of_what_is_trained(family, marks, processor_of, demo_rows):
    processor = processor_of(family, marks)
    rows = [
        *demo_rows[:5],
        row(("user", [text("See:\n"), IMAGE, text("\nNow?")]), ("assistant", "Yes."), images=[png()]),
    ]
    trained, asked = Collator(processor)(rows), PromptCollator(processor)(rows)
    facts = asked.pop("facts")
    assert facts.ids == trained["facts"].ids and facts.supervised == 0
    assert "labels" not in asked
    assert asked["attention_mask"][:, -1].all(), "prompts are not padded on the left"
    for place in range(len(rows)):
        prompt = asked["input_ids"][place][asked["attention_mask"][place].bool()].tolist()
        first = int((trained["labels"][place] != -100).nonzero()[0])
        assert trained["input_ids"][place][:first].tolist() == prompt


def test_the_opening_token_is_there_once(processor_of):
    processor = processor_of("gemma3")  # the template and the tokenizer both write it
    for collate in (Collator(processor), PromptCollator(processor)):
        ids = collate([question("Yes.", png())])["input_ids"][0].tolist()
        assert ids.count(processor.tokenizer.bos_token_id) == 1 and ids[0] == processor.tokenizer.bos_token_id


def test_the_opening_token_is_added_where_the_template_leaves_it_out(tiny):
    processor = load_processor(tiny("gemma3"))
    processor.chat_template = processor.chat_template.replace("{{ bos_token }}", "")
    batch = Collator(processor)([question("Yes.", png())])
    assert batch["input_ids"][0].tolist().count(processor.tokenizer.bos_token_id) == 1
    assert learnt(processor, batch) == "Yes.<end_of_turn>"


@pytest.mark.parametrize("family", FAMILIES)
def test_collators_pickle(family, processor_of, demo_rows):
    for collate in (Collator(processor_of(family), max_length=999), PromptCollator(processor_of(family))):
        one, other = collate(demo_rows[:3]), pickle.loads(pickle.dumps(collate))(demo_rows[:3])
        assert one.pop("facts") == other.pop("facts")
        assert set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_loader_workers_make_the_same_batches(processor_of, demo_rows):
    some = demo_rows[:8]
    loaders = [
        DataLoader(some, batch_size=4, collate_fn=Collator(processor_of("qwen2_vl")), **options)
        for options in ({}, {"num_workers": 1, "multiprocessing_context": "spawn"})
    ]
    for one, other in zip(*loaders, strict=True):
        assert one.pop("facts") == other.pop("facts")
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_mask_of_the_prompt_is_that_of_the_text(processor_of):
    supervision = Supervision(processor_of("llava"))
    several = row(("user", "A?"), ("assistant", "First."), ("user", "B?"), ("assistant", "Second."))
    batch = Collator(processor_of("llava"))([several])
    assert learnt(processor_of("llava"), batch) == "First.<|im_end|>Second.<|im_end|>"
    assert supervision.prompt(several).endswith("B?<|im_end|>\n<|im_start|>assistant\n")
