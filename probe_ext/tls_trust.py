"""One TLS configuration for everything that talks to the server under test: load, checks before a run, metrics.

Trusted are the system's authorities (or those of OpenSSL's own variables `SSL_CERT_FILE` and `SSL_CERT_DIR`), those of
`REQUESTS_CA_BUNDLE`, and those of `--tls-ca`. What a key file contains, and its passphrase, are in no message.
"""

import errno
import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

AUTHORITIES_VARIABLE = "REQUESTS_CA_BUNDLE"
"""custom certificate authorities, in the variable that `requests` reads"""
PASSPHRASE_VARIABLE = "PROBE_TLS_KEY_PASSPHRASE"  # noqa: S105 - the variable's name, not a passphrase

_MAX_PEM_BYTES = 20_000_000  # all public authorities of the world take less than one
_EXPIRED, _NOT_YET_VALID = {10}, {9}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}  # X509_V_ERR_…: self-signed, or an issuer that cannot be found
_OTHER_NAME = {62, 64}
_CLIENT_CERTIFICATE_MISSING = "CERTIFICATE_REQUIRED"  # TLS 1.3
_HANDSHAKE_REFUSED = "HANDSHAKE_FAILURE"  # TLS 1.2 for the same, and for no common cipher
_CLIENT_CERTIFICATE_REFUSED = ("BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE",
                               "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "ACCESS_DENIED")  # fmt: skip
_CLIENT_OPTIONS = "--tls-client-cert FILE, with --tls-client-key FILE"
CLOSED = f"TLS: the server ended the connection; if it requires a client certificate: {_CLIENT_OPTIONS}"
"""what is said of a server that gives no reason"""
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}


class TlsFileError(ValueError):
    """A file of the TLS configuration that cannot be used, in one line."""


@dataclass(frozen=True)
class TlsSettings:
    """Whom to trust, and how to identify this client. Paths of PEM files."""

    ca: str | None = None
    """certificates of further authorities"""
    cert: str | None = None
    """the client's certificate, with its chain"""
    key: str | None = None
    """its private key; None where `cert` contains it"""
    insecure: bool = False
    """whether any certificate of the server will do"""


SYSTEM = TlsSettings()


def client_context(settings: TlsSettings = SYSTEM) -> ssl.SSLContext:
    """Make a client context. Reads files, so make it once. TlsFileError names the option or variable and the file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if named := os.environ.get(AUTHORITIES_VARIABLE):
        _load(AUTHORITIES_VARIABLE, named, lambda: _trust(context, named), "certificates of authorities (PEM)")
    if ca := settings.ca:
        _load("--tls-ca", ca, lambda: _trust(context, ca), "certificates of authorities (PEM)")
    if settings.cert:
        _identify(context, settings.cert, settings.key)
    elif settings.key:
        raise TlsFileError(f"--tls-client-key {settings.key}: needs --tls-client-cert as well")
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    if Path(path).is_dir():
        context.load_verify_locations(capath=path)
        return
    context.load_verify_locations(cafile=path)
    if not context.cert_store_stats()["x509_ca"]:
        raise ssl.SSLError("no authority")


def _identify(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    _load("--tls-client-cert", cert, lambda: Path(cert).open("rb").close(), "")
    if key:
        _load("--tls-client-key", key, lambda: Path(key).open("rb").close(), "")
    asked = False

    def passphrase() -> str:
        nonlocal asked
        asked = True
        return os.environ.get(PASSPHRASE_VARIABLE, "")

    try:
        context.load_cert_chain(cert, key, passphrase)
    except (ssl.SSLError, ValueError, OSError) as error:
        option, path = ("--tls-client-key", key) if key else ("--tls-client-cert", cert)
        if asked:
            given = "is wrong" if os.environ.get(PASSPHRASE_VARIABLE) else "is needed"
            raise TlsFileError(f"{option} {path}: its passphrase {given} ({PASSPHRASE_VARIABLE})") from None
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise TlsFileError(f"{option} {path}: is not the key of the certificate {cert}") from None
        what = f"a private key (PEM) for {cert}" if key else "a certificate and its private key (PEM)"
        hint = "" if key else "; name the key with --tls-client-key"
        raise TlsFileError(f"{option} {path}: does not contain {what}{hint}") from None


def _load(name: str, path: str, load: Callable[[], None], wanted: str) -> None:
    try:
        _check_file(path)
        load()
    except ssl.SSLError:
        raise TlsFileError(f"{name} {path}: does not contain {wanted}") from None
    except OSError as error:
        raise TlsFileError(f"{name} {path}: {(error.strerror or 'not readable').lower()}") from None


def _check_file(path: str) -> None:
    """OSError for what OpenSSL would read for ever, as a pipe or a device. A directory is left to who reads it."""
    about = Path(path).stat()
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        raise OSError(errno.EINVAL, "not a regular file", path)
    if stat.S_ISREG(about.st_mode) and about.st_size > _MAX_PEM_BYTES:
        raise OSError(errno.EFBIG, f"larger than {_MAX_PEM_BYTES / 1e6:.0f} MB", path)


def why_refused(error: BaseException) -> str | None:
    """Say why TLS failed, and which option would help; None for anything but a known failure of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error)
    reason = (getattr(error, "reason", None) or "").upper() if isinstance(error, ssl.SSLError) else ""
    why = ""
    if reason.endswith(_CLIENT_CERTIFICATE_MISSING):
        why = f"the server requires a client certificate: {_CLIENT_OPTIONS}"
    elif reason.endswith(_HANDSHAKE_REFUSED):
        why = f"the server refused the handshake; if it requires a client certificate: {_CLIENT_OPTIONS}"
    elif "ALERT" in reason and reason.endswith(_CLIENT_CERTIFICATE_REFUSED):
        alert = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
        why = f"the server refused the client certificate ({alert}): see --tls-client-cert"
    elif _just_ended(error):
        return CLOSED
    elif reason in _NOT_TLS:
        why = "the server does not speak TLS on this port: try http://"
    return f"TLS: {why}" if why else None


def _just_ended(error: BaseException) -> bool:
    """Whether the connection ended without a reason: Python has several errors for that, by when it notices."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return True
    return isinstance(error, ssl.SSLError) and getattr(error, "library", None) == "SYS"


def _bad_certificate(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in _EXPIRED:
        return "TLS: the server's certificate has expired: renew it, or skip verification with --insecure"
    if code in _NOT_YET_VALID:
        return "TLS: the server's certificate is not valid yet: check this machine's clock"
    if code in _UNKNOWN_AUTHORITY:
        return (
            "TLS: the server's certificate cannot be verified: unknown authority; name it with --tls-ca FILE "
            "(or SSL_CERT_FILE), or skip verification with --insecure"
        )
    if code in _OTHER_NAME:
        said = error.verify_message.partition("certificate is ")[2].rstrip(".")
        return (
            f"TLS: the server's certificate is {said or 'for another name'}: use its own name in the URL, or --insecure"
        )
    return f"TLS: the server's certificate cannot be verified: {error.verify_message}"
