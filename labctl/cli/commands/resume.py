"""``labctl resume``: the rest of a run that was interrupted, once it is agreed that the bench is the same."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import Json
from labctl.cli.signals import stop_on_signals
from labctl.model.errors import Aborted, ConfigError

if TYPE_CHECKING:
    from labctl.cli.progress import Progress
    from labctl.runner.report import RunReport

_POLL_S = 0.1
_YES = {"y", "yes"}
_WORD = "resume"
_WITH_BENCH = "give the bench file with --bench; --yes then accepts the differences"


def resume(
    run: Annotated[
        Path, typer.Argument(help="The run file (.h5) of an interrupted sweep.", show_default=False)
    ],
    bench: Annotated[
        Path | None,
        typer.Option(
            "--bench", help="The bench file.", show_default="the one stored in the run, after confirmation"
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept differences between this bench and that of the run.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures as PNG at the end.")] = False,
    as_json: Json = False,
) -> int:
    """Measure the rest of an aborted, failed or killed sweep, into the same files.

    Points that are there stay. Resources and limits are those of the bench file; differences from the run's
    are shown, and there is no light before they are agreed to.
    """
    with stop_on_signals() as stop:
        from labctl.cli.commands.sweep import with_figures
        from labctl.cli.progress import make_progress
        from labctl.cli.table import print_result
        from labctl.runner.run import RunFailed

        try:
            with make_progress() as progress:
                report = _resumed(run, bench, stop, progress, yes=yes)
        except RunFailed as failed:
            if as_json or failed.report.points:
                print_result([failed.report], as_json=as_json)
            raise failed.error from None
        print_result([with_figures(report) if figures else report], as_json=as_json)
    if report.status == "aborted":
        raise Aborted
    return 0


def _resumed(
    path: Path, bench: Path | None, stop: threading.Event, progress: Progress, *, yes: bool
) -> RunReport:
    from labctl.cli.terminal_operator import make_insert
    from labctl.runner.events import Message
    from labctl.runner.resume import resume_run

    def say(text: str) -> None:
        progress(Message(text))

    confirm, trust = make_confirm(stop, say, yes=yes), make_trust(stop, say)
    insert = make_insert(stop, say)
    return resume_run(path, bench, stop=stop, on_event=progress, confirm=confirm, trust=trust, insert=insert)


def make_trust(stop: threading.Event, say: Callable[[str], None]) -> Callable[[tuple[str, ...]], None]:
    """Return what shows the resources and limits of a run, and has them agreed to by a typed word.

    ``--yes`` agrees to differences from a bench file; without one there is nothing to differ from.
    """

    def trust(lines: tuple[str, ...]) -> None:
        for line in lines:
            say(f"the run says: {line}")
        if not sys.stdin.isatty():
            raise ConfigError("resources and limits would come from the run file alone", hint=_WITH_BENCH)
        say(
            f"these come from the run file, not from a bench file; type {_WORD} to connect to them with "
            f"these limits, anything else to cancel"
        )
        if _typed(stop).strip().lower() != _WORD:
            raise ConfigError("resources and limits of the run were not confirmed", hint=_WITH_BENCH)

    return trust


def make_confirm(
    stop: threading.Event, say: Callable[[str], None], *, yes: bool
) -> Callable[[tuple[str, ...]], None]:
    """Return what shows differences and has them agreed to: by ``--yes``, or by a typed y on a terminal.

    :param say: shows one line to the user.
    """

    from labctl.cli.terminal_operator import forget_typed

    def confirm(differences: tuple[str, ...]) -> None:
        for line in differences:
            say(f"the bench differs: {line}")
        if yes:
            return
        if not sys.stdin.isatty():
            raise ConfigError(
                f"the bench differs from the run's: {'; '.join(differences)}",
                hint="repeat with --yes if this is correct",
            )
        say("the shutter is closed; type y to continue with this bench, anything else to cancel")
        forget_typed()
        if _typed(stop).strip().lower() not in _YES:
            raise ConfigError("the differences were not confirmed; the run is unchanged")

    return confirm


def _typed(stop: threading.Event) -> str:
    """Wait for a line on standard input, but no longer than until a stop is asked for."""
    answer: list[str] = []
    reader = threading.Thread(target=lambda: answer.append(sys.stdin.readline()), daemon=True)
    reader.start()
    while reader.is_alive():
        if stop.is_set():
            raise Aborted
        reader.join(_POLL_S)
    return answer[0] if answer else ""
