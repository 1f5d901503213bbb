"""Processor time and memory of processes, with all that they started."""

from collections.abc import Iterable, Mapping

import psutil


def cpu_seconds(roots: Iterable[psutil.Process]) -> float:
    """Of these processes, of what runs under them, and of what ended under them."""
    total = 0.0
    for process in tree(roots):
        try:
            total += sum(process.cpu_times()[:4])  # its own, and that of children which it has waited for
        except psutil.NoSuchProcess:
            continue  # its time is its parent's now
    return total


def by_group(groups: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    return {name: cpu_seconds(roots) for name, roots in groups.items()}


def megabytes(roots: Iterable[psutil.Process]) -> float:
    """Proportional set size: memory shared by several processes is counted once."""
    total = 0
    for process in tree(roots):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def resident_megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def tree(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    """These processes, and those under them."""
    found = []
    for root in roots:
        try:
            found += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found
