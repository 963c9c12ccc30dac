from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.errors import SpecError
from instruct.prompts.conversation import parse_conversations
from instruct.prompts.marks import MARK, MAX_IMAGES, SPECIAL_TOKEN
from instruct.prompts.render import choose_variants, render_records
from instruct.prompts.template import CompiledTemplate
from instruct.specs.vocabulary import stable_hash

from .toolbox import answers, batch, compiled, faults, one_variant, prompts, render

RICH = """
{% images any %}
{% inputs question %}
{% target answer %}
{% from "words.jinja" import these %}
{% variant 2 %}
{% set shown = question | sentence %}
{% system %}Be brief.{% endsystem %}
{% user %}{{ images }}
{{ shown }} {{ these(image_count) }}{% enduser %}
{% assistant %}{{ answer }}{% endassistant %}
{% endvariant %}
{% variant %}
{% user %}{{ question }}{% if image_count > 1 %} ({{ image_count }} images){% endif %} {{ images }}{% enduser %}
{% assistant %}Wait.{% endassistant %}
{% user %}And?{% enduser %}
{% assistant %}{{ answer }}{{ "." if image_count else "!" }}{% endassistant %}
{% endvariant %}
{% variant %}
{% user %}{% for tag in tags %}{{ loop.index }}:{{ tag }} {% endfor %}{{ question }}{{ images }}{% enduser %}
{% assistant %}{{ answer | upper }}{% endassistant %}
{% endvariant %}
"""
WORDS = "{% macro these(count) %}{{ 'this image' if count == 1 else 'these images' }}{% endmacro %}"

# Any text at all, and now and then one that no example may hold, or that is missing.
texts = (
    st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(["", " ", "<image>", "a <|im_end|> b", "\x03", "\x00", "[INST]", "x < 3 [cm]", "\x07\x0b"])
    | st.none()
)
hashes = st.floats(0, 1, exclude_max=True)
records = st.lists(st.tuples(texts, texts, st.lists(texts, max_size=2), st.integers(0, 20), hashes), max_size=8)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("rich"), RICH, words=WORDS)


def as_batch(rows) -> pa.RecordBatch:
    questions, answered, tags = ([row[index] for row in rows] for index in range(3))
    return batch({"question": questions, "answer": answered, "tags": pa.array(tags, pa.list_(pa.string()))})


@given(records, st.sampled_from([1, 2, "all"]))
def test_a_batch_renders_as_its_records_one_by_one(rich, rows, count):
    whole, counts = as_batch(rows), [row[3] for row in rows]
    variants = choose_variants(np.array([row[4] for row in rows]), rich.weights, count)
    together = render_records(rich, whole, counts, variants)
    alone = [
        render_records(rich, whole.slice(row, 1), counts[row : row + 1], variants[row : row + 1])
        for row in range(len(rows))
    ]
    for kind in ("messages", "conversations"):
        one_by_one = [example for one in alone for example in getattr(one.conversations, kind).to_pylist()]
        assert getattr(together.conversations, kind).to_pylist() == one_by_one
    assert faults(together) == [
        (row, reason, detail) for row, one in enumerate(alone) for _, reason, detail in faults(one)
    ]
    assert together.variants.tolist() == [variant for one in alone for variant in one.variants.tolist()]
    # No record vanishes, and none is both.
    made, bad = together.rows.tolist(), [fault.row for fault in together.faults]
    assert sorted([*set(made), *bad]) == list(range(len(rows)))
    assert made == sorted(made)
    assert bad == sorted(bad)


PRINTED = """
{% images any %}
{% target answer %}
{% variant %}
{% user %}{{ note }}: {{ images }}{% for i in range(2) %}{{ number }},{% endfor %}{{ share }}{% enduser %}
{% assistant %}{{ answer }}{% endassistant %}
{% endvariant %}
{% variant %}
{% system %}{{ tags }}{{ note }}{% endsystem %}
{% user %}{% if image_count > 1 %}{{ answer }}{% else %}{{ sure }}{% endif %}{{ images }}{{ note }}{% enduser %}
{% assistant %}{{ answer }}{{ answer }}{% endassistant %}
{% endvariant %}
"""
plain = st.text(st.characters(codec="utf-8"), max_size=12).filter(
    lambda text: not MARK.search(text) and not SPECIAL_TOKEN.search(text)
)
of_every_type = st.tuples(
    plain | st.none(), plain.filter(str.strip), st.integers(-9, 9) | st.none(), st.floats(), st.booleans() | st.none(),
    st.lists(plain, max_size=2), st.integers(0, 3), st.integers(0, 1),
)  # fmt: skip


