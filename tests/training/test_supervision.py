"""What is supervised: marks and prefix difference agree, and what cannot be told is an error."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.testing.tiny import FAMILIES
from instruct.training.collate import Collator
from instruct.training.lengths import Lengths
from instruct.training.processor import load_processor, special_tokens
from instruct.training.supervision import RowFault, Supervision
from tests.conftest import REPOSITORY
from tests.training.rows import IMAGE, png, question, row, text

# LLaVA-1.5's own template: images first, no token after an answer.
VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# As templates of thinking models: an earlier answer loses a part once a later turn follows.
FORGETFUL = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{{ part['text'] if loop.last and loop.first else '' }}{% endfor %}"
    "{% if message['role'] == 'assistant' and not loop.last %}{{ '(earlier)' }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

words = st.text(st.sampled_from("heart lung.\n ,é0"), min_size=1, max_size=40)
answers = words.filter(str.strip)


@st.composite
def conversations(draw):
    """A system turn or none, then one to three questions and answers, with images among the words of a question."""
    turns, images = [], []
    if draw(st.booleans()):
        turns.append(("system", draw(words)))
    for _ in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.sampled_from([IMAGE, None]), min_size=1, max_size=3))
        asked = [part or text(draw(words)) for part in parts]
        images += [png(*draw(st.tuples(st.integers(8, 300), st.integers(8, 300)))) for part in parts if part]
        turns += [("user", asked), ("assistant", draw(answers))]
    return row(*turns, images=images)


@cache
def unchanged(folder):
    """A processor of the folder, apart from that of other tests."""
    processor = load_processor(folder)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})  # ends turns of LLaVA-NeXT
    return processor


def learnt(processor, example):
    """The supervised text of a row, span by span."""
    rendered = Supervision(processor).render(example)
    return [rendered.text[start:end] for start, end in rendered.spans]


@pytest.mark.parametrize("family", FAMILIES)
@given(example=conversations())
def test_marks_and_prefix_difference_say_the_same(family, example, processor_of):
    marked, unmarked = (Lengths(processor_of(family, marks)) for marks in (True, False))
    assert (marked.supervision.method, unmarked.supervision.method) == ("generation marks", "prefix difference")
    sizes = [(90, 60)] * len(example["images"])
    one, other = marked.tokens(example, sizes), unmarked.tokens(example, sizes)
    assert one.ids.tolist() == other.ids.tolist()
    assert one.supervised.tolist() == other.supervised.tolist()
    assert one.closed and other.closed


@pytest.mark.parametrize("family", FAMILIES)
@given(example=conversations())
def test_the_library_supervises_the_same_tokens(family, example, processor_of):
    processor = processor_of(family)
    ours = Collator(processor)([example])
    ours.pop("facts")
    turns = [
        {"role": turn["role"], "content": [{k: v for k, v in part.items() if v} for part in turn["content"]]}
        for turn in example["messages"]
    ]
    from instruct.training.images import open_images

    theirs = processor.apply_chat_template(
        [turns],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        processor_kwargs={"images": [open_images(example)]} if example["images"] else {},
    )
    assert ours["input_ids"][0].tolist() == list(theirs["input_ids"][0])
    image_tokens = np.isin(theirs["input_ids"][0], list(getattr(processor, "image_token_ids", [])))
    assert not image_tokens[np.asarray(theirs["assistant_masks"][0], bool)].any()
    assert (ours["labels"][0] != -100).tolist() == [bool(one) for one in theirs["assistant_masks"][0]]


@pytest.mark.parametrize(
    ("template", "family"),
    [
        ("gemma3", "gemma3"),
        ("idefics3", "idefics3"),
        ("llava_next", "llava"),
        ("qwen2_5_vl", "qwen2_vl"),
        ("qwen3_vl", "qwen2_vl"),
        ("smolvlm", "idefics3"),
    ],
)
@given(example=conversations())
def test_published_templates_without_marks_give_what_the_marked_ones_of_trl_give(template, family, example, tiny):
    found = find_spec("trl")
    if found is None or found.origin is None:
        pytest.skip("trl is not installed")
    made = []
    for name in (f"{template}.jinja", f"{template}_training.jinja"):
        processor = unchanged(tiny(family))
        processor.chat_template = (Path(found.origin).parent / "chat_templates" / name).read_text("utf-8")
        made.append(Supervision(processor).render(example))
    assert made[0] == made[1] and made[0].closed


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize(
    ("family", "end"),
    [
        ("llava", "<|im_end|>"),
        ("qwen2_vl", "<|im_end|>"),
        ("idefics3", "<end_of_utterance>"),
        ("gemma3", "<end_of_turn>"),
    ],
)
def test_every_answer_and_its_end_are_learnt_and_nothing_else(family, end, marks, processor_of):
    example = row(
        ("system", "Be brief."),
        ("user", [text("A "), IMAGE, text("?")]),
        ("assistant", "First."),
        ("user", "B?"),
        ("assistant", "Second."),
        images=[png()],
    )
    assert [span.strip() for span in learnt(processor_of(family, marks), example)] == [f"First.{end}", f"Second.{end}"]


def test_a_template_that_ends_answers_with_nothing_gets_the_end_token(tiny):
    for template in (VICUNA, VICUNA.replace("{% generation %}", "").replace("{% endgeneration %}", "")):
        processor = load_processor(tiny("llava"))
        processor.chat_template = template
        rendered = Supervision(processor).render(question("Large. ", png()))
        assert rendered.text.endswith("ASSISTANT: Large.<|im_end|>") and rendered.closed
        start, end = rendered.spans[-1]
        assert rendered.text[start:end].strip() == "Large.<|im_end|>"


def test_marks_that_leave_the_end_out_are_reported_as_unclosed(tiny):
    processor = load_processor(tiny("llava"))
    processor.chat_template = processor.chat_template.replace(
        "{{ '<|im_end|>' }}{% endgeneration %}", "{% endgeneration %}{{ '<|im_end|>' }}"
    )
    rendered = Supervision(processor).render(question("Large."))
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["Large."]
    assert not rendered.closed


def test_a_template_that_rewrites_earlier_turns_is_named(tiny):
    processor = load_processor(tiny("llava", False))
    processor.chat_template = FORGETFUL
    assert learnt(processor, question("Large.")) == ["Large.<|im_end|>"]
    two = row(("user", "A?"), ("assistant", "First."), ("user", "B?"), ("assistant", "Second."), name="r9")
    with pytest.raises(DataError, match=r"row r9: the chat template of .*llava-unmarked writes turn 2 otherwise") as it:
        Supervision(processor).render(two)
    assert not isinstance(it.value, RowFault), "the template is at fault, not the row"
    assert "{% generation %}" in str(it.value)


def test_a_template_that_fails_on_a_row_is_named(tiny):
    processor = load_processor(tiny("llava"))
    processor.chat_template = "{{ raise_exception('roles must alternate') }}{% generation %}{% endgeneration %}"
    with pytest.raises(RowFault, match=r"row a: the chat template of .* fails: roles must alternate") as caught:
        Supervision(processor).render(question())
    assert caught.value.reason == "template_error"


def test_marks_around_nothing_are_an_error(tiny):
    processor = load_processor(tiny("llava"))
    processor.chat_template = (
        "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}"
        "{% if false %}{% generation %}{% endgeneration %}{% endif %}"
    )
    with pytest.raises(RowFault, match=r"row a: .* nothing would be learnt") as caught:
        Supervision(processor).render(question())
    assert caught.value.reason == "nothing_to_learn"


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_a_control_token_in_a_text_is_refused(family, data, processor_of):
    token = data.draw(st.sampled_from(sorted(special_tokens(processor_of(family)))))
    role = data.draw(st.sampled_from(["system", "user", "assistant"]))
    dirty = row(
        *((one, f"Lungs {token} clear." if one == role else "Fine.") for one in ("system", "user", "assistant")),
        name="s1",
    )
    with pytest.raises(RowFault) as caught:
        Supervision(processor_of(family)).render(dirty)
    assert caught.value.reason == "special_token"
    assert str(caught.value) == f"row s1: a text of the {role} holds {token!r}, a control token of the model"


def test_control_tokens_of_other_families_are_plain_text(processor_of):
    assert learnt(processor_of("llava"), question("A <start_of_image> b.")) == ["A <start_of_image> b.<|im_end|>"]


@pytest.mark.parametrize(
    ("example", "reason", "message"),
    [
        (row(("user", "A?")), "nothing_to_learn", "there is no assistant turn"),
        (row(), "nothing_to_learn", "there is no assistant turn"),
        (question(" \n"), "empty_target", "an assistant turn has no text"),
        (row(("user", "A?"), ("assistant", [])), "empty_target", "an assistant turn has no text"),
        (row(("user", [IMAGE]), ("assistant", "Yes.")), "image_count", "0 images, but .* places 1"),
        (row(("user", "A?"), ("assistant", "Yes."), images=[png()]), "image_count", "1 images, but .* places 0"),
    ],
)
def test_rows_that_cannot_be_trained_on(example, reason, message, processor_of):
    with pytest.raises(RowFault, match=message) as caught:
        Supervision(processor_of("qwen2_vl")).render(example)
    assert caught.value.reason == reason


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_is_what_comes_before_the_last_answer(family, processor_of):
    supervision = Supervision(processor_of(family, False))
    example = row(
        ("user", [IMAGE, text("A?")]), ("assistant", "First."), ("user", "B?"), ("assistant", "Second."), images=[png()]
    )
    rendered = supervision.render(example)
    assert supervision.prompt(example) == rendered.text[: rendered.spans[-1][0]]


def test_the_example_of_the_docs_runs(tiny, capsys):
    page = (REPOSITORY / "docs" / "supervision.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {"row": question("Large.", png())}
    exec(code.replace('"MODEL"', repr(str(tiny("llava")))), names)
    assert capsys.readouterr().out.endswith("tokens, learnt: Large.<|im_end|>\n")
    assert names["facts"].images == 1 and "pixel_values" in names["batch"]


def test_there_is_no_prompt_for_a_row_that_ends_with_a_question(processor_of):
    with pytest.raises(RowFault, match="the last turn is not the assistant's"):
        Supervision(processor_of("llava")).prompt(row(("user", "A?")))
