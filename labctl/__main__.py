"""``python -m labctl``: the command line without the installed script."""

import sys

from labctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
