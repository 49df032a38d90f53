"""``python -m listener`` is ``earmark``."""

import sys

from listener.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
