"""``python -m tests.vm scenes`` and ``python -m tests.vm power-cut``."""

import sys

from tests.vm import scenes


def main() -> int:
    """Do what is asked."""
    match sys.argv[1:]:
        case ["scenes"]:
            return scenes.main()
        case ["power-cut", *words]:
            from tests.vm import power_cut  # noqa: PLC0415 - it reads the installed program

            return power_cut.main(words)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
