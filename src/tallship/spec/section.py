"""What every mapping of the cluster file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One mapping of the cluster file: unknown keys are mistakes, and nothing can be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
