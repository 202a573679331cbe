"""Calibrations of the chain from plate angle to fluence, and of the spectrometer: pure functions over scans.

Each takes what was measured and returns a frozen result with its standard errors, or raises
CalibrationRefused with what is missing.
"""
