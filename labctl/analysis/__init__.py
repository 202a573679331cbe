"""Pure functions from counts and fluences to physics: spectra, fluence, threshold."""
