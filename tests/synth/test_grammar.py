import numpy as np
import pytest

from instruct.synth import grammar, phrases, phrases_past
from instruct.synth.grammar import Voice
from instruct.synth.keyed import Draws
from instruct.synth.state import ChestState, draw_states

from . import recount

N = 1500
DRAWS = Draws(9, "grammar")
STATES = draw_states(DRAWS, np.arange(N) % 2)
PRIOR_AND_NOW = [(STATES.at(k - 1), STATES.at(k)) for k in range(1, N, 2)]
SECTIONS = (grammar.findings, grammar.impression)


def leaves(bank):
    if isinstance(bank, str):
        return [bank]
    return [leaf for part in (bank.values() if isinstance(bank, dict) else bank) for leaf in leaves(part)]


def banks(module):
    names = (name for name in vars(module) if name.isupper() and name[0] != "_")
    return {name: leaves(getattr(module, name)) for name in names if name not in ("KEYWORDS", "UNWANTED")}


def test_keywords_are_the_published_ones():
    assert list(phrases.KEYWORDS) == recount.WORDS


@pytest.mark.parametrize("name", sorted(banks(phrases)))
def test_present_phrases_hold_no_keyword(name):
    assert [text for text in banks(phrases)[name] if recount.has_word(text)] == []


@pytest.mark.parametrize("name", sorted(banks(phrases_past)))
def test_past_phrases_hold_a_keyword_exactly_where_they_should(name):
    free = {"SYMPTOMS", "INDICATION", "INDICATION_WITH_PERSON", "NO_COMPARISON", "COMPARISON"}
    wrong = [text for text in banks(phrases_past)[name] if recount.has_word(text) == (name in free)]
    assert wrong == []


def test_every_keyword_has_a_phrase():
    texts = [text.lower() for bank in banks(phrases_past).values() for text in bank]
    assert [word for word in recount.WORDS if not any(word in text for text in texts)] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_plain_text_has_no_keyword_and_no_open_slot(section):
    for k in range(N):
        text = section(STATES.at(k), DRAWS.stream("plain", k))
        assert not recount.has_word(text), text
        assert "[" not in text and "{" not in text and "  " not in text, text
        assert not any(mark in text for mark in phrases.UNWANTED), text


@pytest.mark.parametrize("section", SECTIONS)
def test_change_always_has_a_keyword_outside_of_longer_words(section):
    for k, (prior, now) in enumerate(PRIOR_AND_NOW):
        text = section(now, DRAWS.stream("change", k), Voice.CHANGE, prior)
        assert recount.has_word(text) and not recount.only_inside_longer_words(text), text
        assert "[" not in text, text


@pytest.mark.parametrize("section", SECTIONS)
def test_change_needs_an_earlier_state(section):
    with pytest.raises(ValueError, match="earlier study"):
        section(ChestState(), DRAWS.stream("x", 0), Voice.CHANGE)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("voice", [Voice.HISTORY, *grammar.TRAP_VOICES])
def test_history_and_traps(section, voice):
    for k in range(300):
        text = section(STATES.at(k), DRAWS.stream(voice.value, k), voice)
        assert recount.has_word(text), text
        assert recount.only_inside_longer_words(text) == (voice is not Voice.HISTORY), text


def test_findings_name_what_the_state_has():
    for k in range(N):
        state = STATES.at(k)
        text = grammar.findings(state, DRAWS.stream("names", k)).lower()
        for level, side in ((state.effusion_right, "right"), (state.effusion_left, "left")):
            assert (f"{side} pleural effusion" in text) == bool(level), text
        rest = text.replace("not enlarged", "")
        assert any(word in rest for word in ("enlarge", "cardiomegaly")) == (state.heart > 0), text
        assert ("right pneumothorax" in text) == (state.pneumothorax == 1), text
        assert ("pacemaker" in text) == (state.device == 2), text


def test_impression_of_a_normal_chest_is_normal_and_of_an_acute_one_is_not():
    for k in range(N):
        state = STATES.at(k)
        text = grammar.impression(state, DRAWS.stream("impression", k))
        assert (text in phrases.NORMAL_IMPRESSION) == state.normal or (not state.acute and state.device), text


def test_appearing_and_clearing_are_said():
    clear, sick = ChestState(), ChestState(effusion_left=2)
    appeared = grammar.impression(sick, DRAWS.stream("a", 0), Voice.CHANGE, clear).lower()
    cleared = grammar.impression(clear, DRAWS.stream("a", 1), Voice.CHANGE, sick).lower()
    assert "moderate left pleural effusion" in appeared
    assert "effusion" in cleared
    for k in range(50):
        same = grammar.findings(sick, DRAWS.stream("b", k), Voice.CHANGE, sick)
        assert not same.startswith("New") and "resol" not in same


def test_indication_and_comparison():
    for k in range(500):
        stream = DRAWS.stream("front", k)
        assert not recount.has_word(grammar.indication(stream, "62-year-old female"))
        assert recount.has_word(grammar.indication(stream, "62-year-old female", keyword=True))
        plain = grammar.comparison(stream, "01/02/2010")
        assert "01/02/2010" in plain and not recount.has_word(plain)
        assert recount.has_word(grammar.comparison(stream, "01/02/2010", keyword=True))


def test_clock_sentences():
    for k in range(100):
        stream = DRAWS.stream("clock", k)
        unwanted = grammar.clock(stream, phrases.CLOCK)
        assert any(mark in unwanted for mark in phrases.UNWANTED)
        assert not any(mark in grammar.clock(stream, phrases.CLOCK_WITHOUT_DOTS) for mark in phrases.UNWANTED)


def test_states_keep_chronic_findings_and_the_place_of_an_opacity():
    moved = 0
    for prior, now in PRIOR_AND_NOW:
        for name in ("degenerative", "granuloma", "aorta", "fracture", "hyperinflation"):
            assert getattr(prior, name) == getattr(now, name)
        if prior.opacity:
            assert prior.zone == now.zone
        moved += prior != now
    assert 0.3 * len(PRIOR_AND_NOW) < moved < 0.95 * len(PRIOR_AND_NOW)
