import numpy as np

from instruct.synth.ids import code, uid
from instruct.synth.keyed import Draws

GOLDEN_INTEGERS = [21, 12, 93, 51, 23, 30]
GOLDEN_STREAM = [558, 914, 305, 432, 602, 651]
GOLDEN_NUMBER = 344824800


def test_a_draw_depends_on_its_name_and_index_only():
    draws = Draws(4, "a", "b")
    index = np.arange(1000)
    whole = draws.uniform("x", index)
    assert np.array_equal(whole[[7, 900]], Draws(4, "a").child("b").uniform("x", np.array([7, 900])))
    others = (draws.uniform("y", index), Draws(5, "a", "b").uniform("x", index), Draws(4, "ab").uniform("x", index))
    for other in others:
        assert abs(np.corrcoef(whole, other)[0, 1]) < 0.1


def test_known_values_hold_on_every_machine():
    draws = Draws(0, "golden")
    assert draws.integers("i", np.arange(6), 100).tolist() == GOLDEN_INTEGERS
    stream = draws.stream("s", 1)
    assert [stream.below(1000) for _ in range(40)][-6:] == GOLDEN_STREAM
    assert draws.number("n", 2) % 10**9 == GOLDEN_NUMBER


def test_uniform_is_uniform():
    values = Draws(1, "u").uniform("x", np.arange(50_000))
    assert values.min() >= 0 and values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    assert abs(counts - 2500).max() < 250


def test_permutation_holds_every_number_once():
    order = Draws(2, "p").permutation("x", 500)
    assert sorted(order.tolist()) == list(range(500))
    assert order.tolist() != list(range(500))


def test_stream_covers_its_range():
    stream = Draws(3, "s").stream("x", 0)
    assert {stream.pick("abc") for _ in range(100)} == set("abc")
    assert 350 < sum(stream.chance(0.4) for _ in range(1000)) < 450


def test_ids_are_unique_and_well_formed():
    draws = Draws(0, "ids")
    codes = [code(draws, "patient", k) for k in range(5000)]
    assert len(set(codes)) == 5000
    assert all(len(text) == 12 and text.isalnum() and text == text.upper() for text in codes)
    assert codes != sorted(codes)
    uids = [uid(draws, "study", k) for k in range(2000)]
    assert len(set(uids)) == 2000
    assert max(len(text) for text in uids) <= 64
