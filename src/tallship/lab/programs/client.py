"""What every stand-in program runs: `client.py CONTROL-FILE NAME ARGUMENTS…`, with the standard library alone.

It speaks HTTP by hand: http.client would take longer to import than all the rest. The request's body stays open while
the program runs: when the program is killed the lab sees it end, and SIGTERM is one more line in it.
"""
# ruff: noqa: PTH108, PTH109, PTH110, PTH112, PTH113, PTH118, PTH123, PTH208, T201
# (pathlib would double the time to start; printing is what a program does)

import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

FILE_OPTIONS = ("--kubeconfig", "--to-kubeconfig", "--config", "--values")
FOLDER_OPTIONS = ("--from-directory", "--to-directory")
GENTLE = ("helm",)
"""Programs that clean up when they get SIGTERM; the others just end."""


def main() -> int:
    """Be the program; returns its exit status."""
    control_file, name, *arguments = sys.argv[1:]
    with open(control_file, encoding="utf-8") as file:
        control = json.load(file)
    try:
        return converse(control, name, arguments)
    except OSError as error:
        print(f"the lab does not answer: {error}; is it up? (`tallship lab up`)", file=sys.stderr)
        return 1


def converse(control: dict[str, Any], name: str, arguments: list[str]) -> int:
    """Send the command line, and do as the answer says, line by line."""
    with socket.create_connection((control["host"], control["port"])) as connection:
        words = {"argv": arguments, "cwd": os.getcwd(), "stdin": standard_input(arguments), "files": files(arguments)}
        head = (
            f"POST /programs/{name} HTTP/1.1\r\nHost: {control['host']}:{control['port']}\r\n"
            f"User-Agent: tallship-program/{name}\r\nAuthorization: Bearer {control['secret']}\r\n"
            "Connection: close\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode() + chunk(words))
        if name in GENTLE:
            signal.signal(signal.SIGTERM, lambda *_: connection.sendall(chunk({"signal": "TERM"})))
        with connection.makefile("rb") as answer:
            first = answer.readline().decode().strip()
            while answer.readline().strip():
                pass
            if first.split()[1:2] != ["200"]:
                print(f"the lab refuses `{name}`: {first}", file=sys.stderr)
                return 1
            status = follow(lines(answer))
        connection.sendall(b"0\r\n\r\n")  # the end of the request's body
        return status


def follow(answer: Iterable[bytes]) -> int:
    """Print and write what the lab says; returns the exit status that ends it."""
    for line in answer:
        word = json.loads(line)
        if "exit" in word:
            return int(word["exit"])
        if "kill" in word:
            os.kill(os.getpid(), int(word["kill"]))
        if "file" in word:
            write_file(word["file"], word["text"])
        else:
            stream = sys.stderr if "err" in word else sys.stdout
            stream.write(word.get("err", "") + word.get("out", ""))
            stream.flush()
    print("the lab went away", file=sys.stderr)
    return 1


def lines(answer: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a chunked body."""
    rest = b""
    while size := int(answer.readline().strip() or b"0", 16):
        *whole, rest = (rest + answer.read(size)).split(b"\n")
        answer.readline()
        yield from whole


def chunk(word: dict[str, Any]) -> bytes:
    """Return one line of JSON as one chunk of the request's body."""
    text = json.dumps(word).encode() + b"\n"
    return b"%x\r\n%s\r\n" % (len(text), text)


def standard_input(arguments: list[str]) -> str:
    """Return stdin where an option asks for it."""
    return sys.stdin.read() if "-" in arguments else ""


def files(arguments: list[str]) -> dict[str, str]:
    """Return the text of each file that an option names; one that is not there is left out.

    A folder is `FOLDER/` without a text; of one to read from, each file too.
    """
    found = {}
    for option, value in zip(arguments, arguments[1:], strict=False):  # noqa: RUF007 - spares an import
        if option in FILE_OPTIONS and os.path.isfile(value):
            with open(value, encoding="utf-8") as file:
                found[value] = file.read()
        if option in FOLDER_OPTIONS and os.path.isdir(value):
            found[f"{value}/"] = ""
            for name in os.listdir(value) if option == "--from-directory" else ():
                with open(os.path.join(value, name), encoding="utf-8") as file:
                    found[f"{value}/{name}"] = file.read()
    return found


def write_file(path: str, text: str) -> None:
    """Write a file that only its owner can read; an empty text removes it."""
    if not text:
        if os.path.exists(path):
            os.unlink(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
