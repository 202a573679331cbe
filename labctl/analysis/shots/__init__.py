"""What single shots say: pure functions on arrays of shots."""
