"""The same bytes from pieces and from a Ray cluster, whatever is killed; and what pieces that do not fit are told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.api import build_dataset, load_recipe
from instruct.build import execute
from instruct.build.execute import make_executor
from instruct.build.job import Job, ShardResult
from instruct.build.output import OutputFolder
from instruct.build.pieces import build_piece
from instruct.build.run_job import run
from instruct.build.share import Share
from instruct.errors import DataError, UsageError
from tests.build.helpers import call, contents, shards
from tests.conftest import Corpora

ROWS = ["shard_rows=15"]
PACKED = ["images.store=pack", "images.size=64", "tasks=[findings_generation-openi,findings_generation-rex_gradient]"]


@pytest.fixture(scope="module")
def undisturbed(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    build_dataset(load_recipe("demo", ROWS), out, data_root=corpora.root)
    assert len(shards(out)) > 30
    return out


@pytest.fixture(scope="module")
def packed(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    build_dataset(load_recipe("demo", [*ROWS, *PACKED]), out, data_root=corpora.root)
    assert len(list(out.glob("images/*/arrow/data-*"))) >= 2
    return out


def piece(corpora: Corpora, out: Path, share: str, *overrides: str) -> Any:
    recipe = load_recipe("demo", [*ROWS, *overrides])
    return build_piece(recipe, out, Share.parse(share), make_executor("local"), data_root=corpora.root)


def gather(command: str, corpora: Corpora, out: Path, *arguments: str | Path, check: int = 0) -> Any:
    return call(command, "demo", *ROWS, "--data-root", corpora.root, "--out", out, *arguments, check=check)


# --- pieces ------------------------------------------------------------------------------------------------------


@given(total=st.integers(1, 40), positions=st.integers(0, 200))
def test_every_job_is_in_one_share_and_shares_are_even(total: int, positions: int) -> None:
    shares = [Share.parse(f"{number}/{total}") for number in range(1, total + 1)]
    taken = [sum(share.takes(position) for position in range(positions)) for share in shares]
    assert all(sum(share.takes(position) for share in shares) == 1 for position in range(positions))
    assert max(taken) - min(taken) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "-1/4", "1/0", "1/2/3", "1.0/2"])
def test_a_share_that_there_is_not(text: str, tmp_path: Path) -> None:
    err = call("build", "demo", "--out", tmp_path / "out", "--shard", text, check=2).err
    assert f"--shard {text}: expected I/N with I from 1 to N, such as 3/16" in err


def test_pieces_in_one_folder(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for share in ("2/3", "1/3"):
        said = gather("build", corpora, out, "--shard", share).out
        assert said.startswith(f"piece {share}: ") and "0 there already" in said
        assert {file.name for file in out.iterdir()} == {".build"}  # nothing is published
    assert "12 shards made" not in gather("build", corpora, out, "--shard", "1/3").out  # they are there
    err = gather("merge", corpora, out, check=4).err
    total = len(shards(undisturbed))
    lacking = total // 3
    assert f"{lacking} of {total} shards are in no piece: " in err and "findings_generation-openi test batch" in err
    assert f"and {lacking - 10} more" in err and "or `cxr-instruct build`, which makes here what is missing" in err
    gather("build", corpora, out, "--shard", "3/3")
    said = gather("merge", corpora, out).out
    assert f"nothing to render: every shard is up to date, {len(shards(undisturbed))} reused" in said
    assert contents(out) == contents(undisturbed)
    assert not (out / ".build" / "pieces").exists() and not (out / ".build" / "shards").exists()


def test_build_makes_what_no_piece_made(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    made = piece(corpora, tmp_path / "out", "2/5").built
    result = build_dataset(load_recipe("demo", ROWS), tmp_path / "out", data_root=corpora.root)
    assert (result.reused, result.built) == (made, len(shards(undisturbed)) - made)
    assert contents(tmp_path / "out") == contents(undisturbed)


def test_pieces_in_folders_of_their_own(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"piece{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        piece(corpora, folder, f"{number}/2")
    damaged = sorted((folders[1] / ".build" / "shards").glob("*.arrow"))[0]
    damaged.write_bytes(bytes(damaged.stat().st_size))  # of the size it should have
    before = contents(folders[0] / ".build")
    err = gather("merge", corpora, tmp_path / "out", "--from", folders[0], "--from", folders[1], check=4).err
    assert f"1 of {len(shards(undisturbed))} shards are in no piece" in err
    again = piece(corpora, folders[1], "2/2")  # as the message says
    assert again.built == 1 and again.reused > 1
    gather("merge", corpora, tmp_path / "out", "--from", folders[0], "--from", folders[1])
    assert contents(tmp_path / "out") == contents(undisturbed)
    assert contents(folders[0] / ".build") == before


def test_folders_that_are_no_piece_of_this_build(corpora: Corpora, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    err = gather("merge", corpora, tmp_path / "out", "--from", tmp_path / "empty", check=2).err
    assert f"{tmp_path / 'empty'}: holds no piece of a build" in err
    recipe = load_recipe("openi", ["tasks=[findings_summarization-openi]"])
    build_piece(recipe, tmp_path / "other", Share(), make_executor("local"), data_root=corpora.root)
    err = gather("merge", corpora, tmp_path / "out", "--from", tmp_path / "other", check=2).err
    assert "holds a piece of the build 'openi', not of 'demo'" in err


@pytest.mark.slow
def test_pieces_at_the_same_time_one_of_them_killed(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    """Both write into one folder; while they do, nobody builds there, and no piece runs twice."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "instruct.cli", "build", "demo", *ROWS, "--data-root", corpora.root, "--out", out]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first, second = (subprocess.Popen([*map(str, command), "--shard", f"{number}/2"], **quiet) for number in (1, 2))
    log = out / ".build" / "pieces" / "1-of-2.jsonl"
    until(lambda: log.exists() and '"shard"' in log.read_text())
    os.kill(first.pid, signal.SIGSTOP)  # it holds its locks for as long as we look
    assert "another piece 1/2 is writing" in gather("build", corpora, out, "--shard", "1/2", check=2).err
    assert "another build is writing into this folder" in gather("build", corpora, out, check=2).err
    os.kill(first.pid, signal.SIGKILL)
    assert (first.wait(), second.wait()) == (-signal.SIGKILL, 0)
    assert "are in no piece" in gather("merge", corpora, out, check=4).err
    assert piece(corpora, out, "1/2").reused > 0
    gather("merge", corpora, out)
    assert contents(out) == contents(undisturbed)


