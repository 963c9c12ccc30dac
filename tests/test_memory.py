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


@pytest.mark.skipif(sys.platform != "linux", reason="Arrow's packages have another allocator elsewhere")
@pytest.mark.parametrize(("given", "before", "after"), [("", "100", "1000"), ("dirty_decay_ms:7", "7", "7")])
def test_freed_memory_is_kept_longer_where_asked_and_never_against_the_user(
    given: str, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JE_ARROW_MALLOC_CONF", raising=False)
    if given:
        monkeypatch.setenv("JE_ARROW_MALLOC_CONF", given)
    code = (
        "import os, re; from instruct.memory import keep_freed, own_process\n"
        "for call in (own_process, keep_freed):\n"
        "    call(); print(re.search(r'dirty_decay_ms:(\\d+)', os.environ['JE_ARROW_MALLOC_CONF'])[1])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [before, after]
