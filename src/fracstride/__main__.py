"""``python -m fracstride``: see :mod:`fracstride.commands`."""

from __future__ import annotations

import sys

from fracstride.commands import main

if __name__ == "__main__":
    sys.exit(main())
