"""What the real helm installs in the lab: packages of the charts that the stand-in knows too."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import yaml

from tallship.lab.programs.charts import REPOSITORIES, Chart

TEMPLATES = Path(__file__).parents[1] / "charts"
"""One template for each chart, which makes of the values what the stand-in makes of them."""


def write(folder: Path) -> None:
    """Write `NAME-VERSION.tgz` for each version of each chart, as `helm pull` would."""
    folder.mkdir(parents=True, exist_ok=True)
    for versions in REPOSITORIES.values():
        for chart in versions.values():
            (folder / f"{chart.name}-{chart.version}.tgz").write_bytes(_package(chart))


def _package(chart: Chart) -> bytes:
    files = {
        "Chart.yaml": yaml.safe_dump(chart.metadata()),
        "values.yaml": yaml.safe_dump(chart.defaults),
        "templates/all.yaml": (TEMPLATES / f"{chart.name}.yaml").read_text(),
    }
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{chart.name}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return whole.getvalue()
