"""`tallship backup …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.engine import Flow
    from tallship.env import Env

LOUD = "every secret of the cluster is in it, in clear: guard it, or name `backup.recipients` in the cluster file"


def save(*, capi: Annotated[bool, Parameter(negative="")] = False, options: Options = DEFAULT) -> None:
    """Save the cluster's own descriptions; encrypted to `backup.recipients` of the cluster file.

    Parameters
    ----------
    capi
        Cluster API's objects and their Secrets, as `clusterctl move --from-directory` reads them
    """
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.ops.backup import CapiSaved, is_encrypted

    if not capi:
        raise SetupError("nothing was named to be saved", hint="`--capi` saves Cluster API's objects")
    env = open_env(options)
    step = CapiSaved()
    flow: Flow[Env] = (step,)
    with one_at_a_time(env.folder):
        make(flow, env, options)
    (path,) = step.made
    answer = current()
    answer.data["backup"] = {"path": str(path), "encrypted": is_encrypted(path)}
    answer.say(f"saved as {path}")
    answer.say(f"only its {len(env.spec.backup.recipients)} recipients can read it" if is_encrypted(path) else LOUD)
