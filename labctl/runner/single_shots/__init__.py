"""Runs that keep every shot of the laser: bursts at one fluence, and flights."""
