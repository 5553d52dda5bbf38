"""What it costs when there is twice as much: each figure is a ratio of two sizes, taken in one run.

A loop within a loop over the same things makes it four; what grows with the things alone makes it two. Times are those
of the processor in whoever is measured, the least of several, so that other work on the machine changes little.
"""

from __future__ import annotations

import copy
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huge import fill, shore
from measured import MOST_MB, Measured, run, tallship

from bench.figures import Figure
from bench.voyage import Voyage, voyage
from tallship.adapters.hetzner_resources import Server
from tallship.manifests import diagnosis
from tallship.manifests.picture import Picture
from tallship.manifests.redaction import Known, redacted
from tallship.ops import node_list, picture
from tallship.report.console import TidyConsole
from tallship.report.tables import nodes_table
from tallship.spec import Spec, parse_spec

MOST = 2.6
"""What twice as much may cost: two, and a little for what a machine does beside."""
ROUNDS = 7
NODES, SERVERS = (10, 100, 250, 500), (50, 500, 2500, 5000)
LIST = """
import sys
from pathlib import Path
from tallship.adapters.hetzner import Hetzner
assert len(Hetzner(sys.argv[1], sys.argv[2], Path(sys.argv[3])).list_resources("servers")) == int(sys.argv[4])
"""


def measure() -> list[Figure]:
    """Return the ratios for what is read and shown, and the memory of whole processes."""
    figures = [_twice(what, work, size, unit) for what, work, size, unit in _of_files()]
    with voyage() as ship:
        ship.up()
        ship._world.run(lambda: ship._world.clock.sleep(300))  # every pod runs
        seen = _picture(ship)
        figures += [_twice(what, work, size, unit) for what, work, size, unit in _of_pictures(seen)]
        figures += _processes(ship)
    return figures


def _of_files() -> Iterator[tuple[str, Callable[[int], Callable[[], object]], int, str]]:
    def pools(count: int) -> Callable[[], object]:
        each = "".join(f"  - {{name: w{number}, server_type: cx33, replicas: 1}}\n" for number in range(count))
        return lambda: _parsed(f"name: k8s\nworkers:\n{each}")

    def patches(count: int) -> Callable[[], object]:
        each = "".join(f"    - |\n      machine: {{sysctls: {{a.b{number}: '1'}}}}\n" for number in range(count))
        return lambda: _parsed(f"name: k8s\ntalos:\n  patches:\n{each}")

    def mistakes(count: int) -> Callable[[], object]:
        return lambda: parse_spec("name: k8s\n" + "".join(f"key{number}: x\n" for number in range(count)))

    yield "a cluster file", pools, 24, "pools"
    yield "a cluster file", patches, 50, "patches"
    yield "a cluster file", mistakes, 1000, "mistakes"


def _parsed(text: str) -> Spec:
    reading = parse_spec(text)
    if reading.spec is None:
        raise RuntimeError(f"the cluster file is wrong: {reading.mistakes[:3]}")
    return reading.spec


def _picture(ship: Voyage) -> Picture:
    with closing(ship._env()) as env:
        return ship._world.run(lambda: picture.gather(env))


def _of_pictures(seen: Picture) -> Iterator[tuple[str, Callable[[int], Callable[[], object]], int, str]]:
    def rules(nodes: int) -> Callable[[], object]:
        found = _grown(seen, nodes)
        return lambda: diagnosis.diagnose(found)

    def table(nodes: int) -> Callable[[], object]:
        found = _grown(seen, nodes)
        servers = [Server.read(dict(each)) for each in found.hetzner["servers"]]
        view, hosts = node_list.EtcdView(), [dict(each) for each in found.nodes]

        def draw() -> None:
            described = node_list.describe(hosts, servers, view, found.today)
            TidyConsole(file=io.StringIO(), width=200).print(nodes_table(described))

        return draw

    def redaction(nodes: int) -> Callable[[], object]:
        found = _grown(seen, nodes)
        secrets = [f"a secret of node {number}, line {line}" for number in range(nodes) for line in range(30)]

        def take_out() -> None:
            known = Known(secrets)
            json.dumps([redacted(each, known) for each in found.nodes])

        return take_out

    yield "the rules of a diagnosis", rules, 500, "nodes"
    yield "a table of nodes", table, 250, "nodes"
    yield "a bundle without secrets", redaction, 150, "nodes, each with 30 secrets"


def _grown(seen: Picture, nodes: int) -> Picture:
    """Return a picture with so many nodes, each with all that belongs to one."""

    def copies(objects: list[Any], named: str) -> list[Any]:
        found = []
        for number in range(nodes):
            each = copy.deepcopy(dict(objects[number % len(objects)]))
            text = json.dumps(each).replace(str(each[named]["name"] if named else each["name"]), f"node-{number}")
            found.append(json.loads(text))
        return found

    management = {**seen.management}
    for kind in ("Machine", "HCloudMachine", "TalosConfig"):
        management[kind] = copies(seen.management[kind], "metadata")
    workload = {**seen.workload, "Node": copies(seen.workload["Node"], "metadata")}
    hetzner = {**seen.hetzner, "servers": copies(seen.hetzner["servers"], "")}
    for number, server in enumerate(hetzner["servers"]):
        server["id"] = number
    return Picture(seen.spec, datetime.now(UTC), management, workload, hetzner=hetzner, members=seen.members)


def _twice(what: str, work: Callable[[int], Callable[[], object]], size: int, unit: str) -> Figure:
    one, two = _least(work(size), work(2 * size))
    note = f"{one * 1000:.0f} ms, then {two * 1000:.0f} ms"
    return Figure(f"{what}: {size} to {2 * size} {unit}", two / one, "ratio", MOST, note)


def _least(*works: Callable[[], object]) -> list[float]:
    """Return the least time of each, taken in turn: a machine may be slower for a while."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, times in zip(works, took, strict=True):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
    return [min(times) for times in took]


def _processes(ship: Voyage) -> list[Figure]:
    """Return what whole processes take for more and more nodes and servers, less what they take for the first few."""
    looks: dict[int, Measured] = {}
    lists: dict[int, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="tallship-bench-") as name:
        folder = Path(name)
        environment = shore(ship._world, ship._spec, ship._folder, folder)
        for nodes, servers in zip(NODES, SERVERS, strict=True):
            fill(ship._world, ship._spec, nodes, servers)
            looks[nodes] = _well(tallship(folder, environment, "status", "--output", "json"))
            words = [ship._world.token, environment["HCLOUD_ENDPOINT"], environment["REQUESTS_CA_BUNDLE"], str(servers)]
            lists[servers] = _well(run([sys.executable, "-c", LIST, *words], folder, environment))
    return [*_growth("`status`", "nodes", looks), *_growth("a list of the project", "servers", lists)]


def _growth(what: str, unit: str, found: dict[int, Measured]) -> Iterator[Figure]:
    few, _, half, whole = found
    base, took = found[few].seconds, {size: each.seconds for size, each in found.items()}
    note = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in took.items())
    ratio = (took[whole] - base) / (took[half] - base)
    yield Figure(f"{what}: {half} to {whole} {unit}, less that of {few}", ratio, "ratio", MOST, note)
    yield Figure(f"{what}: memory for {whole} {unit}", found[whole].peak_mb, "MB", MOST_MB)


def _well(done: Measured) -> Measured:
    if done.code != 0:
        raise RuntimeError(f"it ended with {done.code}:\n{done.out[-1000:]}{done.err[-1000:]}")
    return done
