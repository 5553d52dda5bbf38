"""Watching: what was missed, what comes, bookmarks, and what is too old."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from api_lab import CONFIG_MAPS, MERGE, ONE, ApiLab, config_map
from clients import Cluster

from tallship.lab.kubeclient import Object

Event = dict[str, Any]
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


@contextmanager
def watching(
    lab: ApiLab, path: str = CONFIG_MAPS, headers: dict[str, str] | None = None, **query: str
) -> Iterator[Any]:
    """Give an iterator over the events of a watch."""
    with lab.http.stream("GET", path, params={"watch": "true", **query}, headers=headers or {}) as answer:
        assert answer.headers["content-type"] == "application/json"
        yield (json.loads(line) for line in answer.iter_lines())


def told(event: Event) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"].get("name", "")


def test_watch_tells_what_was_missed_and_what_comes(lab: ApiLab) -> None:
    begin = lab.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    lab.create(CONFIG_MAPS, config_map(a="1"))
    with watching(lab, resourceVersion=begin) as events:
        assert told(next(events)) == ("ADDED", "one")
        lab.send("PATCH", ONE, {"data": {"a": "2"}}, MERGE)
        changed = next(events)
        assert (told(changed), changed["object"]["data"]) == (("MODIFIED", "one"), {"a": "2"})
        lab.send("DELETE", ONE)
        gone = next(events)
        assert told(gone) == ("DELETED", "one")
        versions = [each["object"]["metadata"]["resourceVersion"] for each in (changed, gone)]
        assert int(versions[1]) > int(versions[0])


def test_watch_without_a_version_begins_with_what_is_there(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map())
    with watching(lab) as events:
        assert told(next(events)) == ("ADDED", "one")


def test_initial_events_end_with_a_marked_bookmark(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map())
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    with watching(lab, **query) as events:
        assert told(next(events)) == ("ADDED", "one")
        mark = next(events)
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["kind"] == "ConfigMap"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_bookmarks_come_once_a_minute_and_the_watch_ends_in_time(lab: ApiLab) -> None:
    begin = lab.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    with watching(lab, resourceVersion=begin, allowWatchBookmarks="true", timeoutSeconds="90") as events:
        lab.wait(200)
        assert [event["type"] for event in events] == ["BOOKMARK", "BOOKMARK"]


def test_version_that_is_forgotten_is_expired(lab: ApiLab) -> None:
    begin = lab.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    lab.create(CONFIG_MAPS, config_map())
    lab.call(lab.api.compact)
    with watching(lab, resourceVersion=begin) as events:
        [event] = list(events)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_objects_come_and_go_as_they_begin_and_cease_to_match(lab: ApiLab) -> None:
    begin = lab.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    with watching(lab, resourceVersion=begin, labelSelector="a=b") as events:
        lab.create(CONFIG_MAPS, config_map())
        lab.send("PATCH", ONE, {"metadata": {"labels": {"a": "b"}}}, MERGE)
        assert told(next(events)) == ("ADDED", "one")
        lab.send("PATCH", ONE, {"metadata": {"labels": {"a": "c"}}}, MERGE)
        assert told(next(events)) == ("DELETED", "one")


def test_other_namespaces_are_not_told(lab: ApiLab) -> None:
    begin = lab.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    with watching(lab, resourceVersion=begin) as events:
        lab.create("/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "other"}})
        lab.create(CONFIG_MAPS, config_map())
        assert told(next(events)) == ("ADDED", "one")


def test_watch_of_a_table_sends_rows(lab: ApiLab) -> None:
    lab.create("/api/v1/namespaces", {"metadata": {"name": "two"}})
    with watching(lab, "/api/v1/namespaces", TABLE, fieldSelector="metadata.name=two") as events:
        row = next(events)["object"]
    assert (row["kind"], row["rows"][0]["cells"][:2]) == ("Table", ["two", "Active"])


def test_lightkube_watches(cluster: Cluster) -> None:
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}})
    made = cluster.get("v1", "ConfigMap", "one")
    cluster.patch("v1", "ConfigMap", "one", {"data": {"a": "1"}}, "tests")
    event, changed = next(cluster.watch("v1", "ConfigMap", made["metadata"]["resourceVersion"]))
    assert (event, changed["data"]) == ("MODIFIED", {"a": "1"})


def test_the_controllers_client_lists_and_follows(lab: ApiLab) -> None:
    async def follow() -> list[tuple[str, str]]:
        client = lab.kube_client()
        one: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
        try:
            await client.create(one)
            found = []
            async for event, item in client.watch("ConfigMap", "default"):
                found.append((event, item["metadata"]["name"]))
                if event == "ADDED":
                    await client.patch(one, {"data": {"a": "1"}})
                elif event == "MODIFIED":
                    await client.delete("ConfigMap", "one", "default")
                else:
                    return found
        finally:
            await client.close()
        return []

    assert lab.ask(follow()) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
