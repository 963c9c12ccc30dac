from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex, Part, build_index
from instruct.mixture.plan import RunPlan, padding_waste, plan_run
from instruct.mixture.recipe import load_mixture_recipe
from instruct.mixture.rows import open_rows

FIRST = [231, 234, 237, 237, 240, 243, 246, 249]
GOLDEN = "2e3341f4332511fa633c15bc5728cf953e7bd28b185e0536d395448e36a024e9"


def index_of(*parts: tuple[int, int], seed: int = 0) -> MixtureIndex:
    """An index of parts by their rows and draws."""
    total = sum(draws for _, draws in parts)
    return MixtureIndex(
        tuple(
            Part(f"[T{number}] [D]", Path(), f"t{number}", "train", size, None, draws, draws / total)
            for number, (size, draws) in enumerate(parts)
        ),
        "train",
        seed,
        "index",
    )


def some_lengths(*sizes: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(20, 400, size).astype(np.int32) for size in sizes]


def text_lengths(built: Path, image_tokens: int) -> tuple[MixtureIndex, list[np.ndarray], list[np.ndarray]]:
    """Lengths of a built demo mixture, for a model that makes a token of four letters; and image counts."""
    index = build_index(load_mixture_recipe("mixture_demo", [f"data=[{built}]"]))
    lengths, images = [], []
    for part in index.parts:
        rows = open_rows(part)
        table = [rows[number] for number in range(len(rows))]
        images.append(np.array([len(row["images"]) for row in table], np.int32))
        letters = [sum(len(c["text"] or "") for m in row["messages"] for c in m["content"]) for row in table]
        lengths.append((np.array(letters, np.int32) // 4 + image_tokens * images[-1]).astype(np.int32))
    return index, lengths, images


@pytest.mark.parametrize("image_tokens", [16, 256, 576])
@pytest.mark.parametrize("global_batch", [16, 32, 64])
def test_padding_is_at_most_2_percent_where_a_random_order_has_25(built, image_tokens, global_batch):
    index, lengths, _ = text_lengths(built, image_tokens)
    plan = plan_run(index, lengths, global_batch=global_batch, epochs=2)
    shuffled = np.random.default_rng(0).permutation(plan.length)
    assert plan.padding_waste(8) <= 0.02
    assert padding_waste(shuffled, 8) >= 0.25


def test_a_million_rows_are_planned_in_less_than_two_seconds():
    sizes = [300_000] * 2 + [50_000] * 6 + [2_000] * 50
    index, lengths = index_of(*((size, size) for size in sizes)), some_lengths(*sizes)
    started = time.process_time()
    plan = plan_run(index, lengths, global_batch=64)
    assert time.process_time() - started < 2
    assert len(plan) == 1_000_000


PARTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 90)), min_size=1, max_size=5).filter(
    lambda parts: any(draws for _, draws in parts)
)


