"""`curl -o FILE URL` for a rescue system on a machine without curl. Copied, not imported."""

import os
import shutil
import ssl
import sys
import urllib.request
from pathlib import Path


def main(words: list[str]) -> int:
    """Download the URL into the file; returns curl's exit code."""
    target, url, left = "", "", list(words)
    while left:
        word = left.pop(0)
        if word == "-o":
            target = left.pop(0)
        elif word in ("-A", "--retry"):
            left.pop(0)
        elif not word.startswith("-"):
            url = word
    trust = ssl.create_default_context(cafile=os.environ.get("CURL_CA_BUNDLE"))
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=60) as answer, Path(target).open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        sys.stderr.write(f"curl: (22) {error}\n")
        return 22
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
