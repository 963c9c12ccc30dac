"""The ``cxr-instruct`` command."""

from __future__ import annotations

import atexit
import gc
import json
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

import instruct
from instruct.cli.arrow_alone import leave_pandas
from instruct.errors import UsageError, UserError
from instruct.memory import own_process

_COMMANDS = (
    "demo", "sources", "synth", "lint", "plan", "build", "merge", "verify", "audit", "counts", "show", "stats", "card",
    "preview", "push", "copy", "export", "diff", "mixture", "check", "train", "adapter", "generate", "evaluate",
    "leaderboard", "demo-train", "schema",
)  # fmt: skip

EXIT_CODES = """\
\b
Exit codes:
  0    done
  1    failed
  2    the command was used wrongly
  3    a task spec, template or recipe is invalid
  4    data is missing, malformed or does not verify, or leaks between splits
  5    refused by the terms of a source
  130  interrupted"""


# Of the extra [train]; imported where they are needed, so that their lack shows there.
_TRAINING = ("torch", "transformers", "peft", "accelerate")


class _Group(click.Group):
    """Commands by module, imported when they are called."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _TRAINING:
                raise
            raise UsageError(f"{package} is not installed: pip install 'cxr-instruct[train]'") from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"instruct.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        if args[0] not in _COMMANDS and (near := get_close_matches(args[0], _COMMANDS, n=1)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(instruct.__version__, prog_name="cxr-instruct")
def cli() -> None:
    """Chest X-ray datasets to instruction-tuning data, an adapter and its scores."""


def main() -> None:
    """Run the command line; a user's mistake ends in a message and an exit code, not in a traceback."""
    own_process()
    leave_pandas()
    atexit.register(gc.freeze)  # to collect once more what ends with the process would take a tenth of a second
    interrupted = _watch_for_interrupts()
    try:
        code = cli.main(standalone_mode=False)
    except Exception as error:
        code = 130 if interrupted else _code_of(error)
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        click.echo("interrupted; what is finished is kept", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _watch_for_interrupts() -> list[int]:
    """A list that is not empty any more once Ctrl-C was pressed.

    A library that is interrupted may raise an error of its own instead of KeyboardInterrupt, as DuckDB does.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, interrupt)
    return came


def _code_of(error: Exception) -> int:
    """Tell an error; its exit code. What is a defect of this package is raised again."""
    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
        return 1
    if isinstance(error, click.ClickException):
        _tell_programs(error.format_message(), error.exit_code)
        error.show()
        return error.exit_code
    if isinstance(error, UserError):
        _tell_programs(str(error), error.exit_code)
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return error.exit_code
    raise error


def _tell_programs(error: str, code: int) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": error, "exit_code": code}))
