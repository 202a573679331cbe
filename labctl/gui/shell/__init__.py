"""The window itself: pages, bar, messages, start and end."""
