"""Commands in, events and the state of the bench out; no Qt."""
