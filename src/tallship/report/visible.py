"""Text from outside must not speak to the terminal: names, messages and logs may hold any character."""

from __future__ import annotations


def visible(text: str) -> str:
    """Return text whose characters can all be seen, but for line ends and tabs; the others are written as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def visible_line(text: str) -> str:
    """Return text on one line whose characters can all be seen: what is asked cannot be answered by a name in it."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
