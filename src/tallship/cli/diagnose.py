"""`tallship diagnose` and `tallship logs`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current

if TYPE_CHECKING:
    from tallship.env import Env
    from tallship.manifests.diagnosis import Finding
    from tallship.manifests.picture import Picture


def diagnose(
    *,
    fix: Annotated[bool, Parameter(negative="")] = False,
    bundle: Path | None = None,
    options: Options = DEFAULT,
) -> int:
    """Say what is wrong, why, and what to do; exit code 1 when something is.

    Parameters
    ----------
    fix
        mend what can be mended safely, after asking
    bundle
        write everything that was looked at into this archive, without secrets
    """
    from tallship.cli.session import open_env
    from tallship.manifests import diagnosis
    from tallship.ops.picture import gather

    env = open_env(options)
    picture = gather(env, logs=bundle is not None)
    findings = diagnosis.diagnose(picture)
    if fix and any(each.fix for each in findings):
        _mend(env, findings, options)
        picture = gather(env, logs=bundle is not None)
        findings = diagnosis.diagnose(picture)
    _tell(findings, picture, options)
    if bundle is not None:
        from tallship.ops.bundle import write

        current().data["bundle"] = str(write(env, picture, findings, bundle))
        current().say(f"everything that was looked at is in {bundle}; secrets are taken out")
    return 1 if any(each.severity == "error" for each in findings) else 0


def logs(
    name: str,
    *,
    follow: Annotated[bool, Parameter(name=["--follow"], negative="")] = False,
    lines: int = 100,
    options: Options = DEFAULT,
) -> None:
    """Show the end of a controller's log: capi, caph, cabpt, cacppt, cilium, hcloud-ccm or talos-ccm.

    Parameters
    ----------
    name
        the controller, wherever it runs
    follow
        go on with what comes, until Ctrl-C
    lines
        how many lines to begin with
    """
    from tallship.cli.session import open_env, stop_at_next_wait
    from tallship.ops import controller_logs
    from tallship.report.answer import Answer, envelope, print_json
    from tallship.report.visible import visible

    env = open_env(options)
    if not follow:
        found = controller_logs.tail(env, name, lines)
        current().data["lines"] = found
        current().say("\n".join(found))
        return

    def tell(why: str) -> None:
        sys.stderr.write(f"waiting: {visible(why)}\n")

    with suppress(KeyboardInterrupt), stop_at_next_wait(env.stop):
        for found in controller_logs.follow(env, name, lines, tell):
            for line in found:
                if options.text:
                    sys.stdout.write(f"{visible(line)}\n")
                else:
                    print_json(sys.stdout, envelope("logs", Answer({"line": line}), 0, None))
            sys.stdout.flush()


def _mend(env: Env, findings: list[Finding], options: Options) -> None:
    from tallship.cli.consent import ask
    from tallship.cli.session import make, one_at_a_time
    from tallship.ops.fixes import fixes

    ask("this mends", [f"{each.what}: {each.advice}" for each in findings if each.fix], options)
    with one_at_a_time(env.folder):
        outcomes = make(fixes(findings), env, options)
    current().data["fixed"] = [change for each in outcomes for change in each.acted]


def _tell(findings: list[Finding], picture: Picture, options: Options) -> None:
    answer = current()
    answer.data["findings"] = [each.as_data() for each in findings]
    answer.data["unseen"] = picture.unseen
    for each in findings:
        evidence = "".join(f"\n  {line}" for line in each.evidence)
        answer.say(f"{each.severity}: {each.what} ({each.code}){evidence}\n  cause: {each.cause}\n  do: {each.advice}")
    for part, why in picture.unseen.items():
        answer.say(f"could not be seen: {part}: {why}")
    if not findings and not picture.unseen:
        answer.say("nothing is wrong that this tool knows of")
    if any(each.fix for each in findings):
        answer.next_commands = [f"tallship diagnose --fix{options.suffix()}"]
