"""Give the memory of large replies back to the system."""

import ctypes

_M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BUFFER_BYTES = 256 * 1024


def return_large_buffers() -> bool:
    """Have the C library map each buffer of LARGE_BUFFER_BYTES or more on its own; return whether it does.

    By default, glibc raises that limit, up to 32 MiB, to the size of the largest buffer that was ever freed. From then
    on such buffers lie between small ones that live for the whole run, and a worker that once read a reply of 16 MiB
    keeps its pages. Other C libraries have no such setting and return them anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES) == 1
