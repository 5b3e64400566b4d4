"""Return freed memory to the system (glibc only)."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from malloc.h
LARGE, HEAPS = 2_000_000, 2  # bytes; number of malloc arenas


def return_freed() -> None:
    """Make malloc return large freed blocks to the system, and use fewer arenas for threads (glibc only)."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
        mallopt(M_ARENA_MAX, HEAPS)