@given(PARTS, st.integers(1, 8), st.integers(1, 30), st.integers(1, 5), st.integers(0, 3), st.booleans())
def test_rows_of_a_part_are_used_alike_and_excluded_ones_never(parts, global_batch, steps, pool, seed, apart):
    lengths = some_lengths(*(size for size, _ in parts), seed=seed)
    generator = np.random.default_rng(seed)
    for length in lengths[:-1]:
        length[generator.random(len(length)) < 0.2] = -1
    text = [generator.random(len(length)) < 0.5 for length in lengths]
    try:
        plan = plan_run(
            index_of(*parts), lengths, global_batch=global_batch, steps=steps, seed=seed, max_length=350, pool=pool,
            text_only=text if apart else None,
        )  # fmt: skip
    except DataError:
        assert all(
            not draws or ((length < 0) | (length > 350)).all()
            for (_, draws), length in zip(parts, lengths, strict=True)
        )
        return
    assert len(plan) == steps * global_batch and plan.steps == steps
    excluded = {(part, row) for part, row, _ in plan.excluded}
    uses = Counter(zip(plan.part.tolist(), plan.row.tolist(), strict=True))
    for (part, row), length in zip(zip(plan.part.tolist(), plan.row.tolist(), strict=True), plan.length, strict=True):
        assert lengths[part][row] == length and 0 < length <= 350
    for part, ((_, draws), length) in enumerate(zip(parts, lengths, strict=True)):
        good = (length > 0) & (length <= 350)
        assert {row for of, row in excluded if of == part} == (set(np.flatnonzero(~good).tolist()) if draws else set())
        for kind in (False, True) if apart else (None,):
            rows = np.flatnonzero(good if kind is None else good & (text[part] == kind)).tolist()
            used = [uses[part, row] for row in rows]
            assert not used or max(used) - min(used) <= 1
            assert draws or not any(used)
    if apart:
        kinds = np.array([text[part][row] for part, row in zip(plan.part, plan.row, strict=True)])
        for step in kinds.reshape(plan.steps, global_batch):
            assert step.all() or not step.any()


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 5))
def test_an_epoch_is_rounded_up_to_whole_steps_and_leaves_no_row_out(epochs, global_batch, seed):
    lengths = some_lengths(50, 23, seed=seed)
    plan = plan_run(index_of((50, 50), (23, 46)), lengths, global_batch=global_batch, epochs=epochs, seed=seed)
    assert 96 * epochs <= len(plan) < 96 * epochs + global_batch
    uses = Counter(zip(plan.part.tolist(), plan.row.tolist(), strict=True))
    assert all(uses[0, row] >= epochs for row in range(50)) and all(uses[1, row] >= 2 * epochs for row in range(23))


def test_excluded_rows_are_counted_with_their_reasons_and_the_others_are_not_drawn_more():
    lengths = some_lengths(100, 100)
    lengths[0][:50] = -1
    lengths[1][7], lengths[1][3], lengths[1][4] = 5000, 0, -1
    plan = plan_run(
        index_of((100, 200), (100, 100)),
        lengths,
        global_batch=1,
        max_length=4096,
        reasons=[{0: "unreadable image"}, {}],
    )
    assert plan.excluded[:2] == ((0, 0, "unreadable image"), (0, 1, "excluded"))
    assert plan.excluded[50:] == ((1, 3, "no tokens"), (1, 4, "excluded"), (1, 7, "too long"))
    first, second = plan.report()
    assert (first["rows"], first["excluded"], first["draws"], first["repeats"]) == (100, 50, 100, 2.0)
    assert (second["rows"], second["excluded"], second["draws"], second["repeats"]) == (100, 3, 97, 1.0)
    assert first["tokens"] == 2 * int(lengths[0][50:].sum())


def test_an_excluded_row_does_not_move_the_others():
    """Of one part and with a pool of one row, the order is that of the series: without the row, it closes up."""
    lengths = some_lengths(60)
    order = plan_run(index_of((60, 60)), lengths, global_batch=1, pool=1).row.tolist()
    lengths[0][17] = -1
    without = plan_run(index_of((60, 60)), lengths, global_batch=1, pool=1).row.tolist()
    assert without == [row for row in order if row != 17]


def test_images_and_tokens_of_a_run_are_reported(built):
    index, lengths, images = text_lengths(built, 100)
    plan = plan_run(index, lengths, global_batch=1)
    assert len(plan) == len(index)
    for line, length, count in zip(plan.report(images), lengths, images, strict=True):
        assert (line["tokens"], line["images"]) == (int(length.sum()), int(count.sum()))


def test_nothing_to_draw_is_an_error_with_the_reasons():
    lengths = [np.array([-1, 900, 900], np.int32)]
    told = r"nothing is left to draw: of 3 rows, 3 are excluded \(too long 2, excluded 1\)"
    with pytest.raises(DataError, match=told):
        plan_run(index_of((3, 3)), lengths, global_batch=2, max_length=800)


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="an array per part"):
        plan_run(index_of((3, 3)), some_lengths(4), global_batch=2)
    with pytest.raises(ValueError, match="steps and epochs contradict"):
        plan_run(index_of((3, 3)), some_lengths(3), global_batch=2, steps=1, epochs=1)


