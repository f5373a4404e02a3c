"""The stages of decoupled distillation that terms read from a network's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dhmd.outputs import Outputs

if TYPE_CHECKING:
    from dhmd.models.dmd.outputs import Decoupled, Space

SpaceName = Literal["homogeneous", "heterogeneous"]


def space_of(outputs: Outputs, name: SpaceName) -> Space | None:
    """Return the homogeneous or the heterogeneous space; None for a network without it."""
    found: Space | None = getattr(outputs, name, None)
    return found


def decoupled_of(outputs: Outputs) -> Decoupled | None:
    """Return the decoupling; None for a network without one."""
    found: Decoupled | None = getattr(outputs, "decoupled", None)
    return found
