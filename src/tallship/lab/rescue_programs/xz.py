"""`xz -dc` from stdin or a file, for a rescue system on a machine without xz. Copied, not imported."""

import lzma
import shutil
import sys


def main(words: list[str]) -> int:
    """Decompress to stdout; returns xz's exit code."""
    names = [word for word in words if not word.startswith("-")]
    source = names[0] if names else sys.stdin.buffer
    try:
        with lzma.open(source) as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
    except (OSError, lzma.LZMAError, EOFError) as error:
        sys.stderr.write(f"xz: {names[0] if names else '(stdin)'}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
