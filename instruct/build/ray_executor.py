"""Jobs on a Ray cluster: each travels with its records, and its shard comes back, so that no file need be shared.

Only published images, and the images tables where rows embed their images, must lie under the same path on every node.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pyarrow as pa

from instruct.build.execute import Run, Runnable
from instruct.build.files import writing
from instruct.build.job import ShardResult
from instruct.build.tell import Tell
from instruct.digest import digest_bytes
from instruct.errors import DataError, UsageError, UserError

# Jobs handed out for each processor of the cluster: one that runs and one that waits.
_AHEAD = 2
# How often Ray runs a job again whose node or worker was lost.
_RETRIES = 5

_Job = TypeVar("_Job", bound=Runnable)


@dataclass
class RayExecutor:
    """Runs jobs on a Ray cluster.

    Attributes:
        address: of the cluster; None takes ``$RAY_ADDRESS``, or else starts a cluster of this machine for the build.
        workers: processors of that cluster of this machine; another cluster is used whole.
    """

    address: str | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        _import_ray()

    def run(self, jobs: Iterable[tuple[_Job, Path]], run: Run[_Job], tell: Tell) -> Iterator[ShardResult]:
        """See :meth:`instruct.build.execute.Executor.run`.

        Raises:
            UsageError: no cluster answers at the address.
            DataError: a node cannot read the images or runs another release, or a job was lost again and again.
        """
        ray = _import_ray()
        joined = not ray.is_initialized()
        if joined:
            self._join(ray)
        away = ray.remote(_run_away).options(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")
        running: dict[Any, tuple[_Job, Path]] = {}
        try:
            for job, staged in jobs:
                running[away.remote(run, job.loaded())] = (job, staged)
                full = len(running) >= _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
                yield from _finished(ray, running, wait_for_one=full)
            while running:
                yield from _finished(ray, running, wait_for_one=True)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if joined:
                ray.shutdown()

    def _join(self, ray: Any) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        of_its_own = {"num_cpus": self.workers, "include_dashboard": False} if address == "local" else {}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray warns of a later default; no job wants an accelerator.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", **of_its_own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from None


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("--executor ray needs Ray: pip install 'cxr-instruct[ray]'") from None
    return ray


def _run_away(run: Run[_Job], job: _Job) -> tuple[ShardResult, pa.Buffer]:
    """Run a job on a node; its result and its shard."""
    with TemporaryDirectory(prefix="cxr-instruct-") as folder:
        staged = Path(folder) / "shard"
        try:
            result = run(job, staged)
        except FileNotFoundError as error:
            raise DataError(
                f"{error.filename or error}: is not on the node {socket.gethostname()}; images, and the output folder"
                " where images are embedded, must lie under the same path on every node"
            ) from None
        return result, pa.py_buffer(staged.read_bytes())


def _finished(ray: Any, running: dict[Any, tuple[_Job, Path]], wait_for_one: bool) -> Iterator[ShardResult]:
    """Results of jobs that are done, once their shards are in their files."""
    if not running:
        return
    # Ray counts what it may give back; it waits for that many.
    done, _ = ray.wait(list(running), num_returns=1, timeout=None if wait_for_one else 0)
    for reference in done:
        job, staged = running.pop(reference)
        try:
            result, shard = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise DataError(
                f"{job.label}: was lost {_RETRIES + 1} times on the Ray cluster ({type(error).__name__}), perhaps for"
                " want of memory. What is finished is kept; run the same command again"
            ) from None
        if result.key != job.key:
            raise DataError(
                f"{job.label}: came back as another job: a node of the Ray cluster runs another release of"
                " cxr-instruct or of a library that decides bytes; install the same on every node"
            )
        if digest_bytes(memoryview(shard)) != result.sha256:
            raise DataError(f"{job.label}: its shard was damaged on the way from the cluster; run the command again")
        with writing(staged) as file:
            file.write(shard)
        yield result
