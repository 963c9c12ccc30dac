import pytest

from instruct.synth.chains import count_overlap
from instruct.synth.keyed import Draws
from instruct.synth.rexgradient_plan import FULL_SIZE, PUBLISHED, plan_split, split_sizes
from instruct.synth.rexgradient_views import PATTERNS


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("seed", [0, 11])
def test_full_size_plan_has_the_published_numbers(split, seed):
    published = PUBLISHED[split]
    plan = plan_split(Draws(seed, "rexgradient", split), published, split_sizes(FULL_SIZE)[split])
    assert len(plan) == published.studies
    assert len(plan.chains.lengths) == published.patients
    assert sum(len(PATTERNS[p].labels) for p in plan.pattern) == published.images
    for rows, examples, images in (
        (plan.findings_rows, published.findings_rows, published.findings_images),
        (plan.impression_rows, published.impression_rows, published.impression_images),
    ):
        assert int(rows.sum()) == examples
        assert 2 * examples - count_overlap(rows) == images
    assert len(plan.unwanted) == published.unwanted
    assert int(plan.chains.lengths.max()) < 12


@pytest.mark.parametrize("studies", [20, 21, 50, 99, 1000, 159_999])
def test_sizes_add_up(studies):
    sizes = split_sizes(studies)
    assert sum(sizes.values()) == studies
    assert sizes["val"] == sizes["test"] >= 3
    assert sizes["train"] > sizes["val"]


def test_ages_stay_off_the_edges_of_the_bins():
    plan = plan_split(Draws(3, "rexgradient", "val"), PUBLISHED["val"], 5000)
    years = {int(days / 365.25) for days in plan.age_days if days >= 0}
    assert not years & {20, 40, 60, 80}
    assert {0, 19, 21, 39, 81} <= years
