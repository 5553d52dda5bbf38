"""A kubeconfig gives an identity, and never a way around TLS."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from identities import kubeconfig, pair

from tallship.adapters import kubeconfig as reader
from tallship.adapters.kube import Kube
from tallship.errors import SetupError

EXEC = "client.authentication.k8s.io/v1beta1"


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("cluster", "told", "hint"),
    [
        ({"insecure-skip-tls-verify": True}, "verification of certificates off", "certificate-authority-data"),
        ({"server": "http://10.0.0.1:6443"}, "not an https address", "https://"),
        ({"server": "10.0.0.1:6443"}, "not an https address", "https://"),
        ({"server": "https://"}, "not an https address", "https://"),
        ({"server": "https://[::1"}, "not a usable kubeconfig", "repair"),
        ({"server": "https://a:99999"}, "not a usable kubeconfig", "repair"),
        ({"server": None}, "lacks `server`", "repair"),
        ({"certificate-authority-data": "bm90aGluZw=="}, "certificates in", "repair"),
        ({"certificate-authority-data": "a"}, "not a usable kubeconfig", "repair"),
    ],
)
def test_a_server_without_verified_tls_is_refused(
    tmp_path: Path, cluster: dict[str, Any], told: str, hint: str
) -> None:
    with pytest.raises(SetupError, match=told) as caught:
        Kube(written(tmp_path, kubeconfig(cluster)))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"auth-provider": {"name": "gcp"}}, "names an auth-provider"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "a"}}, "names a program of"),
        ({"exec": {"command": "a"}}, "lacks `apiVersion`"),
        ({"token": "two words"}, "no token holds"),
        ({"tokenFile": "absent"}, "No such file"),
        ({"client-certificate": "absent", "client-key": "absent"}, "No such file"),
        ({"client-certificate-data": pair()[0]}, "certificates in"),
        ({"client-certificate-data": pair()[0], "client-key-data": pair(b"locked")[1]}, "locked with a passphrase"),
        ({"username": 5}, "is no text"),
        ([], "is no mapping"),
    ],
)
def test_an_identity_that_cannot_be_used_is_refused(tmp_path: Path, user: dict[str, Any], told: str) -> None:
    with pytest.raises(SetupError, match=told) as caught:
        Kube(written(tmp_path, kubeconfig(user=user)))
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_what_other_contexts_say_does_not_matter(tmp_path: Path) -> None:
    document = kubeconfig()
    document["clusters"].append({"name": "other", "cluster": {"server": 5, "insecure-skip-tls-verify": True}})
    document["users"].append({"name": "other", "user": None})
    document["contexts"].append({"name": "other", "context": {"cluster": "other"}})
    Kube(written(tmp_path, document)).close()
    for context, told in (("other", "lacks `user`"), ("nobody", "has no context `nobody`")):
        with pytest.raises(SetupError, match=told):
            Kube(written(tmp_path, document), context)


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    identity = reader.read(written(tmp_path, kubeconfig(user={"tokenFile": "token"})), None)
    assert identity.config.user is not None
    assert identity.config.user.token_file == str(tmp_path / "token")


def test_what_is_not_known_of_a_cluster_is_passed_over(tmp_path: Path) -> None:
    others = {"tls-server-name": "a", "proxy-url": "http://127.0.0.1:9", "disable-compression": True, "extensions": []}
    Kube(written(tmp_path, kubeconfig(others))).close()


def program(folder: Path, text: str, **more: Any) -> dict[str, Any]:
    """Return a user whose token a program prints."""
    file = folder / "gives-token"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(0o755)
    return {"exec": {"apiVersion": EXEC, "command": "./gives-token", **more}}


def asked(folder: Path, user: dict[str, Any], *statuses: int) -> list[str]:
    """Return with which token a request is made, time after time, until it is not answered 401."""
    identity = reader.read(written(folder, kubeconfig(user=user)), None)
    assert identity.program is not None
    request = httpx2.Request("GET", "https://a")
    flow, sent = identity.program.auth_flow(request), []
    next(flow)
    for status in statuses:
        sent.append(request.headers["Authorization"])
        try:
            flow.send(httpx2.Response(status, request=request))
        except StopIteration:
            break
    return sent


PRINTS = """
import json, os, pathlib
n = pathlib.Path(__file__).with_name("n")
n.write_text(n.read_text() + "I" if n.exists() else "I")
told = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert told["kind"] == "ExecCredential" and told["apiVersion"], told
assert "HCLOUD_TOKEN" not in os.environ
print(json.dumps({"status": {"token": f"{os.environ['PREFIX']}-{n.read_text()}"}}))
"""


def test_a_program_gives_the_token_and_is_asked_again_when_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "x" * 64)
    user = program(tmp_path, PRINTS, env=[{"name": "PREFIX", "value": "a"}], args=["-v"])
    assert asked(tmp_path, user, 401, 401) == ["Bearer a-I", "Bearer a-II"]
    assert asked(tmp_path, user, 200, 200) == ["Bearer a-III"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys; print('secret, go away', file=sys.stderr); sys.exit(3)", "failed (3)"),
        ("print('no json')", "gave no token"),
        ("print('[' * 100000)", "gave no token"),
        ("import json; print(json.dumps({'status': {}}))", "gave no token"),
        ("import json; print(json.dumps({'status': {'token': 'a b'}}))", "gave no token"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "gave no token"),
    ],
)
def test_a_program_that_gives_no_token_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SetupError) as caught:
        asked(tmp_path, program(tmp_path, text))
    assert told in caught.value.message
    assert "./gives-token" in caught.value.hint


def test_a_program_that_is_not_there_is_named_when_the_api_is_asked(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": EXEC, "command": "no-such-program"}}
    with closing(Kube(written(tmp_path, kubeconfig(user=user)))) as kube:
        with pytest.raises(SetupError, match="no-such-program"):
            kube.is_up()
        assert json.dumps(kube.calls)
