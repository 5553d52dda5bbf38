"""Builds the real programs of the end-to-end tests with Go, once: `python tests/e2e/build_programs.py`.

Their versions stand in `programs/*/go.mod`. They are kept in the user's cache, in a folder named after everything
that a build depends on, so they are made again when a version changes and at no other time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import platformdirs
from filelock import FileLock

MODULES = Path(__file__).parent / "programs"
NEEDED = "Go 1.25 or later, which builds the real programs (https://go.dev/doc/install)"
BUILD_SECONDS = 3600.0
_LIST_SECONDS = 600.0


class BuildFailed(Exception):
    """Go could not build a program; the text is the end of what it said."""


class CannotBuild(BuildFailed):
    """This machine cannot build: Go is too old, or its modules cannot be fetched."""


@dataclass(frozen=True)
class RealProgram:
    """A program: which of our modules requires it, its package, and the variables that its version is linked into.

    In a variable's value `{version}`, `{major}` and `{minor}` stand for the version of the required module.
    """

    name: str
    module: str
    package: str
    requires: str
    linked: Mapping[str, str] = field(default_factory=dict)


def _kubernetes(variables: str) -> dict[str, str]:
    values = {"gitVersion": "{version}", "gitMajor": "{major}", "gitMinor": "{minor}", "gitTreeState": "clean"}
    return {f"{variables}.{name}": value for name, value in values.items()}


# Kubernetes hack/lib/version.sh; Cluster API hack/version.sh; helm Makefile. Cluster API refuses an API server that
# calls itself v0.0.0-master, which is what one says that was built without this.
_SERVER = {**_kubernetes("k8s.io/component-base/version"), **_kubernetes("k8s.io/client-go/pkg/version")}
_CLUSTER_API = _kubernetes("sigs.k8s.io/cluster-api/version")
_HELM = {
    "helm.sh/helm/v3/internal/version.version": "{version}",
    "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
    "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "34",  # k8s.io/client-go v0.34, which helm 3.19 requires
}
_KUBERNETES_MODULE, _CLUSTER_API_MODULE = "k8s.io/kubernetes", "sigs.k8s.io/cluster-api"

PROGRAMS = (
    RealProgram("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
    RealProgram("etcdutl", "etcd", "go.etcd.io/etcd/etcdutl/v3", "go.etcd.io/etcd/etcdutl/v3"),
    RealProgram("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", _KUBERNETES_MODULE, _SERVER),
    RealProgram(
        "kube-controller-manager",
        "kubernetes",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        _KUBERNETES_MODULE,
        _SERVER,
    ),
    RealProgram("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", _KUBERNETES_MODULE, _SERVER),
    RealProgram(
        "clusterctl", "cluster-api", "sigs.k8s.io/cluster-api/cmd/clusterctl", _CLUSTER_API_MODULE, _CLUSTER_API
    ),
    RealProgram("cluster-api", "cluster-api", "sigs.k8s.io/cluster-api", _CLUSTER_API_MODULE, _CLUSTER_API),
    RealProgram("helm", "helm", "helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v3", _HELM),
    RealProgram(
        "versitygw",
        "versitygw",
        "github.com/versity/versitygw/cmd/versitygw",
        "github.com/versity/versitygw",
        {"main.Version": "{version}"},
    ),
)


def folder() -> Path:
    """Return where the programs of these versions are, or will be. Raises FileNotFoundError where Go is missing."""
    digest = hashlib.sha256(_go("env", "GOVERSION", "GOOS", "GOARCH").encode())
    digest.update(repr(PROGRAMS).encode())
    for module in sorted({each.module for each in PROGRAMS}):
        for name in ("go.mod", "go.sum"):
            digest.update((MODULES / module / name).read_bytes())
    return platformdirs.user_cache_path("tallship-tests") / "programs" / digest.hexdigest()[:16]


def missing() -> list[str]:
    """Return the names of the programs that have not been built."""
    return [each.name for each in PROGRAMS if not (folder() / each.name).exists()]


def version(program: RealProgram) -> str:
    """Return the version of a program as its go.mod pins it, such as v1.32.2."""
    return _module_version(program.module, program.requires)


def build() -> Path:
    """Build what is missing, with a line of progress for each; returns the folder. Raises BuildFailed."""
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / ".lock", timeout=BUILD_SECONDS):
        for number, program in enumerate(PROGRAMS, 1):
            if not (target / program.name).exists():
                print(f"[{number}/{len(PROGRAMS)}] building {program.name} {version(program)} ...", flush=True)
                begun = time.monotonic()
                _build(program, target)
                size = (target / program.name).stat().st_size / 2**20
                print(f"      {time.monotonic() - begun:.0f} s, {size:.0f} MiB", flush=True)
    return target


def _build(program: RealProgram, target: Path) -> None:
    unfinished = target / f".{program.name}.new"
    major, minor = version(program).lstrip("v").split(".")[:2]
    values = {"version": version(program), "major": major, "minor": minor}
    variables = (f"-X {name}={value.format(**values)}" for name, value in program.linked.items())
    _go("list", "-deps", program.package, module=program.module)  # fetches what it needs
    flags = ["-trimpath", "-ldflags", " ".join(("-s -w", *variables))]
    _go("build", *flags, "-o", str(unfinished), program.package, module=program.module, seconds=BUILD_SECONDS)
    unfinished.replace(target / program.name)


@cache
def _module_version(module: str, requires: str) -> str:
    return _go("list", "-m", "-f", "{{.Version}}", requires, module=module).strip()


def _go(*arguments: str, module: str = "", seconds: float = _LIST_SECONDS) -> str:
    """Return what Go says on stdout. Raises FileNotFoundError where it is missing, CannotBuild and BuildFailed."""
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError(NEEDED)
    flags = " ".join(("-mod=readonly -buildvcs=false", os.environ.get("GOFLAGS", "")))
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": flags, "GOWORK": "off"}
    done = subprocess.run(
        [go, *arguments], cwd=MODULES / module, env=environment, capture_output=True, text=True, timeout=seconds
    )
    if done.returncode:
        kind = BuildFailed if arguments[0] == "build" else CannotBuild
        raise kind("\n".join(done.stderr.strip().splitlines()[-10:]))
    return done.stdout


def main() -> int:
    """Build everything; returns the exit code: 0 also where that cannot be, since the tests are then skipped."""
    try:
        print(f"the real programs are in {build()}")
    except FileNotFoundError as needed:
        print(f"not built: this needs {needed}")
    except CannotBuild as problem:
        print(f"not built: this needs {NEEDED}, and Go modules:\n{problem}")
    except (BuildFailed, subprocess.TimeoutExpired) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
