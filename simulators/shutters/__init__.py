"""Simulated shutters."""
