"""What a language-model judge wrote about each study: from a file, or by asking a judge now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from instruct.errors import DataError
from instruct.evaluation.files import identity, read_rows
from instruct.evaluation.metric import Judge, Settings, Unavailable
from instruct.evaluation.pairs import Group, Pairs, group_of


@dataclass(frozen=True)
class Judged:
    """Outputs per study, None where the judge failed.

    Attributes:
        outputs: in the order of the pairs.
        made_with: judge and prompt, where it was asked now.
        asked: was it asked now?
    """

    outputs: tuple[Any, ...]
    made_with: dict[str, str] = field(default_factory=dict)
    asked: bool = False

    @property
    def to_keep(self) -> tuple[Any, ...]:
        """The outputs where they are new."""
        return self.outputs if self.asked else ()


def judge_outputs(metric: str, pairs: Pairs, settings: Settings, readable: Callable[[str], bool]) -> Judged:
    """The judge's output for each study: of the given file, else of the given judge, else of GREEN's own model.

    Args:
        metric: ``green`` or ``fineradscore``.
        pairs: the studies.
        settings: files, judges, weights.
        readable: can an output be read?

    Raises:
        Unavailable: there is neither a file nor a judge.
        DataError: the file is malformed, an id repeats, or a scored study has no line.
        UsageError: the judge cannot be asked.
        TermsError: the terms of a source forbid asking this judge.
    """
    path = settings.judgements.get(metric)
    return _from_file(path, pairs) if path is not None else _ask(metric, pairs, settings, readable)


def _from_file(path: Path, pairs: Pairs) -> Judged:
    known = read_judgements(path)
    keys = [(group_of(extra), study) for extra, study in zip(pairs.extras, pairs.ids, strict=True)]
    lines = [known.get(key, known.get((None, key[1]), _ABSENT)) for key in keys]
    lost = [study for study, line in zip(pairs.ids, lines, strict=True) if line is _ABSENT]
    if lost:
        raise DataError(
            f"{path}: no judge output for {len(lost)} of {len(pairs)} studies: {', '.join(lost[:5])}"
            f"{' …' if len(lost) > 5 else ''}; write a line with output null where the judge failed"
        )
    return Judged(tuple(lines))


def read_judgements(path: Path) -> dict[tuple[Group | None, str], Any]:
    """Judge outputs by group and id; the group is None where the file names no task, dataset or split.

    Raises:
        DataError: a line lacks ``id`` or ``output``, or an id repeats.
    """
    known: dict[tuple[Group | None, str], Any] = {}
    for row in read_rows(path):
        study = identity(row)
        name = next((name for name in ("output", "text") if name in row.fields), None)
        if name is None:
            raise DataError(f"{row.place}: no 'output'; expected the judge's text, found {', '.join(row.fields)}")
        key = (group_of(row.fields) if any(name in row.fields for name in Group._fields) else None, study)
        if key in known:
            raise DataError(f"{row.place}: id {study!r} occurs twice; expected one judge output per study")
        known[key] = row.fields[name]
    return known


_ABSENT = object()


def _ask(metric: str, pairs: Pairs, settings: Settings, readable: Callable[[str], bool]) -> Judged:
    from instruct.evaluation.models.endpoint import ask_endpoint, check_endpoint
    from instruct.evaluation.models.prompts import prompt_for
    from instruct.evaluation.models.runtime import once_each, require_torch
    from instruct.evaluation.models.terms import check_terms
    from instruct.evaluation.models.weights import find_weights, judge_in

    judge = settings.judges.get(metric, Judge())
    folder = Path(judge.where) if judge.where and Path(judge.where).is_dir() else None
    if judge.where and folder is None:
        check_endpoint(judge)
    try:
        if not judge.where and metric != "green":
            raise Unavailable("", "")
        prompt = prompt_for(metric, judge.prompt)
        if not judge.where:
            (found,) = find_weights(["green"], settings)
            folder = found.folder
    except Unavailable as why:
        if judge.where:
            raise
        raise Unavailable(
            "judge outputs missing",
            f"give the judge's outputs with --judgements {metric}=FILE (lines of id and output), a judge with --judge "
            f"{metric}=URL or {metric}=FOLDER, or the column {metric!r} with --scores"
            + (f"; for GREEN: {why.remedy}" if why.remedy else ""),
        ) from None
    prompts = [prompt.write(truth, said) for said, truth in zip(pairs.predictions, pairs.texts, strict=True)]
    what = f"judge of {metric}"
    held: dict[str, str | None] = settings.session.once(("judge", metric), dict)
    if folder is not None:
        from instruct.evaluation.models.local_judge import load_judge

        require_torch()
        here, own = folder, not judge.where
        local = settings.session.once(("judge here", here, own), lambda: load_judge(here, settings, green=own))
        outputs = once_each(held, prompts, local.write)
        files = found if own else judge_in(here, what)
        digests = settings.session.once(("digests", what, here), files.digests)
        made_with = digests if own else {what: f"model in the folder {here.name}", **digests}
    else:
        check_terms(metric, pairs, judge.where, settings)
        outputs = once_each(held, prompts, lambda new: ask_endpoint(judge, new, readable))
        made_with = {what: f"{judge.model} at {urlsplit(judge.where).hostname}"}
    return Judged(tuple(outputs), {**made_with, f"prompt of {metric}": prompt.origin}, asked=True)
