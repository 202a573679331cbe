"""Runs a procedure on a bench, safe on every exit; then fits it, reports it and draws it."""
