"""The thread that owns the bench for the window, and the one that can close the shutter beside it."""
