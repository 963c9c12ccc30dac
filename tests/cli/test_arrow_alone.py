"""Arrow does without pandas until somebody imports it, and then makes the same of pandas' objects as ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = "import sys; from instruct.cli.arrow_alone import leave_pandas; leave_pandas(); "


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_arrow_makes_arrays_without_pandas():
    assert said("import pyarrow as pa; print(len(pa.array([1, None])), 'pandas' in sys.modules)") == "2 False"


@pytest.mark.parametrize(
    "first",
    [
        "import pyarrow as pa; import pandas as pd",
        "import pandas as pd; import pyarrow as pa",
        "import pyarrow as pa; from importlib.util import find_spec; assert find_spec('pandas'); import pandas as pd",
    ],
)
def test_arrow_knows_pandas_objects_of_whoever_imports_pandas(first):
    made = said(
        f"{first}; series = pd.Series([1.0, float('nan')], index=[5, 6]); "
        "print(pa.array(series).null_count, pa.array(pd.Categorical(['a', 'b'])).type.index_type, "
        "pa.table(pd.DataFrame({'a': [1.0, None]}))['a'].null_count, pa.table({'a': [1]}).to_pandas().a[0])"
    )
    assert made == "1 int8 1 1"


def test_a_build_imports_no_pandas(tmp_path):
    def imported(*command: str) -> set[str]:
        run = [sys.executable, "-X", "importtime", "-m", "instruct.cli", *command]
        told = subprocess.run(run, capture_output=True, text=True, check=True).stderr.splitlines()
        return {line.rpartition("|")[2].strip() for line in told if line.startswith("import time:")}

    imported("synth", "openi", "--out", f"{tmp_path}/openi", "--studies", "20")
    modules = imported("build", "openi", "--data-root", str(tmp_path), "--out", f"{tmp_path}/out")
    assert "pyarrow" in modules
    assert not {"pandas.core", "PIL.Image", "instruct.mixture.load"} & modules  # pandas itself was asked for in vain
