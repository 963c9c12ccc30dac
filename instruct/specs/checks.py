"""What is wrong with a task's query, without data."""

from __future__ import annotations

import re

from instruct.errors import SpecError
from instruct.specs.contract import CONTRACT
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry


def check_query(entry: TaskEntry, queries: RecordQueries) -> list[str]:
    """What of the record contract a task's query does not meet, and what it reads without saying so; empty if neither.

    Args:
        entry: the task.
        queries: queries over the tables of the task's sources, and of any others.

    Raises:
        SpecError: the query does not bind.
    """
    columns = queries.columns(entry)
    at = f"{entry.query_place()}: {entry.name}:"
    problems = [
        f"{at} the query uses tables of {name!r}; list it under reads" for name in _undeclared_sources(entry, queries)
    ]
    for name, kind, _, required, meaning in CONTRACT:
        given = columns.get(name)
        if given is None and required:
            problems.append(f"{at} the query has no column {name!r} ({meaning})")
        elif given is not None and given.replace('"', "") != kind:  # keywords among the field names are quoted
            problems.append(f"{at} column {name!r} is {given}; expected {kind} ({meaning})")
    problems += [
        f"{at} column {name!r} begins with an underscore; such names are the builder's"
        for name in columns
        if name.startswith("_")
    ]
    return problems


def _undeclared_sources(entry: TaskEntry, queries: RecordQueries) -> list[str]:
    """Sources whose tables a query needs, without those that the task says it reads; sorted.

    No analysis of the SQL sees all of them (tables stand for views, ``query_table`` takes a text): whether the query
    binds without a source tells it.
    """

    def binds_without(names: set[str]) -> bool:
        first, *others = [source for source in queries.sources if source.name not in names]
        with RecordQueries(first, reads=others) as without:
            try:
                return bool(without.columns(entry))
            except SpecError:
                return False

    query = entry.task.records.lower()
    foreign = {source.name for source in queries.sources} - {entry.spec.source, *entry.spec.reads}
    # Perhaps in a comment.
    named = sorted(name for name in foreign if re.search(rf'{re.escape(name)}"?\s*(\.|__)', query))
    if not named or binds_without(foreign):
        return []
    return [name for name in named if not binds_without({name})]
