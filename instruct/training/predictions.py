"""The folder that predictions are written into: what is finished is kept, and nothing of two runs is mixed.

::

    OUT/predictions.jsonl     one line per example, in the order of the data; written last
    OUT/generation.json       what made them: model, adapter, data, settings, versions, counts
    OUT/rexrank/<task>.json   ReXrank prediction JSON of every report task
    OUT/.parts/               batches finished so far; gone when all are

Batches are a function of the examples and the batch size alone. A run that was killed goes on with the batches that
are missing, with any number of processes, and its texts are those of a run that was not.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from instruct.build.files import append_line, read_json, write_json, write_text
from instruct.errors import DataError, UsageError
from instruct.evaluation.pairs import Group, group_of
from instruct.evaluation.tasks.kinds import REPORT, kind_of

PREDICTIONS = "predictions.jsonl"
RECORD = "generation.json"
_PARTS = ".parts"
_COMPACTED = "done.jsonl"

STOP, LENGTH, TOO_LONG = "stop", "length", "too_long"

Line = dict[str, Any]


class Answer(NamedTuple):
    """What a model answered to one example.

    Attributes:
        prediction: its text without control tokens and outer blanks; empty where nothing could be asked.
        finish: ``stop`` (the model ended it), ``length`` (cut at ``max_new_tokens``), or why nothing was asked:
            ``too_long`` (the prompt and the new tokens do not fit into the model), or the reason of a
            :class:`~instruct.training.supervision.RowFault` or :class:`~instruct.training.images.ImageFault`.
        prompt: first 16 digits of the SHA-256 of the prompt, as the chat template writes it.
        prompt_tokens: its tokens, image tokens included; 0 where nothing was asked.
        new_tokens: tokens of the answer, without the one that ends it.
    """

    prediction: str
    finish: str
    prompt: str
    prompt_tokens: int
    new_tokens: int


class PredictionFolder:
    """A folder of predictions. One process claims and finishes it; every process appends to a part of its own.

    Args:
        path: the folder; need not exist.
        facts: plain data that decides the texts; a folder keeps to one.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = dict(facts)
        self._parts = path / _PARTS

    @property
    def lock(self) -> Path:
        """The file to lock while predictions are made."""
        return self._parts / "lock"

    def finished(self) -> bool:
        """Are the predictions of these facts all there?

        Raises:
            UsageError: the folder holds other predictions, or is no folder of predictions.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: is a file; choose another --out")
        done = read_json(self.path / RECORD)
        begun = read_json(self._parts / RECORD)
        held = done["facts"] if done else begun
        if held is None and self.path.exists():
            others = sorted(path.name for path in self.path.iterdir() if path.name != _PARTS)
            if others:
                raise UsageError(
                    f"{self.path}: is not empty ({others[0]}) and holds no predictions; choose another --out"
                )
        if held is not None and held != self.facts:
            differ = [name for name in sorted(held.keys() | self.facts) if held.get(name) != self.facts.get(name)]
            said = "; ".join(f"{name} was {held.get(name)!r}, now {self.facts.get(name)!r}" for name in differ)
            raise UsageError(
                f"{self.path}: holds predictions that were made otherwise ({said}). Choose another --out, or remove it"
            )
        return done is not None and (self.path / PREDICTIONS).is_file()

    def claim(self) -> dict[int, list[Line]]:
        """Make the folder one of these facts, and collect what earlier runs finished.

        Returns:
            Lines by number of batch.

        Raises:
            UsageError: see :meth:`finished`.
        """
        self.finished()
        write_json(self._parts / RECORD, self.facts)
        done: dict[int, list[Line]] = {}
        for part in sorted(self._parts.glob("*.jsonl")):
            for text in part.read_text("utf-8").split("\n"):  # a text may hold other line breaks
                batch = _whole(text)
                if batch is not None:
                    done[batch["batch"]] = batch["lines"]
        # Into one file, so that no part goes on behind a line that was cut off.
        write_text(
            self._parts / _COMPACTED, "".join(_dump({"batch": n, "lines": done[n]}) + "\n" for n in sorted(done))
        )
        for part in self._parts.glob("part-*.jsonl"):
            part.unlink()
        return done

    def append(self, process: int, batch: int, lines: Sequence[Line]) -> None:
        """Keep a finished batch; from now on it survives the process."""
        append_line(self._parts / f"part-{process}.jsonl", _dump({"batch": batch, "lines": list(lines)}))

    def finish(self, lines: Sequence[Line], record: Mapping[str, Any]) -> Path:
        """Write all predictions, their record and the ReXrank files, and remove the parts.

        Args:
            lines: one per example, in the order of the data.
            record: more to say in ``generation.json`` than the facts.

        Returns:
            The prediction file.
        """
        for name, records in rexrank(lines).items():
            write_text(self.path / "rexrank" / f"{name}.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        file = self.path / PREDICTIONS
        write_predictions(file, lines)
        counted = {"examples": len(lines), "finish": dict(sorted(Counter(line["finish"] for line in lines).items()))}
        write_json(self.path / RECORD, {"facts": self.facts, **counted, **record})
        shutil.rmtree(self._parts)
        return file


def write_predictions(file: Path, lines: Iterable[Line]) -> None:
    """Write predictions as JSON lines that ``cxr-instruct evaluate`` reads; the file appears whole or not at all."""
    write_text(file, "".join(_dump(line) + "\n" for line in lines))


def prediction_line(row: Mapping[str, Any], split: str, answer: Answer) -> Line:
    """One prediction.

    Args:
        row: the example, as the dataset folder holds it.
        split: train, val or test.
        answer: the answer to it.

    Returns:
        ``id, task, dataset, split, prediction, reference`` (the last assistant turn), the other fields of the answer,
        and ``studies`` and ``images`` by key.
    """
    prediction, *how = answer
    return {
        **{name: row[name] for name in ("id", "task", "dataset")},
        "split": split,
        "prediction": prediction,
        "reference": reference_of(row),
        **dict(zip(Answer._fields[1:], how, strict=True)),
        "studies": row["keys"]["studies"],
        "images": row["keys"]["images"],
    }


def reference_of(row: Mapping[str, Any]) -> str:
    """The right answer of an example: the text of its last assistant turn.

    Raises:
        DataError: it has none.
    """
    turn = next((turn for turn in reversed(row["messages"]) if turn["role"] == "assistant"), None)
    if turn is None:
        raise DataError(f"[{row['task']}] [{row['dataset']}] {row['id']}: has no assistant turn to predict")
    return "".join(part["text"] or "" for part in turn["content"])


def rexrank(lines: Iterable[Line]) -> dict[str, dict[str, dict[str, Any]]]:
    """Prediction records of the ReXrank repository, for every report task, dataset and split among the predictions.

    The format is that of https://github.com/rajpurkarlab/ReXrank: id of the study → its record, with the answer as
    ``model_prediction``. A study with several examples is named by the example instead. What the dataset folder does
    not hold is null or empty: the other section, the views (``frontal_lateral``) and the ``context``.

    Returns:
        Name of the file (``findings_generation-openi-test``) → records.
    """
    groups: dict[Group, list[Line]] = {}
    for line in lines:
        groups.setdefault(group_of(line), []).append(line)
    return {
        "-".join(re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in group): _records(group, members)
        for group, members in sorted(groups.items())
        if kind_of(group.task) == REPORT
    }


def _records(group: Group, lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    section = "section_impression" if "Impression" in group.task else "section_findings"
    studies = [_bare(line["studies"][-1]) if line["studies"] else line["id"] for line in lines]
    times = Counter(studies)
    records = {}
    for line, study in zip(lines, studies, strict=True):
        images = [_bare(image) for image in line["images"]]
        records[study if times[study] == 1 else line["id"]] = {
            "section_findings": None,
            "section_impression": None,
            section: line["reference"],
            "image_path": images,
            "key_image_path": images[0] if images else None,
            "frontal_lateral": [None] * len(images),
            "context": "",
            "model_prediction": line["prediction"],
        }
    return records


def _bare(key: str) -> str:
    """A key without the source that it starts with: ``openi/CXR1`` is ``CXR1``."""
    return key.partition("/")[2] or key


def _whole(text: str) -> Any:
    """A line of a part, or None where the process died while it wrote."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
