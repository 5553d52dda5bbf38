"""The options that every command takes, under the same names everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tallship.errors import SetupError


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What every command takes."""

    file: Annotated[Path, Parameter(name=["--file", "-f"])] = Path("tallship.yaml")
    """the cluster file"""
    lab: Annotated[bool, Parameter(negative="")] = False
    """rehearse it in the lab on this machine"""
    output: Literal["text", "json"] = "text"
    """what goes to stdout"""
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False
    """agree to what would be asked"""
    timeout: float | None = None
    """seconds for the whole command"""
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="")] = False
    """show each call"""
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    """no progress"""

    @property
    def text(self) -> bool:
        """True when a person reads stdout."""
        return self.output == "text"

    def suffix(self) -> str:
        """Return the options that belong to the next command too, for a person to copy."""
        parts = ["" if self.file == Path("tallship.yaml") else f" --file {self.file}", " --lab" if self.lab else ""]
        return "".join(parts)


DEFAULT = Options()


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a mapping. Raises SetupError for a word that is not one."""
    split = [word.partition("=") for word in words]
    if any(not sign for _, sign, _ in split):
        raise SetupError("write it as KEY=VALUE", hint="for example `--set talos.version=v1.12.2`")
    return {key: text for key, _, text in split}
