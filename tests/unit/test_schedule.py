"""Backups at regular times."""

from __future__ import annotations

import pytest
import yaml

from tallship.manifests import schedule


@pytest.mark.parametrize(
    ("every", "calendar", "cron"),
    [
        ("15m", "*-*-* *:00/15:00 UTC", "*/15 * * * *"),
        ("6h", "*-*-* 00/6:02:00 UTC", "2 */6 * * *"),
        ("24h", "*-*-* 02:02:00 UTC", "2 2 * * *"),
        ("1d", "*-*-* 02:02:00 UTC", "2 2 * * *"),
        ("7d", "Sun *-*-* 02:02:00 UTC", "2 2 * * 0"),
    ],
)
def test_both_kinds_of_clock_are_told_the_same_times(every: str, calendar: str, cron: str) -> None:
    assert schedule.times(every, "k8s") == schedule.Times(calendar, cron)


@pytest.mark.parametrize("every", ["", "6", "6s", "5h", "7m", "0h", "1m", "2d", "-6h", "6h ", "\u0661h"])
def test_a_time_that_divides_no_day_is_refused(every: str) -> None:
    with pytest.raises(ValueError):
        schedule.times(every, "k8s")


def test_clusters_do_not_all_save_at_the_full_hour() -> None:
    assert len({schedule.times("1d", f"cluster-{each}").cron for each in range(40)}) > 20


def test_systemd_reads_the_names_as_they_are() -> None:
    text = schedule.service("k8s", "/opt/my programs/tallship", '/srv/50%/"$x\\y.yaml')
    assert 'ExecStart="/opt/my programs/tallship" backup save --file "/srv/50%%/\\"$$x\\\\y.yaml" --quiet' in text
    assert "backup prune" in text
    assert "Persistent=true" in schedule.timer("k8s", "6h")


def test_a_cron_job_runs_unprivileged_with_the_state_it_needs() -> None:
    job = yaml.safe_load(schedule.cron_job("k8s", "6h", "registry.example/tallship:1", "k8s-12345678"))
    assert (job["kind"], job["spec"]["schedule"], job["spec"]["concurrencyPolicy"]) == (
        "CronJob",
        "2 */6 * * *",
        "Forbid",
    )
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example/tallship:1"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    script = container["command"][-1]
    assert '"$XDG_STATE_HOME/tallship/k8s-12345678"' in script
    assert "tallship backup save --file /etc/tallship/tallship.yaml" in script
