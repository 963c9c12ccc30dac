"""The same bytes, whatever happened on the way: workers, order, being killed, being run again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from instruct.api import build_dataset, load_recipe
from tests.build.helpers import call, contents, shards, stamps, write_report
from tests.conftest import REPOSITORY, Corpora, run_cli

OVERRIDES = ["shard_rows=15"]


@pytest.fixture(scope="module")
def undisturbed(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    build_dataset(load_recipe("demo", OVERRIDES), out, data_root=corpora.root)
    assert len(shards(out)) > 30
    return out


def test_two_workers(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    run_cli("build", "demo", *OVERRIDES, "--data-root", corpora.root, "--out", tmp_path / "out", "--workers", "2")
    assert contents(tmp_path / "out") == contents(undisturbed)


def test_sources_in_another_order(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: demo\nshard_rows: 15\nimages: {missing: drop}\nsources:\n  rexgradient: {}\n  openi: {}\n", "utf-8"
    )
    build_dataset(recipe, tmp_path / "out", data_root=corpora.root)
    assert contents(tmp_path / "out") == contents(undisturbed)


def test_tasks_in_another_order(corpora: Corpora, tmp_path: Path) -> None:
    tasks = ["findings_summarization-openi", "[Findings Summarization] [REX-Gradient]", "impression_generation-openi"]
    made = []
    for number, order in enumerate((tasks, tasks[::-1])):
        recipe = load_recipe("demo", [f"tasks={json.dumps(order)}"])
        build_dataset(recipe, tmp_path / str(number), data_root=corpora.root)
        made.append({name: file.read_bytes() for name, file in shards(tmp_path / str(number)).items()})
    assert made[0] == made[1]


def test_a_second_build_renders_nothing_and_says_so(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    before = stamps(out)
    planned = call("plan", "demo", *OVERRIDES, "--data-root", corpora.root, "--out", out)
    assert planned.out.endswith("nothing to do: every shard is up to date\n")
    done = call("build", "demo", *OVERRIDES, "--data-root", corpora.root, "--out", out)
    assert f"nothing to render: every shard is up to date, {len(before)} reused, 0 dropped" in done.out
    assert stamps(out) == before
    assert contents(out) == contents(undisturbed)


@contextmanager
def building(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A build in a process of its own, from the moment it has the folder."""
    command = [sys.executable, "-m", "instruct.cli", "build", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("building ")
        yield process


@pytest.mark.slow
def test_killed_at_ten_random_moments(corpora: Corpora, undisturbed: Path, tmp_path: Path) -> None:
    """Half of the builds begin with nothing, half with a build that is cut into other shards."""
    earlier = tmp_path / "earlier"
    build_dataset(load_recipe("demo", ["shard_rows=10"]), earlier, data_root=corpora.root)
    arguments = ["demo", *OVERRIDES, "--data-root", corpora.root, "--out"]
    with building(*arguments, tmp_path / "timed") as process:
        started = time.monotonic()
        process.wait()
    duration = time.monotonic() - started

    killed = 0
    for number, share in enumerate(np.random.default_rng(2).uniform(0, 0.95, size=10)):
        out = tmp_path / f"out{number}"
        if number % 2:
            shutil.copytree(earlier, out)
        with building(*arguments, out, "--workers", "2" if number % 5 == 4 else "1") as process:
            time.sleep(share * duration)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        build_dataset(load_recipe("demo", OVERRIDES), out, data_root=corpora.root)
        assert contents(out) == contents(undisturbed), f"killed after {share * duration:.2f} s"
    assert killed >= 5


# Runs an update of a small build in a child that kills itself at the n-th change of the folder, then once more, whole;
# says what the second run rendered and what the folder then held.
_UPDATE = """
import json, os, shutil, signal, sys
from pathlib import Path

from instruct.api import build_dataset, load_recipe
from instruct.digest import digest_bytes, digest_json
from tests.build.helpers import contents

data, base, out = map(Path, sys.argv[1:])
recipe = load_recipe("openi", ["shard_rows=12", "tasks=[findings_summarization-openi]"])


def in_child(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]


def update(step):
    def kill_myself(event, arguments):
        nonlocal step
        if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            step -= 1
            if not step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill_myself)
    build_dataset(recipe, out, data_root=data)


def again():
    log = out / "build.log.jsonl"
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()] if log.exists() else []
    result = build_dataset(recipe, out, data_root=data)
    held = digest_json({name: digest_bytes(content) for name, content in contents(out).items()})
    print(json.dumps({"published": "publish" in events, "built": result.built, "held": held}), flush=True)


step, killed = 0, True
while killed:
    step += 1
    shutil.copytree(base, out)
    (out / "build.log.jsonl").unlink()
    killed = os.WIFSIGNALED(in_child(lambda: update(step)))
    assert os.WEXITSTATUS(in_child(again)) == 0
    shutil.rmtree(out)
"""


@pytest.mark.slow
def test_killed_at_every_change_of_the_folder(tmp_path: Path) -> None:
    """A new record at the end gives every shard another name, so that publication moves them all."""
    data, base = tmp_path / "data", tmp_path / "base"
    recipe = load_recipe("openi", ["shard_rows=12", "tasks=[findings_summarization-openi]"])
    for number in range(100, 136):
        write_report(data, number, f"Finding {number}.", f"Impression {number}.")
    build_dataset(recipe, base, data_root=data)
    write_report(data, 999, "Clear lungs.", "Normal.")
    done = subprocess.run(
        [sys.executable, "-c", _UPDATE, data, base, tmp_path / "out"],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) > 20
    assert len({run["held"] for run in runs}) == 1
    assert {run["built"] for run in runs} == {0, 1}  # three of the four shards were there, whenever it was killed
    assert {run["built"] for run in runs if run["published"]} == {0}
