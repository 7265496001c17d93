"""Ask the kernel to run the sound's threads first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ordinary", "promote", "realtime", "realtime_allowed", "threads"]

PRIORITY = 10  # below what sound servers and drivers take


@contextmanager
def realtime(wanted: bool = True) -> Iterator[bool]:
    """Run the calling thread, and threads begun meanwhile, under SCHED_RR if that is allowed.

    Yields whether it is; where it is not, all stays as it was. Root may, and members of a group
    with an rtprio limit (Debian: audio, with a line in /etc/security/limits.d).
    """
    if not wanted or not hasattr(os, "sched_setscheduler"):
        yield False
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy, parameters)


@contextmanager
def ordinary() -> Iterator[None]:
    """Run the calling thread, and threads begun meanwhile, like any other program's."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def threads() -> set[int]:
    """Return the kernel's numbers of this process's threads, none where it does not tell them."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def promote(numbers: set[int]) -> None:
    """Put threads under SCHED_RR, as `realtime` does; where that is not allowed, nothing."""
    for number in numbers:
        try:
            os.sched_setscheduler(number, os.SCHED_RR, os.sched_param(PRIORITY))
        except OSError:  # not allowed, or it has ended
            continue


def realtime_allowed() -> bool:
    """Tell whether `realtime` would be granted."""
    with realtime() as granted:
        return granted