def until(holds: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_pieces_of_a_packed_build_share_the_images(corpora: Corpora, packed: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"piece{number}" for number in (1, 2)]
    found = [piece(corpora, folder, f"{number}/2", *PACKED) for number, folder in enumerate(folders, 1)]
    assert all(done.built and done.lacking_images for done in found)
    arguments = [*PACKED, "--from", folders[0]]
    assert "images of " in gather("merge", corpora, tmp_path / "out", *arguments, check=4).err
    gather("merge", corpora, tmp_path / "out", *arguments, "--from", folders[1])
    assert contents(tmp_path / "out") == contents(packed)

    # In one folder, the second pass makes the rows.
    together = tmp_path / "together"
    passes = [[piece(corpora, together, share, *PACKED) for share in ("1/2", "2/2")] for _ in range(2)]
    assert passes[0][0].lacking_images and not passes[1][0].lacking_images and passes[1][0].built
    assert "nothing to render" in gather("merge", corpora, together, *PACKED).out
    assert contents(together) == contents(packed)


def test_an_image_that_a_worker_does_not_see(corpora: Corpora, tmp_path: Path) -> None:
    """On another machine, that is not a bad image but a folder that is not mounted."""
    data = tmp_path / "data"
    shutil.copytree(corpora.root / "openi", data / "openi")

    def hide(event: dict[str, Any]) -> None:
        if event["event"] == "planned":
            (data / "openi").rename(data / "elsewhere")

    recipe = load_recipe("openi", ["images.missing=drop", "images.store=pack"])
    with pytest.raises(DataError, match=r"was there when .+ planned, and is not there for the worker on .+;"):
        build_dataset(recipe, tmp_path / "out", data_root=data, listener=hide)


# --- Ray ---------------------------------------------------------------------------------------------------------


def test_an_address_without_ray(tmp_path: Path) -> None:
    err = call("build", "demo", "--out", tmp_path / "out", "--address", "auto", check=2).err
    assert "--address is that of a Ray cluster; add --executor ray" in err


def test_ray_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    err = call("build", "demo", "--out", tmp_path / "out", "--executor", "ray", check=2).err
    assert "--executor ray needs Ray: pip install 'cxr-instruct[ray]'" in err


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without processors, and of two nodes with one each."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (the [ray] extra)")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def of_another_release(job: Job, staged: Path) -> ShardResult:
    return replace(run(job, staged), key="of another release")


def that_takes_its_time(job: Job, staged: Path) -> ShardResult:
    time.sleep(0.5)
    return run(job, staged)


def that_fails(job: Job, staged: Path) -> ShardResult:
    raise DataError(f"{job.label}: wrong in {os.getpid()}")


def that_lacks_a_file(job: Job, staged: Path) -> ShardResult:
    raise FileNotFoundError(2, "No such file", "/mnt/images/a.arrow")


