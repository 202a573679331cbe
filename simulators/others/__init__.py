"""Simulated stages, thermometers and heaters."""
