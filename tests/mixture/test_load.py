from __future__ import annotations

import pytest
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node

import instruct
from instruct.errors import DataError, UsageError
from instruct.mixture.index import build_index
from instruct.mixture.load import load_mixture
from instruct.mixture.order import epoch_order
from instruct.mixture.recipe import load_mixture_recipe
from instruct.mixture.rows import open_rows

TEXT = "use: [{tasks: '*Summarization', repeats: 1.5}, {tasks: Findings Generation, cap: 25}]\n"


@pytest.fixture
def recipe(mix):
    return mix(TEXT)


def ids(dataset) -> list[str]:
    return [f"{row['task']} {row['id']}" for row in dataset.remove_columns("images")]


def test_dataset_and_stream_are_the_epoch_of_the_index(recipe):
    index = build_index(recipe)
    rows = [open_rows(part) for part in index.parts]
    expected = [rows[part][row] for part, row in zip(*epoch_order(index, 0), strict=True)]
    whole, stream = load_mixture(recipe), load_mixture(recipe, streaming=True)
    assert isinstance(whole, Dataset) and isinstance(stream, IterableDataset)
    assert whole.features == stream.features and len(whole) == len(index)
    assert [row["id"] for row in expected] == whole["id"][:]
    for row, of_whole, of_stream in zip(expected, whole, stream, strict=True):
        assert of_whole["messages"] == of_stream["messages"] == row["messages"]
        assert len(of_whole["images"]) == len(row["images"])
        for one, other in zip(of_whole["images"], of_stream["images"], strict=True):
            assert one.size == other.size and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_position_is_resumed_by_slicing_over_epochs(recipe, streaming):
    digest = build_index(recipe).digest
    size = len(build_index(recipe))
    first = ids(load_mixture(recipe, streaming=streaming))
    second = ids(load_mixture(recipe, streaming=streaming, start=size))
    assert len(first) == len(second) == size and first != second
    assert ids(load_mixture(recipe, streaming=streaming, start=31, digest=digest)) == first[31:]
    assert ids(load_mixture(recipe, streaming=streaming, start=size + 7)) == second[7:]


@pytest.mark.parametrize("start", [0, 24])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_processes_together_see_the_one_order(recipe, world, start):
    whole = ids(load_mixture(recipe))
    streams = [
        ids(split_dataset_by_node(load_mixture(recipe, streaming=True, start=start), rank, world))
        for rank in range(world)
    ]
    assert streams == [whole[start:][rank::world] for rank in range(world)]


@pytest.mark.parametrize("world", [2, 3])
def test_pytorch_samplers_keep_the_order_of_a_dataset(recipe, world):
    from torch.utils.data import DistributedSampler

    whole = load_mixture(recipe)
    names = ids(whole)
    for rank in range(world):
        sampler = DistributedSampler(whole, num_replicas=world, rank=rank, shuffle=False, drop_last=True)
        assert [names[number] for number in sampler] == names[rank::world][: len(names) // world]
    halves = [ids(split_dataset_by_node(whole, rank, world)) for rank in range(world)]
    assert [name for half in halves for name in half] == names  # all rows, each process a contiguous piece


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streaming", [False, True])
def test_loader_workers_change_nothing(recipe, streaming, workers):
    from torch.utils.data import DataLoader

    data = load_mixture(recipe, streaming=streaming).select_columns(["task", "id"])
    loader = DataLoader(data, batch_size=4, num_workers=workers)
    seen = [f"{task} {name}" for batch in loader for task, name in zip(batch["task"], batch["id"], strict=True)]
    assert seen == ids(load_mixture(recipe))


def test_the_state_of_a_stream_is_an_exact_position(recipe):
    names = ids(load_mixture(recipe))
    stream = load_mixture(recipe, streaming=True, start=10).remove_columns("images")
    for _ in zip(range(9), stream, strict=False):
        state = stream.state_dict()
    fresh = load_mixture(recipe, streaming=True, start=10).remove_columns("images")
    fresh.load_state_dict(state)
    assert [f"{row['task']} {row['id']}" for row in fresh] == names[19:]


def test_a_position_in_another_mixture_is_refused(mix):
    digest = build_index(mix(TEXT)).digest
    with pytest.raises(DataError, match=r"its index digest is .*, not .*: the recipe or the data have changed"):
        load_mixture(mix(TEXT, "seed=1"), start=5, digest=digest)
    with pytest.raises(UsageError, match="start=-1: the rows seen so far are 0 or more"):
        load_mixture(mix(TEXT), start=-1)


@pytest.mark.parametrize("streaming", [False, True])
def test_relative_paths_are_joined(built, relative, streaming):
    expected, found = (
        load_mixture(load_mixture_recipe("mixture_demo", [f"data=[{out}]"]), "test", streaming=streaming)
        for out in (built, relative)
    )
    images = {row["id"]: [image.size for image in row["images"]] for row in expected}
    assert sum(map(len, images.values())) > 20
    assert {row["id"]: [image.size for image in row["images"]] for row in found} == images


def test_packed_images_come_in_a_stream_and_a_dataset_says_why_not(packed):
    recipe = load_mixture_recipe("mixture_demo", [f"data=[{packed}]"])
    row = next(row for row in load_mixture(recipe, streaming=True) if row["images"])
    assert row["images"][0].mode == "L"
    told = r"its images are packed \(images.store=pack\), and a Dataset cannot fetch them: ask for streaming=True"
    with pytest.raises(UsageError, match=told):
        load_mixture(recipe)


def test_the_package_gives_it_by_the_name_of_a_shipped_mixture(built, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "dataset").symlink_to(built)
    monkeypatch.chdir(tmp_path)
    assert len(instruct.load_mixture("mixture_demo")) == len(build_index(load_mixture_recipe("mixture_demo")))
