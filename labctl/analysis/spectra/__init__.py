"""Spectra: from raw counts to signals, widths, peaks, line shapes and Q. Pure functions over arrays."""
