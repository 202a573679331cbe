"""``labctl fit``: thresholds of stored runs, and the spread between spots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def run_fit(files: Sequence[Path], *, figures: bool, as_json: bool) -> int:
    """Fit every file and print one result.

    :raises DataError: a file cannot be fitted; it is named.
    """
    from labctl.cli.signals import ended_at_once
    from labctl.cli.sweep import with_figures
    from labctl.cli.table import print_result
    from labctl.runner.refit import refit, spot_spread

    with ended_at_once():
        runs = [refit(path) for path in files]
    if figures:
        runs = [with_figures(run) for run in runs]
    print_result(runs, as_json=as_json, spread=spot_spread(runs))
    return 0
