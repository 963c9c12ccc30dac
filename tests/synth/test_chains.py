import numpy as np
import pytest

from instruct.synth.chains import count_overlap, draw_chains, mark_pairs
from instruct.synth.keyed import Draws


def test_chains_have_the_asked_sizes():
    chains = draw_chains(Draws(1, "t"), 500, 350, 40)
    assert len(chains.position) == chains.lengths.sum() == 500
    assert len(chains.lengths) == 350
    assert int((chains.position == 0).sum()) == 350
    assert len(chains.pairs) == 150
    assert int((chains.position >= 2).sum()) == 40
    for patient in range(350):
        assert chains.position[chains.patient == patient].tolist() == list(range(chains.lengths[patient]))


@pytest.mark.parametrize(("rows", "overlap"), [(100, 0), (100, 15), (100, 35), (60, 5), (150, 40), (1, 0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_marks_meet_both_numbers(rows, overlap, seed):
    draws = Draws(seed, "t")
    chains = draw_chains(draws, 500, 350, 40)
    chosen = mark_pairs(draws, "rows", chains, rows, overlap, np.full(500, rows / 150))
    assert int(chosen.sum()) == rows
    assert not chosen[chains.position == 0].any()
    assert count_overlap(chosen) == overlap
    both = [k for k in range(499) if chosen[k] and chosen[k + 1]]
    assert all(chains.patient[k] == chains.patient[k + 1] for k in both)
