"""Errors a user can cause, each with the exit code that the command line gives it.

Every message says where (``file:line``), what is wrong, what was expected and what to do.
Anything that is not a :class:`UserError` is a defect of this package and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A mistake outside this package: in a file, an option or an environment.

    Attributes:
        exit_code: process exit status of the command line for this kind of error.
    """

    exit_code = 1


class UsageError(UserError):
    """A command or a call was used wrongly (unknown task, conflicting options)."""

    exit_code = 2


class SpecError(UserError):
    """A task spec, template or recipe is invalid; carries every problem found, not just the first.

    Args:
        problems: one ``file:line:column: message`` line each.
    """

    exit_code = 3

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[list[str]]]:
        return (type(self), (self.problems,))


class DataError(UserError):
    """A source file is missing, malformed or contradicts itself; or what was written does not verify."""

    exit_code = 4


class TermsError(UserError):
    """The terms of a source forbid what was asked."""

    exit_code = 5
