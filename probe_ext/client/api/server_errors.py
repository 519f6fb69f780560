"""Errors as servers, gateways and proxies word them: as JSON of many shapes, as text, and as HTML pages."""

import html
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from probe_ext.client.api.api_event import ServerError
from probe_ext.client.api.json_text import decoded, dumped

BUSY_STATUSES = frozenset({429, 503, 529})
"""too many requests, unavailable, and Anthropic's "overloaded" """

_CODE_KEYS = (
    *("code", "status_code", "statusCode", "status", "http_status", "http_code", "error_code", "errorCode"),
    *("httpCode", "httpStatus", "httpStatusCode", "http_status_code", "errcode", "err_code"),
)
_RESULT_KEYS = ("ret", "retcode", "retCode", "errno", "err_no", "errcode", "err_code", "result_code", "resultCode")
_KIND_KEYS = ("type", "code", "Code", "status", "error_type", "error_code", "errorCode", "__type", "name")
_MESSAGE_KEYS = (
    *("message", "msg", "error_message", "error_msg", "errorMessage", "detail", "title", "status_msg", "reason"),
    *("description", "error_description", "errmsg", "err_msg", "Message", "faultstring", "body"),
)
_ERROR_NAMES = frozenset({"error", "err", "exception"})
_ERROR_TEXT_NAMES = ("error_message", "error_msg", "errorMessage", "errmsg", "error_code")
_GOOD_CODES = frozenset({"0", "00000", "ok", "success", "succeeded", "normal"})
_FLAT_KEYS = ("message", "detail", "error_message", "error_msg", "errorMessage", "Message", "errors", "fault", "title")
_BUSY_WORDS = re.compile(
    r"too.?many(?:.?concurrent|.?parallel)?.?(?:requests|connections)|\bqps\b|request limit"
    r"|queue (?:is )?full|rate.?limit|throttl|overload|resource.?exhausted|service.?unavailable|\bunavailable\b|quota"
    r"|(?:server|engine|service|model)[ _-](?:is[ _-])?(?:currently[ _-])?busy|no.?capacity|concurrency.?limit",
    re.IGNORECASE,
)
_ERROR_WORDS = re.compile(
    r"error|exception|traceback|fail|unavailable|time[d ]*out|refused|reject|overload|too many requests|exceeded|abort"
    r"|disconnect|reset|upstream|bad gateway|unauthorized|forbidden|denied|not found|quota|limit|invalid|closed",
    re.IGNORECASE,
)
_STATUS_IN_TEXT = re.compile(r"\b([45][0-9]{2})\b")
_LEADING_STATUS = re.compile(r"\s*(?:http[ /_-]?)?([0-9]{3,6})\b", re.IGNORECASE)
_HTML = re.compile(rb"<(?:!doctype html|html|head|body|title|center|h1)\b", re.IGNORECASE)
_TITLE = re.compile(rb"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SNIFFED_BYTES = 2000
_MAX_PAGE_BYTES = 16 * 2**10
"""of an HTML page that are searched for its title"""


def parse_error(content: object) -> ServerError | None:
    """Return the error in a body or event, None without one.

    Known shapes: `{"error": {…}}`, `{"error": "…"}`, FastAPI's `{"detail": …}`, `{"errors": […]}`, the flat
    `{"message": "…", "code": …}` of gateways, older vLLM and llama.cpp's `error:` field, and `base_resp`.
    """
    if not isinstance(content, dict):
        return None
    error = _named_error(content)
    if error is True:
        error = content
    if not error and content.get("object") == "error":
        error = content
    if not error and "choices" not in content:
        flat = any(content.get(key) for key in _FLAT_KEYS) and not _says_good(content)
        error = content if flat or _says_failed(content) else None
    if not error:
        error = _failed_base_response(content.get("base_resp"))
    if not error:
        return None
    return _from_object(error, content) if isinstance(error, dict) else _from_text(_text(error), content)


def choice_error(choice: dict[str, Any]) -> ServerError | None:
    """Return the error that a gateway put inside a choice, its delta or its message."""
    delta = choice.get("delta") or choice.get("message")
    for part in (choice, delta):
        if isinstance(part, dict) and (error := _named_error(part) or _error_text(part)):
            return parse_error({"error": part if error is True else error, "choices": None})
    return None


def _named_error(content: dict[str, Any]) -> Any:
    """Return the value of a key that names an error, in any case; None if it states none."""
    for key, value in content.items():
        if value and key.lower() in _ERROR_NAMES and not (isinstance(value, dict) and not any(value.values())):
            return value
    return None


def _error_text(part: dict[str, Any]) -> str | None:
    return next((str(value) for name in _ERROR_TEXT_NAMES if (value := part.get(name))), None)


def _says_good(content: dict[str, Any]) -> bool:
    """Return whether an object without choices has a code that means success."""
    code = content.get("code")
    return (isinstance(code, int) and code in {0, 200}) or (isinstance(code, str) and code.lower() in _GOOD_CODES)


def _says_failed(content: dict[str, Any]) -> bool:
    """Return whether an object without choices reports a failure by a flag, or by a code beside a message."""
    if content.get("success") is False or content.get("ok") is False:
        return True
    if not any(content.get(key) for key in _MESSAGE_KEYS):
        return False
    results = [content[key] for key in _RESULT_KEYS if isinstance(content.get(key), int | str)]
    if any(result not in (0, 200) and str(result).lower() not in _GOOD_CODES for result in results):
        return True
    code, word = _code(content), content.get("code")
    if isinstance(word, str) and code is None:
        return word.lower() not in _GOOD_CODES
    return code is not None and code != 0 and not 200 <= code < 300


def error_in_text(data: bytes, *, certain: bool = False) -> ServerError | None:
    """Return the error in an event's data or a body that is not JSON; `certain`: it is known to be one."""
    text = decoded(data).strip()
    if not text or text[0] in "{[" or not (certain or _ERROR_WORDS.search(text)):
        return None
    return _from_text(text, {})


def shown_location(location: str) -> str:
    """Return a redirect's target without user, password, query and fragment, which may hold secrets."""
    parts = urlsplit(location.strip())
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def page_title(body: bytes) -> str | None:
    """Describe an HTML page by its title or heading; None if it is not HTML."""
    if not _HTML.search(body[:_SNIFFED_BYTES]):
        return None
    title = _TITLE.search(body[:_MAX_PAGE_BYTES])
    shown = decoded(title[2] if title else body[:_SNIFFED_BYTES])
    text = " ".join(html.unescape(_TAG.sub(" ", shown)).split())
    return f"HTML page “{text}”" if text else "HTML page"


def without_tags(body: bytes) -> bytes:
    """Return the text of an XML document."""
    return " ".join(html.unescape(_TAG.sub(" ", decoded(body[:_MAX_PAGE_BYTES]))).split()).encode()


def _from_object(error: dict[str, Any], content: dict[str, Any]) -> ServerError:
    message = next((value for key in _MESSAGE_KEYS if (value := error.get(key))), None)
    if message is None:
        message = next((value for key in _FLAT_KEYS if (value := error.get(key))), error)
    inner = message.get("message") if isinstance(message, dict) else None
    text = _text(inner if isinstance(inner, str) and inner else message)
    code = _code(error)
    if code is None and error is not content:
        code = _code(content)
    return ServerError(code, text, _is_busy(code, f"{_kinds(error)} {text}"))


def _from_text(text: str, content: dict[str, Any]) -> ServerError:
    code, status = _code(content), _STATUS_IN_TEXT.search(text)
    named_busy = code is None and status is not None and int(status[1]) in BUSY_STATUSES
    return ServerError(code, text, named_busy or _is_busy(code, f"{_kinds(content)} {text}"))


def _kinds(error: dict[str, Any]) -> str:
    return " ".join(str(error[key]) for key in _KIND_KEYS if isinstance(error.get(key), str))


def _is_busy(code: int | None, words: str) -> bool:
    """An HTTP status decides; without one, the words do."""
    return code in BUSY_STATUSES if code is not None and 400 <= code < 600 else bool(_BUSY_WORDS.search(words))


def _code(error: dict[str, Any]) -> int | None:
    for key in _CODE_KEYS:
        value = error.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and (leading := _LEADING_STATUS.match(value)):
            return int(leading[1])
    return None


def _failed_base_response(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and value.get("status_code") not in (0, None) else None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return dumped(value)