@pytest.mark.slow
def test_two_ray_nodes_with_a_worker_and_a_node_killed(
    cluster: Any, corpora: Corpora, undisturbed: Path, packed: Path, tmp_path: Path
) -> None:
    """Nodes see neither records nor the output folder: both travel."""
    options = {"data_root": corpora.root, "executor": "ray", "address": cluster.address}

    # What nodes say goes wrong; the jobs are those of a build.
    jobs: list[tuple[Job, Path]] = []

    class Plan:
        workers = 1

        def run(self, planned: Any, run: Any, tell: Any) -> Iterator[ShardResult]:
            for job, _ in planned:
                jobs.append((job.loaded(), tmp_path / "staged"))
            return iter(())

    with_plan = OutputFolder(tmp_path / "planned")
    build_piece(load_recipe("demo", ROWS), with_plan.path, Share(1, 4), Plan(), data_root=corpora.root)
    assert len(jobs) >= 8
    executor = make_executor("ray", address=cluster.address)
    with pytest.raises(DataError, match="came back as another job: a node of the Ray cluster runs another release"):
        list(executor.run(jobs, of_another_release, lambda event, **facts: None))
    with pytest.raises(DataError, match=r"^\w+-\w+ \w+ batch [0-9]+: wrong in [0-9]+$") as caught:
        list(executor.run(jobs, that_fails, lambda event, **facts: None))
    assert int(str(caught.value).split()[-1]) != os.getpid()
    with pytest.raises(DataError, match=r"/mnt/images/a.arrow: is not on the node .+; images"):
        list(executor.run(jobs, that_lacks_a_file, lambda event, **facts: None))

    build_dataset(load_recipe("demo", ROWS), tmp_path / "out", **options)
    assert contents(tmp_path / "out") == contents(undisturbed)
    build_dataset(load_recipe("demo", [*ROWS, *PACKED]), tmp_path / "packed", **options)
    assert contents(tmp_path / "packed") == contents(packed)

    # A worker is killed while it works.
    staged = OutputFolder(tmp_path / "killed").staged
    slow = [(job, staged(job.key)) for job, _ in jobs[:8]]
    finished = executor.run(slow, that_takes_its_time, lambda event, **facts: None)
    results = [next(finished)]
    until(lambda: kill_one_of(working_below(os.getpid())))
    results += finished
    made = {key: staged(key).read_bytes() for key in (result.key for result in results)}
    assert len(made) == len(slow)
    kept = {file.stem: OutputFolder(undisturbed).find(file.stem) for file in undisturbed.glob(".build/results/*.json")}
    assert made == {key: kept[key][1].read_bytes() for key in made}  # type: ignore[index]

    # Each node has a job, and one that waits: a node that goes in the middle of a build takes both with it.
    seen = []

    def remove_a_node(event: dict[str, Any]) -> None:
        if event["event"] == "shard":
            if not seen:
                cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)
            seen.append(event["key"])

    build_dataset(load_recipe("demo", ROWS), tmp_path / "half", **options, listener=remove_a_node)
    assert not cluster.nodes[1:] and len(seen) == len(shards(undisturbed))
    assert contents(tmp_path / "half") == contents(undisturbed)


def kill_one_of(processes: list[int]) -> bool:
    with contextlib.suppress(OSError):  # it has ended
        for process in processes[:1]:
            os.kill(process, signal.SIGKILL)
            return True
    return False


def working_below(process: int) -> list[int]:
    """Ray's workers below a process that have a job in hand."""
    found = [process]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return [one for one in found if cmdline(one).startswith(b"ray::_run_away")]


def cmdline(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_no_ray_cluster_at_the_address(corpora: Corpora, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the [ray] extra)")
    with pytest.raises(UsageError, match="no Ray cluster at nonsense"):
        build_dataset("demo", tmp_path / "out", data_root=corpora.root, executor="ray", address="nonsense")


def test_ctrl_c_waits_until_a_worker_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread takes the signal: libraries have threads of their own, which do not block it."""
    on_its_way = []

    class Pool(ThreadPoolExecutor):
        def submit(self, function: Any, /, *asked: Any, **named: Any) -> Any:
            sender = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT))
            sender.start()
            sender.join()
            time.sleep(0.05)
            on_its_way.append(asked)
            return super().submit(function, *asked, **named)

    monkeypatch.setattr(execute, "_pool", Pool)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(execute.LocalExecutor().run([("a job", Path("a shard"))], Mock(), Mock()))
    assert on_its_way == [("a job", Path("a shard"))]
    assert signal.getsignal(signal.SIGINT) is before
