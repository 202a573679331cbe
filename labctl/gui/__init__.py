"""The bench window: widgets and presenters over the runner; nothing that a script could not do.

Qt's thread never waits and never touches an instrument. Out of the other threads come typed events through a
queue that a timer empties at 25 Hz at most; into them go commands and a stop flag.
"""
