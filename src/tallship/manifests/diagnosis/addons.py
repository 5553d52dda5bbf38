"""Rules about what is installed: Helm releases, and the controllers' own pods."""

from __future__ import annotations

from collections.abc import Iterator

from tallship import versions
from tallship.manifests import conditions
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Document, Picture
from tallship.manifests.release import revision

RESTARTS = 5
"""So many restarts of one container are no accident."""


def releases(picture: Picture) -> Iterator[Finding]:
    """A release that a killed helm left behind, that failed, or that is not there."""
    if "Secret" not in picture.workload:
        return
    for name, chart in versions.CHARTS.items():
        own = [
            e for e in picture.workload["Secret"] if (e["metadata"].get("labels") or {}).get("name") == chart.release
        ]
        own = [each for each in own if each["metadata"]["labels"].get("owner") == "helm"]
        if not own:
            advice = f"`tallship up --only {name}` installs it"
            yield Finding("release-absent", "error", f"{name} is not installed", "nobody installed it", advice)
            continue
        newest = max(own, key=revision)
        status = str(newest["metadata"]["labels"].get("status", ""))
        if status.startswith("pending-"):
            yield Finding(
                "release-pending",
                "error",
                f"helm refuses to touch {name}",
                f"the release is {status}: a helm was killed in the middle, or is still at it",
                f"`tallship up --only {name}` cleans up and installs it",
                (f"revision {newest['metadata']['labels'].get('version')}",),
                f"release {name}",
            )
        elif status == "failed":
            advice = f"`tallship up --only {name}` installs it again"
            yield Finding("release-failed", "error", f"{name} is not whole", "helm's last upgrade failed", advice)


def crashes(picture: Picture) -> Iterator[Finding]:
    """Containers that end again and again."""
    for pod in (*picture.management.get("Pod", ()), *picture.workload.get("Pod", ())):
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            restarts = int(container.get("restartCount", 0))
            if waiting.get("reason") != "CrashLoopBackOff" and restarts < RESTARTS:
                continue
            yield Finding(
                "crash-loop",
                "error",
                f"pod {conditions.name(pod)} ends again and again",
                _last_end(container) or "its log says why",
                f"`kubectl logs --previous -n {pod['metadata'].get('namespace')} {conditions.name(pod)}`",
                (f"{container.get('name')}: {restarts} restarts",),
            )


def _last_end(container: Document) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    return f"it ended with {ended.get('exitCode')}: {ended.get('reason', '')}" if ended else ""


def waiting(picture: Picture) -> Iterator[Finding]:
    """Deployments of the controllers that are not available."""
    places = {each.namespace for each in versions.PROVIDERS}
    for each in picture.management.get("Deployment", ()):
        if each["metadata"].get("namespace") in places and not conditions.deployment_available(each):
            yield Finding(
                "controller-down",
                "error",
                f"controller {conditions.name(each)} does not run",
                "nothing of its kind happens meanwhile",
                "`tallship up --only capi-init` waits for it and shows its events",
                tuple(conditions.why_not_ready(each)[:3]),
            )


RULES: tuple[Rule, ...] = (releases, crashes, waiting)
