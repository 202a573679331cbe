"""The command line: what a user types, and one clear line when it cannot be done.

Nothing heavy is imported here or in :mod:`labctl.cli.app`: each command imports what it needs when it runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from labctl import SHADOW_HINT, shadow
from labctl.cli.output import printable_streams, write_lines
from labctl.model.errors import Aborted, ConfigError, LabctlError, NotConnected

EXIT_ABORTED = 130
_EXIT_USAGE = 2
_EXIT_DATA = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 done, 2 usage or configuration, 3 instrument, 4 safety stop, 5 data, 130 aborted; 1 is a defect.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    # Records go to a run's log file; without a handler Python would print them beside the one clear line.
    logging.getLogger().addHandler(logging.NullHandler())
    _make_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that cannot show a character must not end a run
            stream.reconfigure(errors="replace")
    with printable_streams():
        try:
            code = _run([a for a in arguments if a != "--debug"])
            sys.stdout.flush()
        except BaseException as exc:  # noqa: BLE001  the one place that turns exceptions into exit codes
            code = _explain(exc, debug)
    return code


def _make_streams() -> None:
    """Give a process without standard streams, as pythonw or a closed descriptor leaves it, silent ones."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    if reason := shadow():
        raise ConfigError(reason, hint=SHADOW_HINT)
    from labctl.cli.app import command_line

    result = command_line(arguments)(args=arguments or ["--help"], prog_name="labctl", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _explain(exc: BaseException, debug: bool) -> int:
    """Print one line for ``exc`` on stderr and return the exit code."""
    # The reader had enough, e.g. ``labctl init | head``; click turns the error into an exit of its own.
    # An instrument whose line broke is another matter.
    left = isinstance(exc, BrokenPipeError) or isinstance(exc.__context__, BrokenPipeError)
    if left and not isinstance(exc, LabctlError):
        _silence_stdout()
        return 0
    if isinstance(exc, SystemExit):
        return exc.code if isinstance(exc.code, int) else 1
    if debug and not isinstance(exc, (KeyboardInterrupt, Aborted)):
        traceback.print_exception(exc)
    code, line = _code_and_line(exc)
    if isinstance(exc, NotConnected):  # laid out as by labctl check
        line = f"not connected: {exc.instrument}. Try: the hint given with each of them above"
        for failure in exc.failures:
            _say(f"FAILED  {failure.role} ({failure.resource}): {failure.reason}", keep=True)
            _say(f"        try: {failure.hint or 'see labctl check'}", keep=True)
    _say("; ".join([line.rstrip("."), *getattr(exc, "__notes__", ())]))
    if isinstance(exc, OSError):
        _silence_stdout()
    return code


def _code_and_line(exc: BaseException) -> tuple[int, str]:
    import typer

    usage_error = typer.BadParameter.__bases__[0]  # click's, which newer releases of typer carry inside
    if isinstance(exc, LabctlError):
        return exc.exit_code, str(exc)
    if isinstance(exc, (KeyboardInterrupt, Aborted, typer.Abort)):
        return EXIT_ABORTED, "aborted"
    if isinstance(exc, usage_error):
        return _EXIT_USAGE, _usage_line(exc)
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename else ""
        return _EXIT_DATA, f"{where}{exc.strerror or exc}"
    return 1, f"unexpected {type(exc).__name__}: {exc}. Try: repeat with --debug, and report the output"


def _usage_line(exc: BaseException) -> str:
    message = str(getattr(exc, "format_message", lambda: str(exc))()).replace(": Value error, ", ": ")
    context = getattr(exc, "ctx", None)
    command = str(getattr(context, "command_path", "labctl"))
    stop = "" if message.endswith(("?", "!")) else "."
    return f"{message.rstrip('.')}{stop} Try: {command} --help"


def _say(line: str, *, keep: bool = False) -> None:
    with contextlib.suppress(OSError, ValueError):
        write_lines([line if keep else f"labctl: {' '.join(line.split())}"], sys.stderr)


def _silence_stdout() -> None:
    """Give the interpreter's last flush somewhere to go, so that it says nothing more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
