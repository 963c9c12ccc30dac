import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.prompts.menu import STYLES, chosen, menu, read_choices

ANSWER_STYLES = (*STYLES, "text", "key")
# Choices as findings are worded: several letters, no comma or line break, different beyond the case of letters.
PARTS = st.sampled_from([
    "lung", "Lung", "left", "LEFT", "right", "no", "No", "Pneumonia", "effusion", "T2", "7", "10", "(left)",
    "Épanchement", "nodule/mass", "x-ray", "Crohn's", "finding", "A", "B", "and", "or",
])  # fmt: skip
WORDS = st.lists(PARTS, min_size=1, max_size=4).map(" ".join).filter(lambda text: len(text) > 2)
OPTIONS = st.lists(WORDS, min_size=1, max_size=40, unique_by=str.casefold)


@st.composite
def questions(draw):
    options = draw(OPTIONS)
    places = draw(st.sets(st.integers(0, len(options) - 1), min_size=1))
    return options, [options[place] for place in sorted(places)]


@pytest.mark.parametrize("style", ANSWER_STYLES)
@given(question=questions(), order=st.randoms(use_true_random=False))
def test_an_answer_is_read_as_what_was_chosen(style, question, order):
    options, answers = question
    given_answers = list(answers)
    order.shuffle(given_answers)
    assert read_choices(chosen(given_answers, options, style), options) == answers


@pytest.mark.parametrize("style", STYLES)
@given(question=questions())
def test_the_answer_matches_the_menu_shown(style, question):
    options, answers = question
    shown, said = menu(options, style), chosen(answers, options, style)
    if style == "inline":
        assert all(answer in shown for answer in answers)
        assert said == ", ".join(answers)
    else:
        lines = shown.split("\n")
        assert len(lines) == len(options)
        picked = said.split("\n")
        assert [options[lines.index(line)] for line in picked] == answers
        assert [line for line in lines if line in picked] == picked


@given(question=questions())
def test_letters_alone_point_into_the_lettered_menu(question):
    options, answers = question
    lines = menu(options, "letters").split("\n")
    keys = chosen(answers, options, "key").split(", ")
    assert [line.removeprefix(f"({key}) ") for key in keys for line in lines if line.startswith(f"({key}) ")] == answers


@pytest.mark.parametrize("style", STYLES)
@given(options=OPTIONS, order=st.randoms(use_true_random=False))
def test_every_order_of_the_options_is_answered_in_its_own_letters(style, options, order):
    shuffled = list(options)
    order.shuffle(shuffled)
    for answer in options[:5]:
        assert read_choices(chosen(answer, shuffled, style), shuffled) == [answer]


OPTIONS_OF_ONE = ["pneumonia", "normal", "no pneumonia", "effusion (L)"]


@pytest.mark.parametrize(
    ("answer", "choices"),
    [
        ("B", ["normal"]),
        ("b", ["normal"]),
        ("(B)", ["normal"]),
        ("B.", ["normal"]),
        ("B) something else", ["normal"]),
        ("2", ["normal"]),
        ("2.", ["normal"]),
        ("Answer: B", ["normal"]),
        ("The correct answer is (B).", ["normal"]),
        ("Option B", ["normal"]),
        ("A, C", ["pneumonia", "no pneumonia"]),
        ("A and C", ["pneumonia", "no pneumonia"]),
        ("(c)\n(a)", ["pneumonia", "no pneumonia"]),
        ("No pneumonia.", ["no pneumonia"]),
        ("The chest is NORMAL", ["normal"]),
        ("no  pneumonia, normal", ["normal", "no pneumonia"]),
        ("effusion (L)", ["effusion (L)"]),
        ("(A) normal", ["normal"]),
        ("1. pneumonia\n2. normal", ["pneumonia", "normal"]),
        ("A large heart", None),
        ("abnormality", None),
        ("1.5 cm", None),
        ("E", None),
        ("(Z)", None),
        ("0", None),
        ("", None),
    ],
)
def test_answers_of_models(answer, choices):
    assert read_choices(answer, OPTIONS_OF_ONE) == choices


def test_choices_that_are_numbers_or_letters_are_read_as_words():
    assert read_choices("3", ["1", "3", "2"]) == ["3"]
    assert read_choices("2. 3", ["1", "3", "2"]) == ["3"]
    assert read_choices(chosen("2", ["1", "3", "2"], "numbers"), ["1", "3", "2"]) == ["2"]
    assert read_choices("B", ["B", "A"]) == ["B"]
    assert read_choices("(B) A", ["B", "A"]) == ["A"]


def test_more_choices_than_letters():
    options = [f"choice number {number}" for number in range(60)]
    lines = menu(options).split("\n")
    assert lines[25:28] == ["(Z) choice number 25", "(AA) choice number 26", "(AB) choice number 27"]
    assert read_choices("AB", options) == ["choice number 27"]
    assert read_choices("(BH)", options) == ["choice number 59"]
    assert read_choices("(BI)", options) is None


def test_what_cannot_be_shown_or_answered():
    with pytest.raises(ValueError, match="without choices"):
        menu([], "inline")
    with pytest.raises(ValueError, match="no menu style 'roman'"):
        menu(["a"], "roman")
    with pytest.raises(ValueError, match=r"'c' is not among the options \['a', 'b'\]"):
        chosen(["a", "c"], ["a", "b"])
