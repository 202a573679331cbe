"""Stands in for the process of the fits: reads its question, then holds the interpreter for ever."""

import re
import sys

if __name__ == "__main__":
    sys.stdin.readline()
    re.fullmatch("(a|a)+", "a" * 200 + "b")  # no thread of this process runs meanwhile
