"""`curl` to stdout, or with `-o FILE`, for a rescue system on a machine without curl. Copied, not imported."""

import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

WITH_VALUE = ("-A", "--retry", "--connect-timeout", "--speed-limit", "--speed-time")


def main(words: list[str]) -> int:
    """Download the URL; returns curl's exit code."""
    target, url, left = "", "", list(words)
    while left:
        word = left.pop(0)
        if word == "-o":
            target = left.pop(0)
        elif word in WITH_VALUE:
            left.pop(0)
        elif not word.startswith("-"):
            url = word
    if not target:
        return download(url, sys.stdout.buffer)
    with Path(target).open("wb") as file:
        return download(url, file)


def download(url: str, file: BinaryIO) -> int:
    """Write what the URL holds; returns curl's exit code: 18 for a part of it, 22 for a refusal, 7 for no answer."""
    trust = ssl.create_default_context(cafile=os.environ.get("CURL_CA_BUNDLE"))
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=60) as answer:
            return copy(answer, file, int(answer.headers.get("Content-Length") or 0))
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"curl: (22) {error}\n")
        return 22
    except OSError as error:
        sys.stderr.write(f"curl: (7) {error}\n")
        return 7


def copy(answer: BinaryIO, file: BinaryIO, promised: int) -> int:
    """Copy until the answer ends; returns 18 when that was too early, 23 when nobody takes it."""
    came = 0
    while part := answer.read(2**16):
        try:
            file.write(part)
            file.flush()
        except OSError:
            return 23
        came += len(part)
    return 18 if came < promised else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
