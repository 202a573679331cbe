"""Calibrations, guided."""
