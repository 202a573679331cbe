"""The second process, which makes a bench safe when this one is killed or frozen; both sides of it."""
