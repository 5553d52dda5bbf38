"""A file that other programs and people change too, such as `~/.kube/config`: nobody's change is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tallship import atomic
from tallship.errors import SetupError
from tallship.ops.files import put_private, unwritable


def change(path: Path, read: Callable[[], str], changed: Callable[[str], str]) -> None:
    """Replace a file's text with what `changed` makes of it, mode 0600; what a link leads to is replaced, not the link.

    What was written since it was read is read again, and changed then. Raises SetupError.
    """
    place = path.resolve()
    with _locked(place):
        if atomic.change(read, changed, partial(put_private, place)):
            return
    hint = "run it again when whoever writes it has ended"
    raise SetupError(f"{path} has become another one each time that it was to be written", hint=hint)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keep others away as kubectl and kind do.

    client-go v0.32: who changes a kubeconfig makes a file of its name and `.lock`, which must not be there before.
    """
    lock = place.with_name(f"{place.name}.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        hint = f"run it again; when no `kubectl config` or kind runs, remove {lock}"
        raise SetupError(f"another program is changing {place}: there is {lock.name}", hint=hint) from error
    except OSError as error:
        raise unwritable(place.parent, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
