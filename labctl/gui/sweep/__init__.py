"""What to sweep, and the queue of sweeps."""
