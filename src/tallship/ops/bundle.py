"""One archive with everything that a diagnosis looked at, to be given to somebody who helps; without secrets."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tallship import __version__, atomic
from tallship.env import Env
from tallship.errors import SetupError
from tallship.manifests.diagnosis import Finding
from tallship.manifests.picture import Picture
from tallship.manifests.redaction import Known, redacted, redacted_text
from tallship.ops.files import PRIVATE

RUN_LOGS = 5
"""So many of the newest run logs are in it."""


def write(env: Env, picture: Picture, findings: Iterable[Finding], path: Path) -> Path:
    """Write the archive, whole or not at all, readable by this person alone. Raises SetupError."""
    secrets = Known(_secrets(env, picture))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, parts in _files(env, picture, findings, secrets):
            content = io.BytesIO()
            for part in parts:
                content.write(part.encode(errors="backslashreplace"))
            entry = tarfile.TarInfo(f"tallship-{env.spec.name}/{name}")
            entry.size, entry.mode = content.tell(), 0o600
            content.seek(0)
            archive.addfile(entry, content)
    try:
        atomic.write(path, packed.getvalue(), PRIVATE)
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}", hint="choose another place") from error
    return path


def _files(
    env: Env, picture: Picture, findings: Iterable[Finding], secrets: Known
) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the name of each file and its text, in parts: a cluster may have hundreds of nodes."""
    about = {"tallship": __version__, "today": picture.today.isoformat(), "unseen": picture.unseen}
    yield "about.json", [_json(redacted(about, secrets))]
    yield "findings.json", _list((each.as_data() for each in findings), secrets)
    yield "cluster-file.json", [_json(redacted(env.spec.model_dump(mode="json"), secrets))]
    for place, objects in (("management", picture.management), ("workload", picture.workload)):
        for kind, found in objects.items():
            yield f"{place}/{kind}.json", _list(found, secrets)
    for collection, found in picture.hetzner.items():
        yield f"hetzner/{collection}.json", _list(found, secrets)
    yield "talos.json", [_json(redacted(_talos(picture), secrets))]
    for name, lines in picture.logs.items():
        yield f"logs/{name}.log", [redacted_text("\n".join(lines), secrets)]
    logs = sorted((env.folder / "logs").glob("*.jsonl"))[-RUN_LOGS:]
    for log in logs:
        yield f"runs/{log.name}", [redacted_text(log.read_text(encoding="utf-8", errors="replace"), secrets)]


def _talos(picture: Picture) -> dict[str, Any]:
    services = {
        address: str(found) if isinstance(found, Exception) else {each.id: each.state for each in found}
        for address, found in picture.services.items()
    }
    members = [{"hostname": each.hostname, "learner": each.is_learner} for each in picture.members or ()]
    return {"members": members, "services": services, "stages": dict(picture.stages), "alarms": picture.alarms}


def _secrets(env: Env, picture: Picture) -> Iterator[str]:
    """Yield every text that is known to be secret: the token, and what the Secrets hold, in clear and as stored."""
    yield env.site.token
    for objects in (picture.management, picture.workload):
        for each in objects.get("Secret", ()):
            for value in (each.get("data") or {}).values():
                yield str(value)
                try:
                    clear = base64.b64decode(value).decode()
                except ValueError:
                    continue
                if "\n" not in clear.strip():
                    yield clear.strip()
                yield from (line.strip() for line in clear.splitlines() if len(line.strip()) >= 20)


def _list(found: Iterable[Any], secrets: Known) -> Iterator[str]:
    """Yield a list as JSON, entry by entry."""
    before = "["
    for each in found:
        yield before + _json(redacted(each, secrets))
        before = ",\n"
    yield "[]" if before == "[" else "]"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str)
