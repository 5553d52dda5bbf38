"""Who we are at an object storage: from the environment, a file or a command; never from the cluster file itself."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tallship.adapters.programs import output_of
from tallship.adapters.shapes import MISREAD
from tallship.errors import SetupError

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
HINT = "Hetzner's console makes them: project, security, S3 credentials"


@dataclass(frozen=True)
class Credentials:
    """A key and its secret; `session` belongs to credentials that are lent for a while."""

    key: str
    secret: str = field(repr=False)
    session: str = field(default="", repr=False)


def find(file: Path | None, command: Sequence[str] | None, environment: Mapping[str, str] | None = None) -> Credentials:
    """Return the credentials; without file and command those of the environment.

    Raises SetupError that tells where they were looked for.
    """
    if command is not None:
        return parse(output_of(command), f"what `{command[0]}` prints")
    if file is not None:
        try:
            return parse(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            hint = "`backup.s3.credentials_file` names it"
            raise SetupError(f"{file} cannot be read: {reason}", hint=hint) from error
    found = [(os.environ if environment is None else environment).get(name, "").strip() for name in NAMES]
    if not all(found[:2]):
        hint = f"`export {NAMES[0]}=… {NAMES[1]}=…`, or name `backup.s3.credentials_file`"
        raise SetupError("there are no credentials for the object storage", hint=hint)
    return Credentials(*found)


def parse(text: str, source: str) -> Credentials:
    """Return what a file of AWS' tools says under `default`, or else first, or what a `credential_process` prints.

    Raises SetupError for anything else, without a word of it.
    """
    hint = "it holds `aws_access_key_id = …` and `aws_secret_access_key = …` below `[default]`"
    try:
        found = _of_json(text) if text.lstrip().startswith("{") else _of_file(text)
    except (configparser.Error, *MISREAD):
        raise SetupError(f"{source} holds no credentials of an object storage", hint=hint) from None
    if not found.key or not found.secret or not f"{found.key}{found.secret}{found.session}".isprintable():
        raise SetupError(f"{source} holds no credentials of an object storage", hint=hint)
    return found


def _of_json(text: str) -> Credentials:
    read = json.loads(text)
    return Credentials(str(read["AccessKeyId"]), str(read["SecretAccessKey"]), str(read.get("SessionToken") or ""))


def _of_file(text: str) -> Credentials:
    read = configparser.RawConfigParser()
    read.read_string(text)
    section = read["default" if read.has_section("default") else read.sections()[0]]
    return Credentials(
        section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
    )