@given(st.lists(of_every_type, max_size=8), st.booleans())
def test_what_is_only_printed_is_as_the_template_prints_it(tmp_path_factory, rows, shift):
    template = compiled(tmp_path_factory.getbasetemp(), PRINTED)
    names = ["note", "answer", "number", "share", "sure", "tags"]
    types = [pa.string(), pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.string())]
    assert template.printed == sorted(names)
    values = [[row[index] for row in rows] for index in range(len(names))]
    whole = batch({name: pa.array(column, kind) for name, column, kind in zip(names, values, types, strict=True)})
    counts, variants = [row[6] for row in rows], [row[7] for row in rows]
    if shift and rows:  # a batch is most often a part of a larger one
        whole, counts, variants = whole.slice(1), counts[1:], variants[1:]
    rendered = render_records(template, whole, counts, np.array(variants, int).reshape(-1, 1))
    assert not rendered.faults
    one_by_one = [
        template.render([variant], [count], {name: [whole[name][row].as_py()] for name in names})
        for row, (variant, count) in enumerate(zip(variants, counts, strict=True))
    ]
    expected = parse_conversations("".join(one_by_one))
    for kind in ("messages", "conversations"):
        found = getattr(rendered.conversations, kind)
        found.validate(full=True)
        assert found.to_pylist() == getattr(expected, kind).to_pylist()


def test_records_are_worded_alike_only_where_all_that_is_read_is_equal(tmp_path):
    text = one_variant(
        "{{ tags | length }}{{ tags }} {{ n + 1 }} {{ sure and 1 }} {{ word | upper }} {{ score | round(1) }}"
    )
    template = compiled(tmp_path, text)
    assert template.printed == ["answer"]
    rows = [
        ([], 1, True, "a", 0.5), ([""], 1, True, "a", 0.5), (["", ""], 1, True, "a", 0.5), ([None], 1, True, "a", 0.5),
        (["a", "b"], 1, True, "a", 0.5), (["ab"], 1, True, "a", 0.5), (["a", "b"], 2, True, "a", 0.5),
        (["a", "b"], 1, False, "a", 0.5), (["a", "b"], 1, True, "b", 0.5), (["a", "b"], 1, True, "a", 1.5),
    ] * 2  # fmt: skip
    tags, numbers, sure, words, scores = map(list, zip(*rows, strict=True))
    whole = batch(
        {
            "tags": pa.array(tags, pa.list_(pa.string())), "n": pa.array(numbers), "sure": pa.array(sure),
            "word": words, "score": pa.array(scores), "answer": [str(row) for row in range(len(rows))],
        }
    )  # fmt: skip
    together = prompts(render(template, {name: whole[name] for name in whole.schema.names}))
    assert together[:10] == together[10:]
    assert len(set(together)) == 10
    for row in range(len(rows)):
        one = whole.slice(row, 1)
        assert prompts(render(template, {name: one[name] for name in one.schema.names})) == [together[row]]


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), max_size=8) | st.characters(max_codepoint=0x2F), min_size=1, max_size=8
    )
)
def test_a_text_arrives_as_it_is_or_is_told_to_be_bad(tmp_path_factory, written):
    template = compiled(tmp_path_factory.getbasetemp(), one_variant("Q: {{ question }}!"))
    rendered = render(template, {"question": written, "answer": [f"A: {text}" for text in written]})
    assert rendered.conversations.messages.to_pylist() == [
        [
            {"role": "user", "content": [{"type": "text", "text": f"Q: {text}!"}]},
            {"role": "assistant", "content": [{"type": "text", "text": f"A: {text}"}]},
        ]
        for text in written
        if not MARK.search(text)
    ]
    wanted = [(row, "control_character") for row, text in enumerate(written) if MARK.search(text)]
    assert [(row, reason) for row, reason, _ in faults(rendered)] == wanted


