"""The supervisor's process: `python -m tallship.localplane FOLDER`; what it has to say goes to its log on stderr."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from filelock import Timeout

from tallship.localplane.files import Layout
from tallship.localplane.supervisor import Supervisor


def main() -> int:
    """Supervise the plane of a folder until told to stop; returns the exit code."""
    layout = Layout(Path(sys.argv[1]))
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with layout.lock("supervisor", 0):
            Supervisor(layout).run()
    except Timeout:
        logging.error("another process supervises `%s`", layout.folder)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
