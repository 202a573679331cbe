"""Stages, thermometers and whatever else a bench may have."""
