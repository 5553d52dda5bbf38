"""`xz -dc FILE` and `xz --robot -l FILE` for a rescue system on a machine without xz. Copied, not imported."""

import lzma
import shutil
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Decompress to stdout, or tell the sizes as xz tells them to scripts; returns xz's exit code."""
    name = words[-1]
    try:
        with lzma.open(name) as file:
            if "-l" in words:
                size = sum(len(part) for part in iter(lambda: file.read(2**20), b""))
                sys.stdout.write(f"totals\t1\t1\t{Path(name).stat().st_size}\t{size}\n")
            else:
                shutil.copyfileobj(file, sys.stdout.buffer)
    except (OSError, lzma.LZMAError, EOFError) as error:
        sys.stderr.write(f"xz: {name}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
