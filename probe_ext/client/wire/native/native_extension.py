"""The C extension of the native reading path: whether it is there, and whether it is used.

`reader.c` reads sockets and matches events without the interpreter. It is compiled at installation where there
is a C compiler. Without it everything works the same, but a token costs more CPU.
"""

import _ssl
import ctypes
import importlib
import os
import ssl
import zlib
from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE, is_portable

NATIVE_VARIABLE = "PROBE_NATIVE"
NATIVE, PYTHON = "native", "python"
_FOLDER = Path(__file__).parent
_OPENSSL = (
    *("SSL_read", "SSL_get_error", "SSL_get_rbio", "BIO_write", "BIO_ctrl", "BIO_clear_flags"),
    *("ERR_clear_error", "ERR_peek_last_error", "CRYPTO_get_ex_new_index"),
)
"""the functions that tls.h calls, in its order"""


def reader_module() -> Any:
    """Return the extension module; None where it is missing or switched off."""
    return None if _switched_off() else _load()[0]


def reading_path(*, tls: bool = False) -> str:
    """Return which path reads a connection: `native`, or `python` with the reason, such as `python: not built`."""
    reason = _switched_off() or _load()[1] or (_tls_problem() if tls else None)
    return NATIVE if reason is None else f"{PYTHON}: {reason}"


def _switched_off() -> str | None:
    if os.environ.get(NATIVE_VARIABLE) == "0":
        return f"{NATIVE_VARIABLE}=0"
    return PORTABLE_VARIABLE if is_portable() else None


@cache
def _load() -> tuple[Any, str | None]:
    """Return the module, or None and why it can't be used."""
    try:
        module = importlib.import_module("probe_ext.client.wire.native._reader")
    except ModuleNotFoundError:
        return None, "not built"
    except ImportError as error:
        return None, f"cannot be loaded: {error}"
    if _checksum_of_sources() not in (None, getattr(module, "SOURCES", None)):
        return None, "built from another version"
    return module, None


def capture_tls(make: Callable[[], ssl.SSLObject]) -> tuple[ssl.SSLObject, Any]:
    """Return what `make` returns, and by what the extension reads it, None where Python must."""
    if reading_path(tls=True) != NATIVE:
        return make(), None
    captured: tuple[ssl.SSLObject, int] = _load()[0].capture_tls(make)
    return captured[0], captured if captured[1] else None


def tls_error(code: int) -> ssl.SSLError:
    """Return the exception that Python raises for an error code of OpenSSL."""
    shift = 23 if ssl.OPENSSL_VERSION_INFO[0] >= 3 else 24
    library, reason = code >> shift & 0xFF, code & ((1 << 23) - 1 if shift == 23 else 0xFFF)
    names: dict[tuple[int, int], str] = getattr(_ssl, "err_codes_to_names", {})
    name = names.get((library, reason))
    error = ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL: {name or hex(code)}]")
    error.library, error.reason = getattr(_ssl, "lib_codes_to_names", {}).get(library, "SSL"), name  # type: ignore[assignment]
    return error


@cache
def _tls_problem() -> str | None:
    """Return why TLS can't be read natively, None if it can."""
    if not (1, 1, 1) <= ssl.OPENSSL_VERSION_INFO[:3] < (4,):
        return f"TLS: {ssl.OPENSSL_VERSION} is not supported"
    module = _load()[0]
    try:
        library = ctypes.CDLL(getattr(_ssl, "__file__", None), os.RTLD_LAZY | os.RTLD_NOLOAD)
        addresses = [ctypes.cast(library[name], ctypes.c_void_p).value or 0 for name in _OPENSSL]
    except (OSError, AttributeError):
        return "TLS: Python's OpenSSL is not a shared library"
    incoming = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    known = module.load_openssl(array("Q", addresses).tobytes())
    captured = module.capture_tls(lambda: context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="localhost"))
    if not known or not captured[1]:
        return "TLS: not Python's OpenSSL"
    stream = module.Reader().open(-1, 0.0, False, captured)
    stream.feed(b"this is no record", 0.0)
    *_, code, _ = stream.take()
    return None if code else "TLS: not Python's OpenSSL"


def _checksum_of_sources() -> int | None:
    """As `hatch_build.py` computes it; None without sources, as in a wheel, where the library is the only one."""
    checksum = None
    for path in sorted([*_FOLDER.glob("*.c"), *_FOLDER.glob("*.h")]):
        checksum = zlib.crc32(path.read_bytes(), checksum or 0)
    return checksum
