"""Attenuators: what turns to set the transmission."""
