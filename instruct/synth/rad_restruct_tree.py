"""Questions of a synthetic structured report: 28 that every report has, and the follow-ups of those answered with yes.

The form is the release's; areas, kinds and words are invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

from instruct.synth.keyed import Stream
from instruct.synth.state import ChestState

AREAS = ("lungs", "pleural space", "heart", "mediastinum", "spine", "ribs", "abdomen")
KINDS = ("unusual density", "change of size or shape", "long-standing disease", "foreign object")
TOP_QUESTIONS = tuple((area, kind) for area in AREAS for kind in KINDS)
"""Area and kind of the questions that every report has, in their order."""

DEEPEST = 20
"""Most questions above another one."""

_YES_NO = ["yes", "no"]
_SIDES = ["both sides", "left", "middle", "right", "unspecified"]
_LOOKS = ["blurred", "dense", "no selection", "round", "streaky"]
_DEGREES = ["marked", "mild", "moderate", "unspecified"]

# A question as the release writes it: text, answers, history, and answer_type, options and path.
Question = list[Any]
_History = list[list[Any]]


def positive_topics(state: ChestState) -> list[tuple[str, str]]:
    """The top questions that a state answers with yes."""
    signs = {
        ("lungs", KINDS[0]): state.opacity,
        ("lungs", KINDS[1]): state.hyperinflation,
        ("lungs", KINDS[2]): state.granuloma,
        ("pleural space", KINDS[0]): state.effusion_left or state.effusion_right,
        ("pleural space", KINDS[1]): state.pneumothorax,
        ("heart", KINDS[1]): state.heart,
        ("mediastinum", KINDS[2]): state.aorta,
        ("mediastinum", KINDS[3]): state.device,
        ("spine", KINDS[2]): state.degenerative,
        ("ribs", KINDS[1]): state.fracture,
    }
    return [topic for topic, sign in signs.items() if sign]


def questions(state: ChestState, follow_ups: int, stream: Stream) -> list[Question]:
    """Questions of a report.

    Args:
        state: what there is to see.
        follow_ups: number of questions beside the 28; without anything to see, they follow the first question.
        stream: draws of the report.
    """
    positive = positive_topics(state) or ([TOP_QUESTIONS[0]] if follow_ups else [])
    budget = dict.fromkeys(positive, 0)
    for topic, _ in zip(cycle(positive), range(follow_ups), strict=False):
        budget[topic] += 1
    asked = []
    for area, kind in TOP_QUESTIONS:
        path = f"{area}_{kind}"
        top = f"Do the {area} show any {kind}?" if area in ("lungs", "ribs") else f"Does the {area} show any {kind}?"
        answer = ["yes" if (area, kind) in budget else "no"]
        asked.append([top, answer, [], {"answer_type": "single_choice", "options": _YES_NO, "path": path}])
        asked += _follow_ups([[top, answer]], f"the {area}", path, budget.get((area, kind), 0), stream)
    return asked


def _follow_ups(above: _History, area: str, path: str, number: int, stream: Stream) -> Iterator[Question]:
    history = list(above)
    for place in range(number):
        step = place % 4
        if step == 0 and len(history) + 3 > DEEPEST:
            history = list(above)
        again = place >= 4
        if step == 0:
            several = stream.chance(0.1)
            answers = ["left", "right"] if several else [stream.pick(_SIDES)]
            question = f"Where in {area} is {'the next one' if again else 'it'}?"
            info: dict[str, Any] = {"answer_type": "multi_choice", "options": _SIDES, "path": f"{path}_place"}
        elif step == 1:
            answers, question = [stream.pick(_LOOKS)], "What does it look like?"
            info = {"answer_type": "multi_choice", "options": _LOOKS, "path": f"{path}_look"}
        elif step == 2:
            answers, question = [stream.pick(_DEGREES)], "How marked is it?"
            kind = "fixed_choice" if stream.chance(0.05) else "single_choice"
            info = {"answer_type": kind, "options": _DEGREES, "path": f"{path}_degree"}
        else:
            answers, question = ["yes" if place + 1 < number else "no"], f"Is there another one in {area}?"
            info = {"answer_type": "single_choice", "options": _YES_NO, "path": path}
        yield [question, answers, [list(turn) for turn in history], info]
        history.append([question, answers])
