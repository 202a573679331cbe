"""Spectrometers."""
