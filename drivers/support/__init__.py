"""What the drivers share: configuration models, VISA connections, the spectrometer's child process."""
