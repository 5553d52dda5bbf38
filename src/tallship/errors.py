"""The one exception family, drawn as a tree by who must do something about it.

    TallshipError            exit 1   something we know how to explain
    ├── SpecError            exit 2   the cluster file is wrong
    ├── SetupError           exit 2   this machine is not ready (token, program, permission)
    ├── ProgramError         exit 1   an external program failed; detail = the end of its stderr
    ├── ApiError             exit 1   Hetzner, Kubernetes or Talos refused; detail = request id
    │   └── Unreachable      exit 1   no answer; the engine goes on waiting
    ├── StepFailed           exit 1   the world is in a state that must not be touched
    ├── TimedOut             exit 3   still converging; run the same command again
    └── Interrupted          exit 130 stopped by the person; run the same command again

Anything else that escapes is a bug and exits with 70.
"""

from __future__ import annotations

BUG_EXIT_CODE = 70


class TallshipError(Exception):
    """Something we know how to explain: what happened, the evidence, and one thing to do."""

    exit_code: int = 1

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    @property
    def kind(self) -> str:
        """The class' name, as the JSON envelope shows it."""
        return type(self).__name__


class SpecError(TallshipError):
    """The cluster file is wrong. `message` lists every mistake, one a line."""

    exit_code = 2


class SetupError(TallshipError):
    """This machine is not ready: a token, a program or a permission is missing."""

    exit_code = 2


class ProgramError(TallshipError):
    """An external program failed; `detail` is the end of its stderr."""


class ApiError(TallshipError):
    """Hetzner, Kubernetes or Talos refused; `code` is the remote's own word for it.

    `may_pass` is true for an error that the same request may not meet again a little later. `again_after` is how many
    seconds later that is, where nothing was done: then it may be sent again as often as there is time for.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        detail: str = "",
        hint: str = "",
        may_pass: bool = False,
        again_after: float = 0.0,
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.code = code
        self.may_pass = may_pass
        self.again_after = again_after


class Unreachable(ApiError):
    """No answer came: refused, reset, timed out, or TLS that is not up yet. It may pass."""

    def __init__(self, message: str, *, code: str = "", detail: str = "", hint: str = "") -> None:
        super().__init__(message, code=code, detail=detail, hint=hint, may_pass=True)


class StepFailed(TallshipError):
    """The world is in a state that must not be touched."""


class TimedOut(TallshipError):
    """Still converging when the time was up; the same command goes on from here."""

    exit_code = 3


class Interrupted(TallshipError):
    """The person stopped the run; the same command goes on from here."""

    exit_code = 130


class ManyErrors(TallshipError):
    """Several lanes failed; each error is shown, and the gravest exit code counts."""

    def __init__(self, errors: list[TallshipError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.exit_code = max(error.exit_code for error in errors)
