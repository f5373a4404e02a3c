"""Networks of one make run as one program: `torch.vmap` over their weights, and what it cannot map sees all replicas at once.

vmap maps single operations. Encoders are faster as further groups of the same products, random masks come from a generator each, and how
long sequences are is read on the host; such code asks here for the values of all replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

Joint = Callable[..., Sequence[Tensor]]


class _Program(NamedTuple):
    """A generator for each replica, and whether the code that runs now sees all of them at once."""

    generators: tuple[torch.Generator, ...]
    joint: bool


_running: ContextVar[_Program | None] = ContextVar("replicas", default=None)


@contextmanager
def side_by_side(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Inside, `torch.vmap` is over replicas, each with a generator of its own for what is random on a CPU."""
    token = _running.set(_Program(tuple(generators), joint=False))
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def by_itself(generator: torch.Generator) -> Iterator[None]:
    """Inside, a network runs as ever, but what is random on a CPU comes from this generator: others may run in other threads."""
    token = _running.set(_Program((generator,), joint=True))
    try:
        yield
    finally:
        _running.reset(token)


def replicas() -> int:
    """How many there are; 1 where a network runs alone."""
    program = _running.get()
    return 1 if program is None else len(program.generators)


def mapped() -> bool:
    """Whether tensors hide an axis of replicas, which vmap has taken off."""
    program = _running.get()
    return program is not None and not program.joint


def fresh_seeds() -> list[int]:
    """For each replica a seed for masks, from its own generator; from torch's where a network runs alone."""
    program = _running.get()
    generators = [None] if program is None else program.generators
    return [int(torch.randint(2**62, (), generator=g)) for g in generators]


def jointly(f: Joint, *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Call f with the values of all replicas, (K, ...) for each tensor, and give each replica its own of the results (K, ...).

    A None stays one. To be called where `mapped`. Gradients flow through f as through any code.
    """
    found: tuple[Tensor, ...] = _Jointly.apply(f, *tensors)  # type: ignore[no-untyped-call]
    return found


def of_all(x: Tensor) -> Tensor:
    """The values (K, ...) of all replicas, for reading."""
    seen: list[Tensor] = []

    def look(every: Tensor) -> list[Tensor]:
        seen.append(every)
        return [every]

    if not mapped():
        return x.unsqueeze(0)
    jointly(look, x)
    return seen[0].detach()


class _Jointly(torch.autograd.Function):
    """Its rule for vmap is called below vmap, where tensors have their axis of replicas and autograd records as ever."""

    @staticmethod
    def forward(f: Joint, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        raise RuntimeError("no tensor of the call differs between replicas")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise RuntimeError("no tensor of the call differs between replicas")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], f: Joint, *tensors: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        n = info.batch_size
        pairs = zip(tensors, in_dims[1:], strict=True)
        every = [None if x is None else x.expand(n, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in pairs]
        program = _running.get()
        assert program is not None  # noqa: S101  # `mapped` holds
        token = _running.set(program._replace(joint=True))
        try:
            found = tuple(f(*every))
        finally:
            _running.reset(token)
        return found, (0,) * len(found)
