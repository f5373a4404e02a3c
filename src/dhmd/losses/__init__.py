"""Losses: one formula a file, torch alone; the objective owns their weights."""

from dhmd.losses.objective import Objective

__all__ = ["Objective"]