@pytest.mark.parametrize(("world", "micro"), [(1, 24), (1, 4), (2, 12), (2, 3), (3, 8), (8, 1)])
def test_any_number_of_processes_sees_the_same_steps(world, micro):
    """The batches that accelerate gives to each process, put together step by step, are the plan."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    plan = plan_run(index_of((90, 90), (60, 30)), some_lengths(90, 60), global_batch=24, epochs=3)
    sampler = BatchSampler(SequentialSampler(range(len(plan))), batch_size=micro, drop_last=False)
    shares = [
        list(BatchSamplerShard(sampler, num_processes=world, process_index=rank, split_batches=False))
        for rank in range(world)
    ]
    accumulate = 24 // (world * micro)
    for step in range(plan.steps):
        seen = [number for share in shares for batch in share[step * accumulate :][:accumulate] for number in batch]
        assert sorted(seen) == list(range(24 * step, 24 * (step + 1)))


def test_a_run_resumes_by_slicing_what_was_saved(tmp_path):
    lengths = some_lengths(200, 50)
    lengths[1][2] = -1
    plan = plan_run(index_of((200, 200), (50, 500)), lengths, global_batch=8)
    assert plan.save(tmp_path) == tmp_path / "plan.parquet"
    again = RunPlan.load(tmp_path)
    assert again.digest == plan.digest and again.meta == plan.meta and again.excluded == plan.excluded
    for name in ("part", "row", "length"):
        assert getattr(again, name).dtype == getattr(plan, name).dtype
        assert (getattr(again, name)[8 * 30 :] == getattr(plan, name)[8 * 30 :]).all()


def test_a_saved_plan_that_was_changed_or_is_gone(tmp_path):
    import pyarrow.parquet as pq

    with pytest.raises(DataError, match=r"plan\.json: there is no plan"):
        RunPlan.load(tmp_path)
    plan_run(index_of((20, 20)), some_lengths(20), global_batch=4).save(tmp_path)
    table = pq.read_table(tmp_path / "plan.parquet")
    pq.write_table(table.take(list(range(len(table)))[::-1]), tmp_path / "plan.parquet")
    with pytest.raises(DataError, match="is not the plan that was saved; its digest differs"):
        RunPlan.load(tmp_path)
    (tmp_path / "plan.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"plan\.parquet: cannot be read"):
        RunPlan.load(tmp_path)


def test_the_plan_of_this_release():
    """After a change here, older runs cannot be resumed: raise plan.FORMAT, and say so in the changelog."""
    lengths = [np.arange(20, 20 + size, dtype=np.int32) for size in (300, 41)]
    text = [np.arange(300) % 3 == 0, np.zeros(41, bool)]
    plan = plan_run(
        index_of((300, 300), (41, 123)), lengths, global_batch=8, seed=3, max_length=310, pool=32, text_only=text
    )
    assert plan.digest == GOLDEN
    assert plan.row[:8].tolist() == FIRST


@pytest.mark.parametrize("change", [{"seed": 1}, {"pool": 4}, {"global_batch": 4}, {"max_length": 399}, {"epochs": 2}])
def test_everything_that_changes_the_order_changes_the_digest(change):
    arguments = {"global_batch": 8, "epochs": 1, "max_length": 400}
    lengths = some_lengths(64, 64)
    one, other = (plan_run(index_of((64, 64), (64, 64)), lengths, **some) for some in (arguments, arguments | change))
    again = plan_run(index_of((64, 64), (64, 64)), lengths, **arguments)
    assert one.digest == again.digest != other.digest
    assert plan_run(index_of((64, 64), (64, 64), seed=5), lengths, **arguments).digest != one.digest
