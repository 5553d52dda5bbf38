"""A kubeconfig: which API server, whom we trust there, and as whom we speak. What would switch TLS off is refused."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import lightkube
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError

from tallship import bounded
from tallship.adapters.shapes import MISREAD, Shape, fitted
from tallship.errors import SetupError

Document = dict[str, Any]

HINT = "repair it; one that tallship wrote is written again when it is removed"
EXEC_SECONDS = 60.0
"""How long a program may take that gives a token."""
EXEC_VERSIONS = tuple(f"client.authentication.k8s.io/{each}" for each in ("v1", "v1beta1"))
KEPT_FROM_PROGRAMS = ("HCLOUD_TOKEN",)
"""What of our environment is not for a program that gives a token for Kubernetes."""
_TOKEN = re.compile(r"[\x21-\x7e]+")


def packed(value: Any) -> bool:
    """True for what is written in base64."""
    return isinstance(value, str) and bool(base64.b64decode(value) or True)


_CONTEXT: Shape = {"cluster!": str, "user!": str}
_CLUSTER: Shape = {"server!": str, "certificate-authority": str, "certificate-authority-data": packed}
_USER: Shape = {
    "client-certificate": str,
    "client-certificate-data": packed,
    "client-key": str,
    "client-key-data": packed,
    "token": str,
    "tokenFile": str,
    "username": str,
    "password": str,
    "exec": {"apiVersion!": str, "command!": str, "args": [str], "env": [{"name!": str, "value!": str}]},
}


class Identity(NamedTuple):
    """What lightkube must know, and who gives the token where a program does."""

    config: SingleConfig
    program: Exec | None


def read(path: Path, context: str | None) -> Identity:
    """Return what one context of a kubeconfig says; the current one where none is named. Raises SetupError."""
    try:
        found = bounded.load(bounded.read_text(path))
        if not isinstance(found, dict):
            raise ValueError("it holds no keys and values")
        return _identity(path, found, str(context or found.get("current-context") or ""))
    except (ConfigError, OSError, bounded.Unreadable, *MISREAD) as error:
        raise SetupError(f"{path} is not a usable kubeconfig: {_told(error)}", hint=HINT) from error


def client(identity: Identity, path: Path, **options: Any) -> lightkube.Client:
    """Return lightkube's client for it. Raises SetupError for certificates and keys that are none."""
    try:
        made = lightkube.Client(identity.config, **options)
    except (ConfigError, OSError, *MISREAD) as error:
        said = f"the certificates in {path} are not usable: {_told(error)}"
        raise SetupError(said, hint=HINT) from error
    if identity.program is not None:
        made._client._client.auth = identity.program
    return made


