"""Stages, thermometers, heaters and whatever else a bench may have."""
