"""Where the Hetzner token comes from: the environment, a file, or a command; never the cluster file itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tallship.errors import SetupError
from tallship.spec import Spec

LENGTH = 64
"""Hetzner's tokens have 64 characters."""


def read_token(spec: Spec, environment: Mapping[str, str], base: Path) -> str:
    """Return the token; a file is named relative to `base`.

    Raises SetupError when there is none, or when it cannot be one.
    """
    if spec.hetzner.token_command is not None:
        token, source = _from_command(spec.hetzner.token_command), "hetzner.token_command"
    elif spec.hetzner.token_file is not None:
        token, source = _from_file(base / Path(spec.hetzner.token_file).expanduser()), "hetzner.token_file"
    else:
        token, source = environment.get("HCLOUD_TOKEN", "").strip(), "HCLOUD_TOKEN"
    if not token:
        raise SetupError(
            f"there is no Hetzner API token: {source} is empty",
            hint="`export HCLOUD_TOKEN=…`, or set `hetzner.token_command` in the cluster file; `--lab` needs none",
        )
    if len(token) != LENGTH or not token.isalnum():
        raise SetupError(
            f"what {source} holds is not a Hetzner API token: it has {len(token)} characters, not {LENGTH}",
            hint="Hetzner's console shows a token once, when it is made: project, security, API tokens",
        )
    return token


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SetupError(f"{path} cannot be read: {reason}", hint="`hetzner.token_file` names it") from error


def _from_command(command: tuple[str, ...]) -> str:
    from tallship.adapters.programs import output_of

    return output_of(command).strip()
