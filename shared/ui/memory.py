"""Memory of a process that serves: what is freed goes back to the system (glibc only)."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from malloc.h
LARGE, HEAPS = 2_000_000, 2  # bytes; heaps of malloc


def return_freed() -> None:
    """Have a large array's memory go back to the system when it is freed, and fewer heaps for threads (glibc only)."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
        mallopt(M_ARENA_MAX, HEAPS)
