"""A judge behind an OpenAI-compatible endpoint (``/chat/completions``)."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from instruct.errors import UsageError
from instruct.evaluation.metric import Judge

KEY = "OPENAI_API_KEY"
ATTEMPTS = 5
_TIMEOUT = 300.0
_AT_ONCE = 4
_AGAIN = (408, 429, 500, 502, 503, 504)


def check_endpoint(judge: Judge) -> None:
    """Check what can be known of a judge without asking it.

    Raises:
        UsageError: the URL or the model's name is missing or wrong.
    """
    if urlsplit(judge.where).scheme not in ("http", "https") or not urlsplit(judge.where).hostname:
        raise UsageError(
            f"judge {judge.where!r}: expected a URL like http://localhost:8000/v1, or a folder that exists"
        )
    if not judge.model:
        raise UsageError(f"judge {judge.where}: no model named; give --judge-model NAME=MODEL as the endpoint calls it")


def ask_endpoint(
    judge: Judge, prompts: Sequence[str], readable: Callable[[str], bool], pause: float = 2.0
) -> list[str | None]:
    """What the judge answers to each prompt, None where it gave nothing readable.

    Temperature 0; an unreadable answer is asked for again with another seed, up to five times in all. Requests that
    fail for want of capacity are repeated as often, after growing pauses. An endpoint that is lost midway gives None
    from there on, so that what it answered is kept. The key is read from ``$OPENAI_API_KEY``.

    Args:
        judge: base URL and model.
        prompts: distinct prompts.
        readable: can an answer be read?
        pause: first pause in seconds.

    Raises:
        UsageError: the endpoint refuses the first request.
    """

    def one(prompt: str) -> str | None:
        answer: str | None = None
        for attempt in range(ATTEMPTS):
            answer = _post(judge, prompt, attempt, pause)
            if answer is not None and readable(answer):
                break
        return answer

    lost = Event()

    def later(prompt: str) -> str | None:
        if lost.is_set():
            return None
        try:
            return one(prompt)
        except UsageError:
            lost.set()
            return None

    first = [one(prompt) for prompt in prompts[:1]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return first + list(pool.map(later, prompts[1:]))


def _post(judge: Judge, prompt: str, seed: int, pause: float) -> str | None:
    url = f"{judge.where.rstrip('/')}/chat/completions"
    body = {
        "model": judge.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "seed": seed,
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                return _content(response.read())
        except urllib.error.HTTPError as error:
            if error.code not in _AGAIN:
                said = error.read(300).decode("utf-8", "replace").strip()
                raise UsageError(f"judge {url}: HTTP {error.code} {error.reason}: {said}") from None
            reason = f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error))
        if attempt < ATTEMPTS - 1:
            time.sleep(pause * 2**attempt)
    raise UsageError(f"judge {url}: no answer after {ATTEMPTS} attempts ({reason}); check the URL and that it runs")


def _content(raw: bytes) -> str | None:
    try:
        answer: Any = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return answer if isinstance(answer, str) else None