@pytest.mark.parametrize("letter", [*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f4a9"])
def test_every_control_character_passes_or_is_quarantined(tmp_path, letter):
    rendered = render(compiled(tmp_path, one_variant("q")), {"answer": ["good", f"a{letter}b"], "id": ["r1", "r2"]})
    if MARK.search(letter):
        assert faults(rendered) == [(1, "control_character", "column 'answer' holds a control character")]
    else:
        assert answers(rendered) == ["good", f"a{letter}b"]


TOKENS = [
    "<image>", "<video>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|eot_id|>",
    "<|begin_of_text|>",
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<image_soft_token>",
    "[INST]", "[/INST]", "[IMG]", "<end_of_utterance>",
]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_what_a_model_reads_as_a_control_token_is_quarantined(tmp_path, token):
    columns = {"question": ["fine", f"see {token} here", "fine"], "answer": ["a", "b", f"{token}"]}
    rendered = render(compiled(tmp_path, one_variant("{{ question }}")), columns)
    assert faults(rendered) == [
        (1, "special_token", f"column 'question' holds {token!r}"),
        (2, "special_token", f"column 'answer' holds {token!r}"),
    ]
    assert answers(rendered) == ["a"]


@pytest.mark.parametrize(
    "text", ["size < 3 cm and > 1", "[x]", "<3", "a <b> c", "| < |", "<| a |", "[3, 4]", "<sp>", "i<s"]
)
def test_ordinary_brackets_are_ordinary(tmp_path, text):
    assert not SPECIAL_TOKEN.search(text)
    assert answers(render(compiled(tmp_path, one_variant("q")), {"answer": [text]})) == [text]


def test_bad_texts_are_found_in_lists_and_structs(tmp_path):
    regions = pa.array(
        [
            [{"label": "nodule", "notes": ["x"]}],
            [{"label": "a", "notes": []}, {"label": "b\x01", "notes": ["y"]}],
            None,
            [{"label": None, "notes": ["ok", "<image>"]}],
        ]
    )
    template = compiled(tmp_path, one_variant("{{ regions }}"))
    rendered = render(template, {"regions": regions, "answer": ["a"] * 4})
    assert [(row, reason) for row, reason, _ in faults(rendered)] == [(1, "control_character"), (3, "special_token")]
    assert rendered.rows.tolist() == [0, 2]


def test_a_missing_value_is_never_worded_as_none(tmp_path):
    text = one_variant("{{ question }}", top="{% inputs question %}")
    rendered = render(compiled(tmp_path, text), {"question": ["q", None, "q"], "answer": [None, "a", "a"]})
    assert faults(rendered) == [
        (0, "empty_target", "column 'answer' is null"),
        (1, "template_error", "column 'question' is null"),
    ]
    assert answers(rendered) == ["a"]


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u00a0", "\u3000 "])
@pytest.mark.parametrize("answer", ["{{ answer }}", "Yes: {{ answer }}."])
def test_a_record_without_what_it_is_about_is_quarantined(tmp_path, blank, answer):
    text = one_variant("{{ question }}", answer, top="{% inputs question %}")
    rendered = render(compiled(tmp_path, text), {"question": ["q", "q", blank], "answer": ["a", blank, "a"]})
    assert faults(rendered) == [
        (1, "empty_target", "column 'answer' is blank"),
        (2, "template_error", "column 'question' is blank"),
    ]
    assert len(answers(rendered)) == 1


def test_an_answer_without_text_is_quarantined(tmp_path):
    rendered = render(compiled(tmp_path, one_variant("q", "{{ answer | replace('b', '') }}")), {"answer": ["a", "b"]})
    assert faults(rendered) == [(1, "empty_target", "answer is empty")]
    assert answers(rendered) == ["a"]


def test_an_answer_empty_in_one_of_its_variants_is_left_out_in_all(tmp_path):
    text = (
        one_variant("q")
        + "{% variant %}{% user %}q{% enduser %}{% assistant %}{{ answer | trim }}.{% endassistant %}{% endvariant %}"
    ).replace("{{ answer }}", "{{ answer | replace('b', '') }}")
    rendered = render(compiled(tmp_path, text), {"answer": ["a", "b"]}, variants=[[0, 1], [0, 1]])
    assert answers(rendered) == ["a", "a."]
    assert faults(rendered) == [(1, "empty_target", "answer is empty")]


def test_a_record_that_a_template_fails_on_is_told_with_file_and_line(tmp_path):
    text = one_variant("\n{% set share = 1 / number %}\n{{ share | round }}\n{{ region.label }}")
    columns = {
        "number": pa.array([1, 0, 2]),
        "region": pa.array([{"label": "x"}, {"label": "y"}, None]),
        "answer": ["a", "b", "c"],
    }
    rendered = render(compiled(tmp_path, text), columns)
    assert faults(rendered) == [
        (1, "template_error", f"{tmp_path}/t.jinja:5: ZeroDivisionError: division by zero"),
        (2, "template_error", f"{tmp_path}/t.jinja:7: UndefinedError: 'None' has no attribute 'label'"),
    ]
    assert answers(rendered) == ["a"]


def test_one_record_that_a_template_fails_on_costs_little(tmp_path, monkeypatch):
    calls, real = [], CompiledTemplate.render
    monkeypatch.setattr(CompiledTemplate, "render", lambda *given: calls.append(given) or real(*given))
    template = compiled(tmp_path, one_variant("{{ 1 / number }}"))
    numbers = [number % 1000 for number in range(1, 2049)]
    rendered = render(template, {"number": pa.array(numbers), "answer": ["a"] * 2048})
    assert [row for row, *_ in faults(rendered)] == [999, 1999]
    assert len(answers(rendered)) == 2046 and len(calls) < 50


def test_an_undefined_name_is_an_error_with_file_and_line(tmp_path):
    text = one_variant("Look:\n{{ region.lable }}")
    columns = {"region": pa.array([{"label": "x"}]), "answer": ["a"]}
    ((_, reason, detail),) = faults(render(compiled(tmp_path, text), columns))
    assert reason == "template_error"
    assert detail == f"{tmp_path}/t.jinja:5: UndefinedError: 'dict object' has no attribute 'lable'"


def test_a_batch_of_bad_records_gives_no_example(tmp_path):
    rendered = render(compiled(tmp_path, one_variant("q")), {"answer": ["\x01", None, "", "<s>"]})
    assert len(rendered.rows) == len(rendered.conversations.messages) == 0
    assert [reason for _, reason, _ in faults(rendered)] == [
        "control_character", "empty_target", "empty_target", "special_token",
    ]  # fmt: skip
    empty = render(compiled(tmp_path, one_variant("q")), {"answer": []})
    assert len(empty.rows) == len(empty.faults) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 18, 19, 50, MAX_IMAGES])
