"""`tallship tools`."""

from __future__ import annotations

import os

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current


def tools(*, options: Options = DEFAULT) -> int:
    """Show the programs it calls: found, version, how to get them; exit code 2 when one is missing or too old."""
    from tallship.ops.tools import list_tools
    from tallship.report.tables import tools_table

    if options.lab:
        from tallship.cli.session import open_env

        path = open_env(options).site.path
    else:
        path = os.environ.get("PATH", "")
    found = list_tools(path)
    answer = current()
    answer.data["tools"] = [each.as_data() for each in found]
    answer.say(tools_table(found))
    return 0 if all(each.is_good for each in found) else 2
