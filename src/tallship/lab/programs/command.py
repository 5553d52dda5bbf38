"""Command lines: exactly those that are sent are understood; all others are refused in the real programs' words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tallship.lab.programs.conversation import Failed


@dataclass(frozen=True)
class Form:
    """One command that a program takes."""

    words: tuple[str, ...]
    """`("create", "cluster")`"""
    options: frozenset[str] = frozenset()
    """Options with a value; every one of `required` must be there."""
    required: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    arguments: tuple[int, int] = (0, 0)
    """The least and the greatest number of arguments that are no options."""


def form(
    words: str, required: str = "", options: str = "", flags: str = "", arguments: tuple[int, int] = (0, 0)
) -> Form:
    """Return a form, written as lists of words."""
    must = frozenset(required.split())
    return Form(tuple(words.split()), must | frozenset(options.split()), must, frozenset(flags.split()), arguments)


@dataclass
class Command:
    """A command line that was understood."""

    form: Form
    options: dict[str, list[str]] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)

    def __getitem__(self, option: str) -> str:
        return self.options[option][-1]

    def get(self, option: str, default: str = "") -> str:
        """Return an option's last value."""
        return self.options.get(option, [default])[-1]


def parse(program: str, argv: Sequence[str], forms: Sequence[Form], prefix: str = "Error: ") -> Command:
    """Return what the command line says. Raises Failed with the words that Go's cobra has for it."""
    known = [each for each in forms if tuple(argv[: len(each.words)]) == each.words]
    if not known:
        raise Failed(f'{prefix}unknown command "{argv[0] if argv else ""}" for "{program}"')
    chosen = max(known, key=lambda each: len(each.words))
    command = Command(chosen)
    rest = iter(argv[len(chosen.words) :])
    for word in rest:
        name, equals, value = word.partition("=")
        if word in chosen.flags:
            command.flags.add(word)
        elif name in chosen.options:
            given = value if equals else next(rest, None)
            if given is None:
                raise Failed(f"{prefix}flag needs an argument: {word}")
            command.options.setdefault(name, []).append(given)
        elif word.startswith("-") and word != "-":
            raise Failed(f"{prefix}unknown {_flag(word)}")
        else:
            command.arguments.append(word)
    _check(program, command, prefix)
    return command


def _flag(word: str) -> str:
    return f"flag: {word.partition('=')[0]}" if word.startswith("--") else f"shorthand flag: {word[1]!r} in {word}"


def _check(program: str, command: Command, prefix: str) -> None:
    chosen, given = command.form, command.arguments
    least, most = chosen.arguments
    what = " ".join((program, *chosen.words))
    if not least <= len(given) <= most:
        raise Failed(f'{prefix}"{what}" requires {least} argument{"" if least == 1 else "s"}, got {len(given)}')
    missing = sorted(chosen.required - set(command.options))
    if missing:
        # The real programs have defaults for these; we always say them, so a line without them is a mistake of ours.
        quoted = ", ".join(f'"{each.lstrip("-")}"' for each in missing)
        raise Failed(f"{prefix}required flag(s) {quoted} not set (the lab's stand-in of {program} needs them)")
