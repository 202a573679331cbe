"""The figures of runs, as PNG files: of one sweep, its lines, a stability run, and several runs together."""
