"""Simulated power meters."""
