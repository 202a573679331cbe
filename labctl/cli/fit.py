"""``labctl fit``: thresholds of stored runs, and the spread between spots."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_fit(files: Sequence[Path], *, as_json: bool) -> int:
    """Fit every file and print one result.

    :raises DataError: a file cannot be fitted; it is named.
    """
    from labctl.cli.table import print_result
    from labctl.runner.refit import refit, spot_spread

    runs = [refit(path) for path in files]
    spread = spot_spread(runs)
    print_result(runs, as_json=as_json, extra={"spread": spread} if spread else None)
    if not as_json:
        for sample in spread:
            sys.stdout.write(spread_line(sample) + "\n")
    return 0


def spread_line(spread: Mapping[str, object]) -> str:
    """Say how far spots of one sample differ, beside what one spot's interval covers."""
    numbers = {key: value for key, value in spread.items() if isinstance(value, (int, float))}
    own = (
        f"; one spot's own interval is +-{100 * numbers['interval_rel']:.1f} %"
        if "interval_rel" in numbers
        else ""
    )
    return (
        f"{spread['sample']}: {spread['spots']} spots, mean {numbers['mean']:.2f} uJ/cm2, "
        f"from spot to spot {numbers['sd']:.2f} uJ/cm2 "
        f"({100 * numbers['rel']:.1f} %, one standard deviation){own}"
    )
