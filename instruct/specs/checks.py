"""What is wrong with a task's query, without data."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb

from instruct.errors import SpecError
from instruct.specs.contract import CONTRACT
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry

# Functions that give something else at every call, or on every day.
CHANGING = {
    "current_connection_id", "current_query", "current_query_id", "current_transaction_id", "currval",
    "gen_random_uuid", "nextval", "random", "setseed", "setval", "sleep_ms", "stats", "uuid", "uuidv4", "uuidv7",
    "vector_type", "write_log",
    "ago", "get_current_time", "get_current_timestamp", "now", "today", "transaction_timestamp", "txid_current",
}  # fmt: skip
# A function that is called, a word that is one, or a choice of rows by lot.
_CHANGING = re.compile(
    rf"""\b(?P<called>{"|".join(sorted(CHANGING))})\b"?\s*\("""
    r"""|(?<![."])\b(?P<word>current_(date|time|timestamp|localtime|localtimestamp)|localtime|localtimestamp)\b"""
    r"""|\b(?P<lot>tablesample|using\s+sample)\b""",
    re.IGNORECASE,
)


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
    problems += _changing(entry)
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


def _changing(entry: TaskEntry) -> Iterator[str]:
    """What of a query gives other records each time: they are to be the same on every machine and day."""
    query = entry.task.records
    if not _CHANGING.search(query):
        return
    for found in _CHANGING.finditer(_code(query)):
        told = f"{found['called'].lower()}()" if found["called"] else " ".join(found[0].split())
        yield (
            f"{entry.query_place(found.string.count(chr(10), 0, found.start()) + 1)}: {entry.name}: {told} differs from"
            " one run to the next; stable_hash(key, purpose) chooses at random and always the same"
        )


def _code(query: str) -> str:
    """A query with nothing but its line breaks in place of texts and comments."""
    text = query.encode()
    tokens = duckdb.tokenize(query)
    ends = [begin for begin, _ in tokens[1:]] + [len(text)]
    hidden = (duckdb.token_type.string_const, duckdb.token_type.comment)
    parts = [
        b"\n" * text.count(b"\n", begin, end) + b" " if kind in hidden else text[begin:end]
        for (begin, kind), end in zip(tokens, ends, strict=True)
    ]
    return b"".join(parts).decode()


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
