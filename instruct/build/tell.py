"""Telling: every step of a build goes into its log, and to who listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instruct.build.files import append_line

# Told of every step: a plain dict whose "event" names it.
Listener = Callable[[dict[str, Any]], None]
# What a build calls: the event, and its facts by name.
Tell = Callable[..., None]


def telling(log: Path, listener: Listener | None) -> Tell:
    """What tells the log and a listener of an event.

    Args:
        log: file that gets a line of JSON for each event.
        listener: called with each event.
    """

    def tell(event: str, **facts: Any) -> None:
        record = {"event": event, **facts}
        append_line(log, json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **record}))
        if listener is not None:
            listener(record)

    return tell
