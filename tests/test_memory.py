from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from instruct.memory import give_back, own_process, share_heap

def held():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024

own_process()
share_heap()
give_back()
before = held()
texts = [bytes(1000) for _ in range(200_000)]
full = held()
texts[:-1] = []  # what comes last keeps the heap from shrinking
kept = held()
give_back()
print(full - before, kept - before, held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_freed_is_given_back_to_the_system() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    full, _, after = map(float, run.stdout.split())
    assert full > 150
    assert after < full / 4
