"""``python -m tests.vm scenes``, ``power-cut`` or ``image``; `make vm` and others call it."""

import sys

from tests.vm import image_boot, power_cut, scenes


def main() -> int:
    """Run a subcommand."""
    match sys.argv[1:]:
        case ["scenes", *words]:
            return scenes.main(words)
        case ["power-cut", *words]:
            return power_cut.main(words)
        case ["image", *words]:
            return image_boot.main(words)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
