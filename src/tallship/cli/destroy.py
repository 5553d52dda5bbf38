"""`tallship destroy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.env import Env
    from tallship.ops.bill import Bill


def destroy(
    *,
    by_label: Annotated[bool, Parameter(negative="")] = False,
    images: Annotated[bool, Parameter(negative="")] = False,
    volumes: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> None:
    """Delete the cluster and everything of it at Hetzner but snapshots; run it again to resume.

    Volumes go with their claims; those whose reclaim policy is Retain stay.

    Parameters
    ----------
    by_label
        the management cluster is gone for good: delete what carries the cluster's labels, without Cluster API
    images
        delete the Talos snapshots too that no other cluster uses
    volumes
        delete the volumes on its servers even when the cluster does not answer and cannot say which are to be kept
    """
    from tallship.cli.consent import ask
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.flows import destroy as flow
    from tallship.report.tables import steps_table

    env = open_env(options)
    with one_at_a_time(env.folder):
        going = _going(env, images, volumes)
        answer = current()
        answer.data["deleted"] = going.as_data()
        if going.lines and not env.spec.delete_protection:
            told = [f"{each.noun} {each.name}  {each.monthly_net:.2f}" for each in going.lines]
            total = f"all of it costs {going.monthly_net:.2f} {going.currency} per month, net"
            ask(
                f"this deletes cluster `{env.spec.name}` with all its data", [*told, total], options, word=env.spec.name
            )
        outcomes = make(flow(by_label, images=images, volumes=volumes), env, options)
    answer.data["changed"] = any(outcome.acted for outcome in outcomes)
    if not answer.data["changed"]:
        answer.say(f"there is nothing of cluster `{env.spec.name}`")
    else:
        answer.say(steps_table(outcomes))
        rest = "" if images else " but its snapshots"
        answer.say(f"nothing of cluster `{env.spec.name}` is left at Hetzner{rest}")
    _tell_rest(env)


def _going(env: Env, images: bool, volumes: bool) -> Bill:
    """Return what goes, and what it costs."""
    from tallship.ops.bill import priced
    from tallship.ops.destroy import leftovers, own_images
    from tallship.ops.destroy_volumes import going, known_volumes

    found = leftovers(env)
    ids = {(each.path, each.id) for each in found}
    more = going(env, known_volumes(env), volumes) + (own_images(env) if images else [])
    return priced(env, [*found, *(each for each in more if (each.path, each.id) not in ids)])


def _tell_rest(env: Env) -> None:
    """Say what is left in the project, whoever made it, and what it costs."""
    from tallship.ops.bill import whole_project
    from tallship.report.tables import bill_table

    rest = whole_project(env)
    current().data["left"] = rest.as_data()
    if rest.lines:
        current().say("left in this Hetzner project:")
        current().say(bill_table(rest))
