"""What all tests share: small made-up corpora, the real files where they are, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from instruct.synth import write
from instruct.synth.planted import Planted

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# The same examples on every run, however slow the machine; --hypothesis-profile=default looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("steady")

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Corpora:
    """A data root with made-up corpora, and what was planted in each."""

    root: Path
    planted: dict[str, Planted]


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """OpenI (40 reports) and REX-Gradient (120 studies), with images. Tests must not change it: copy it first."""
    root = tmp_path_factory.mktemp("corpora")
    return Corpora(
        root,
        {
            "openi": write("openi", root / "openi", studies=40),
            "rexgradient": write("rexgradient", root / "rexgradient", studies=120),
        },
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files."""
    folder = Path(os.environ.get("CXR_INSTRUCT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real files are not here ({folder}); set CXR_INSTRUCT_SHARED_DATA")
    return folder


def run_cli(*arguments: str | Path, check: int | None = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run ``cxr-instruct`` as a user would; ``check`` is the exit code it must end with."""
    command = [sys.executable, "-m", "instruct.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if check is not None:
        assert done.returncode == check, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
