"""Check that the data fits into the memory that is free on this machine or in its container."""

from pathlib import Path

from training.data import DataError

LARGE = 1e9  # bytes of memory that are worth a line
MEMORY_SHARE = 0.8  # of the free memory that the data may take
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def check_memory(count: int, size: tuple[int, int], channels: int = 3) -> None:
    """Check before decoding that pictures of `size` (width, height) with this many bytes per pixel fit into memory.

    Raises:
        DataError: they do not.
    """
    needed, free = count * size[0] * size[1] * channels, find_free_memory()
    if free is None:
        return
    if needed > LARGE:
        print(f"The pictures take {needed / 1e9:.1f} GB of memory in training; {free / 1e9:.1f} GB are free.")
    if needed > MEMORY_SHARE * free:
        raise DataError(
            f"{count:,} pictures of {size[0]}×{size[1]} pixels take {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free; train on about {int(MEMORY_SHARE * free * count / needed):,} of them, or "
            "on a machine with more memory."
        )


def find_free_memory() -> int | None:
    """Return the bytes of memory that are free on this machine or in its container; None if unknown."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="utf-8").splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError):
        pass
    try:
        limit, used = ((CGROUP / name).read_text(encoding="utf-8") for name in ("memory.max", "memory.current"))
        found.append(max(int(limit) - int(used) + count_cached(), 0))
    except (OSError, ValueError):  # no container, or "max"
        pass
    return min(found, default=None)


def count_cached() -> int:
    """Return the bytes of files that a container has in memory, which make room where it is needed."""
    try:
        lines = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines())
        return sum(int(lines.get(name, 0)) for name in ("active_file", "inactive_file"))
    except (OSError, ValueError):
        return 0