def _identity(path: Path, found: Document, name: str) -> Identity:
    chosen = _find(found, "context", name)
    if chosen is None:
        raise SetupError(f"{path} has no context `{name}`", hint="`management.context` names it")
    context = fitted(chosen, _CONTEXT)
    cluster = fitted(_get(found, "cluster", context["cluster"]), _CLUSTER)
    user = fitted(_get(found, "user", context["user"]), _USER)
    _heed_tls(path, cluster)
    _heed_certificates(path, cluster, user)
    program = _prepare(path, user)
    parts = {
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    config = lightkube.KubeConfig.from_dict(parts, fname=path).get()
    assert config is not None  # noqa: S101 - its context was just put there
    return Identity(config, program)


def _find(found: Document, noun: str, name: str) -> Any:
    entries = fitted(found.get(f"{noun}s") or [], [{"name!": str}])
    return next((each.get(noun) for each in entries if each["name"] == name), None)


def _get(found: Document, noun: str, name: str) -> Any:
    entry = _find(found, noun, name)
    if entry is None:
        raise ValueError(f"it has no {noun} of the name that its context gives")
    return entry


def _heed_tls(path: Path, cluster: Document) -> None:
    """Raise SetupError for a server that would be spoken to without TLS, or without a look at its certificate."""
    if cluster.get("insecure-skip-tls-verify"):
        hint = "name the server's authority, `certificate-authority-data`, in place of `insecure-skip-tls-verify`"
        raise SetupError(f"{path} switches the verification of certificates off", hint=hint)
    server = urlsplit(cluster["server"])
    if server.scheme != "https" or not server.hostname or server.port == 0:
        raise SetupError(f"{path} names a server that is not an https address", hint="such as https://10.0.0.1:6443")


def _prepare(path: Path, user: Document) -> Exec | None:
    """Make what a user names usable here; returns the program that gives a token. Raises SetupError, ValueError."""
    if user.pop("auth-provider", None):
        hint = "give it a client certificate, a token or an `exec` program; Kubernetes itself knows none since 1.26"
        raise SetupError(f"{path} names an auth-provider", hint=hint)
    if "tokenFile" in user:
        user["tokenFile"] = str(path.parent / user["tokenFile"])
        _check_token(Path(user["tokenFile"]).read_text(encoding="utf-8").strip())
    if "token" in user:
        user["token"] = _check_token(user["token"].strip())
    wanted = user.pop("exec", None)
    return None if wanted is None or "token" in user or "tokenFile" in user else Exec(path, wanted)


def _check_token(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError("its token holds what no token holds")
    return token


def _heed_certificates(path: Path, cluster: Document, user: Document) -> None:
    """Raise SetupError or OSError for certificates and keys that are none."""
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority = _pem(path, cluster, "certificate-authority")
    certificate, key = _pem(path, user, "client-certificate"), _pem(path, user, "client-key")
    try:
        if "ENCRYPTED" in key:
            raise ValueError("the client key is locked with a passphrase")
        if authority:
            trusted.load_verify_locations(cadata=authority)
        if certificate or key:
            with tempfile.NamedTemporaryFile() as pair:  # ssl takes a client certificate from a file only
                pair.write(f"{certificate}\n{key}".encode())
                pair.flush()
                trusted.load_cert_chain(pair.name, password="")
    except (OSError, *MISREAD) as error:  # ssl.SSLError is an OSError
        raise SetupError(f"the certificates in {path} are not usable: {error}"[:400], hint=HINT) from error


def _pem(path: Path, entry: Document, key: str) -> str:
    """Return a certificate or a key, from the kubeconfig itself or from the file that it names; or nothing."""
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode("latin-1")
    return (path.parent / entry[key]).read_text(encoding="latin-1") if key in entry else ""


def _told(error: Exception) -> str:
    """Return what an error says, without a word of what stood in the file."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)[: bounded.LONGEST_WORDS]


class Exec(httpx2.Auth):
    """A token that a program prints, as `kubectl` has it (client.authentication.k8s.io); asked again after a 401."""

    def __init__(self, path: Path, wanted: Mapping[str, Any]) -> None:
        """Raises SetupError for a kind of program that is not known."""
        self._path, self._wanted, self._token = path, wanted, ""
        if wanted["apiVersion"] not in EXEC_VERSIONS:
            hint = f"known are {' and '.join(EXEC_VERSIONS)}"
            raise SetupError(f"{path} names a program of {wanted['apiVersion'][:80]}", hint=hint)

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Give a request its token. Raises SetupError when the program gives none."""
        for fresh in (False, True):
            if fresh or not self._token:
                self._token = self._ask()
            request.headers["Authorization"] = f"Bearer {self._token}"
            answer = yield request
            if answer.status_code != httpx2.codes.UNAUTHORIZED:
                return

    def _ask(self) -> str:
        command = self._wanted["command"]
        place = str(self._path.parent / command) if os.sep in command else command
        hint = f"`{command}` gives the token of {self._path}: run it by hand"
        asked = {"apiVersion": self._wanted["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {key: value for key, value in os.environ.items() if key not in KEPT_FROM_PROGRAMS}
        environment |= {each["name"]: each["value"] for each in self._wanted.get("env", ())}
        try:
            done = subprocess.run(
                [place, *self._wanted.get("args", ())],
                env={**environment, "KUBERNETES_EXEC_INFO": json.dumps(asked)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=EXEC_SECONDS,
                check=True,
            )
            return _check_token(fitted(json.loads(done.stdout), {"status!": {"token!": str}})["status"]["token"])
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()[-bounded.LONGEST_WORDS :]
            raise SetupError(f"`{command}` failed ({error.returncode})", detail=said, hint=hint) from error
        except subprocess.TimeoutExpired:
            raise SetupError(f"`{command}` gave no token in {EXEC_SECONDS:.0f} s", hint=hint) from None
        except (OSError, *MISREAD) as error:
            raise SetupError(f"`{command}` gave no token: {_told(error)}", hint=hint) from error
