"""Simulated stages and thermometers."""
