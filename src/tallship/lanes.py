"""Work that is done side by side: when it has ended, what it raised is raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tallship.errors import Interrupted, ManyErrors, TallshipError

Bodies = Sequence[Callable[[], None]]


def side_by_side(run_threads: Callable[[Bodies], None], bodies: Bodies) -> None:
    """Run the bodies in as many threads; afterwards raise what they raised: of known errors all, without the echoes."""
    if len(bodies) == 1:
        bodies[0]()
        return
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> Callable[[], None]:
        def guard() -> None:
            try:
                body()
            except BaseException as error:  # carried over to the thread that waits
                errors.append(error)

        return guard

    run_threads([guarded(body) for body in bodies])
    for error in errors:
        if not isinstance(error, TallshipError):
            raise error
    known = [error for error in errors if isinstance(error, TallshipError)]
    causes = [error for error in known if not isinstance(error, Interrupted)] or known[:1]
    if len(causes) == 1:
        raise causes[0]
    if causes:
        raise ManyErrors(causes)
