"""What came of a run: one function for running fit, end of a run, ``labctl fit``, window and script."""

from labctl.analysis.evaluation.evaluate import (
    emission_threshold,
    evaluate,
    evaluate_curve,
    fit_curve,
    unfitted,
)

__all__ = ["emission_threshold", "evaluate", "evaluate_curve", "fit_curve", "unfitted"]
