"""The simulated bench: one scene, and instruments that speak the real wire protocols."""