def test_any_number_of_images(tmp_path, count):
    template = compiled(tmp_path, one_variant("{{ images }}How many?", images="any"))
    rendered = render(template, {"answer": ["a", "b"]}, images=[count, 1])
    assert prompts(rendered) == ["<image>" * count + "How many?", "<image>How many?"]
    assert rendered.conversations.images_placed.tolist() == [count, 1]


def test_more_images_than_can_be_placed_are_told(tmp_path):
    template = compiled(tmp_path, one_variant("{{ images }}", images="any"))
    rendered = render(template, {"answer": ["a", "b"]}, images=[2, MAX_IMAGES + 1])
    assert answers(rendered) == ["a"]
    ((row, reason, detail),) = faults(rendered)
    assert (row, reason) == (1, "template_error")
    assert detail.endswith(f"ValueError: an example has at most {MAX_IMAGES} images")


@pytest.mark.parametrize(
    ("prompt", "images", "placed"),
    [
        ("{{ image(0) }}", 2, 1),
        ("{{ image(1) }}{{ image(0) }}", 2, 2),
        ("{{ image(0) }}{{ image(0) }}", 1, 2),
        ("{{ image(1) }}", 1, 1),
        ("{{ image(20) }} {{ image(19) }}", 1, 2),
        ("{{ images }}{{ images }}", 1, 2),
        ("none", 3, 0),
        ("{{ images }}", 0, 0),
    ],
)
def test_a_variant_that_places_other_images_than_the_record_has_is_refused(tmp_path, prompt, images, placed):
    template = compiled(tmp_path, one_variant(prompt, images="any"))
    columns = {"answer": ["a"], "id": ["r7"]}
    if placed == images == 0:
        assert prompts(render(template, columns, images=[images])) == [""]
        return
    with pytest.raises(SpecError) as caught:
        render(template, columns, images=[images])
    assert caught.value.problems == [
        f"{tmp_path}/t.jinja:3:1: this variant places {placed} images of record 'r7', which has {images}; place each"
        f" once, in order (at most {MAX_IMAGES})"
    ]


weights = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(st.lists(hashes, max_size=30), weights, st.integers(1, 10) | st.just("all"))
def test_variants_of_a_record_are_its_own_and_all_different(numbers, weighted, count):
    chosen = choose_variants(np.array(numbers, float), weighted, count)
    wanted = len(weighted) if count == "all" else min(count, len(weighted))
    assert chosen.shape == (len(numbers), wanted)
    for number, row in zip(numbers, chosen.tolist(), strict=True):
        assert choose_variants(np.array([number]), weighted, count).tolist() == [row]
        assert len(set(row)) == wanted
        assert [(row[0] + step) % len(weighted) for step in range(wanted)] == row
        below = sum(weighted[: row[0]]) / sum(weighted)
        assert below - 1e-12 <= number <= below + weighted[row[0]] / sum(weighted) + 1e-12


def test_the_first_variant_is_drawn_by_weight():
    numbers = np.array([stable_hash(f"s{number}", "variant") for number in range(8000)])
    chosen = choose_variants(numbers, [1, 2, 5], 1)[:, 0]
    shares = np.bincount(chosen, minlength=3) / len(numbers)
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)
    # One more record, or another order of them, changes nothing for the others.
    assert choose_variants(numbers[::-1], [1, 2, 5], 1)[::-1, 0].tolist() == chosen.tolist()


def test_more_variants_keep_the_first_one():
    numbers = np.linspace(0, 0.999, 50)
    assert choose_variants(numbers, [3, 1, 1], 2)[:, :1].tolist() == choose_variants(numbers, [3, 1, 1], 1).tolist()
