"""Simulated attenuators."""
