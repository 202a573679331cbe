"""Simulated instruments behind a USB plug, served by USB/IP on loopback."""
