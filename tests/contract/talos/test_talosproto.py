"""The committed messages and stubs are what the .proto files say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"
PACKAGE = Path("tallship/talosproto")


def test_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    protos = sorted((SOURCE / PACKAGE).glob("*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpclib_python")]
    names = [str(each.relative_to(SOURCE)) for each in protos]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}", *outputs, *names]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PATH": path}, cwd=SOURCE)
    made = {each.name: each.read_text() for each in (tmp_path / PACKAGE).iterdir()}
    kept = {each.name: each.read_text() for each in (SOURCE / PACKAGE).iterdir() if each.name in made}
    assert made == kept, "`make proto` writes them again"
    assert len(made) == 3 * len(protos)
