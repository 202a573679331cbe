"""What each command does, and the options that it declares."""
