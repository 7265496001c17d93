"""Run edgesep as `python -m edgesep`."""

import sys

from edgesep.cli import main

if __name__ == "__main__":
    sys.exit(main())
