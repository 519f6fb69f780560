"""The metrics parser compared with prometheus_client's, and on invalid pages."""

import gzip
import math

import pytest
import recordings
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from probe_ext.target.metrics.catalogue import METRIC_NAMES
from probe_ext.target.metrics.metrics_text import MAX_SAMPLES, Page, Sample, Unreadable, parse

LOGIN = "not Prometheus text: a login page (HTML)"


def parse_with_prometheus_client(text):
    """Parse without TYPE lines, which would add `_total` to counters without it (as in llama.cpp)."""
    samples = []
    text = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    for family in text_string_to_metric_families(text):
        samples += [(s.name.replace(":", "_"), s.labels, float(s.value)) for s in family.samples]
    return samples


def all_names(text):
    return frozenset(name for name, _, _ in parse_with_prometheus_client(text))


def parse_line(line):
    page = parse(line + "\n", frozenset({"a_total", "vllm_a", "a"}))
    assert isinstance(page, Page), page
    return page.samples


@pytest.mark.parametrize("path", recordings.PAGES, ids=lambda path: path.stem)
def test_recorded_pages_parse_as_with_prometheus_client(path):
    text = path.read_text()
    page = parse(text, all_names(text))
    assert [(s.name, dict(s.labels), s.value) for s in page.samples] == parse_with_prometheus_client(text)
    assert page.samples


@pytest.mark.parametrize("path", recordings.PAGES, ids=lambda path: path.stem)
def test_parses_wanted_lines_only(path):
    page = parse(path.read_bytes(), METRIC_NAMES)
    assert 5 <= len(page.samples) < 45


LABEL_VALUES = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)


def escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@given(
    name=st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,10}", fullmatch=True),
    labels=st.dictionaries(NAMES, LABEL_VALUES | st.just('a}b "c" \\ d\n'), max_size=4),
    value=st.floats(allow_nan=False),
)
def test_any_sample_parses_as_with_prometheus_client(name, labels, value):
    inside = ",".join(f'{k}="{escaped(v)}"' for k, v in labels.items())
    line = f"{name}{{{inside}}} {value!r}\n"
    assert len(parse_with_prometheus_client(line)) == 1
    page = parse(line, frozenset({name.replace(":", "_")}))
    assert [(s.name, dict(s.labels), s.value) for s in page.samples] == parse_with_prometheus_client(line)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("vllm:a 1", {}, 1),
        ("vllm_a 1", {}, 1),
        ("a 1 1700000000000", {}, 1),
        ("a\t2.5e3", {}, 2500),
        ('  a {x="1",} 3 ', {"x": "1"}, 3),
        ('a{x="1" , y="a,b}c"} 3 1700.5', {"x": "1", "y": "a,b}c"}, 3),
        ('a_total{x="1"} 5 # {trace_id="k}\\"",b="#"} 0.3 1700.0', {"x": "1"}, 5),
        ('a_total 5 # {trace_id="abc"} 0.3', {}, 5),
        ('a{x="C:\\\\d\\"q\\"\\n"} +Inf', {"x": 'C:\\d"q"\n'}, math.inf),
        ("a{} -1\r", {}, -1),
    ],
)  # fmt: skip
def test_sample_formats(line, labels, value):
    (sample,) = parse_line(line)
    assert (dict(sample.labels), sample.value) == (labels, value)


def test_keeps_nan():
    assert math.isnan(parse_line("a NaN")[0].value)


def test_openmetrics_page_without_last_line_end():
    page = parse("# TYPE a counter\na_total 5\n# EOF", frozenset({"a_total"}))
    assert page.samples == (Sample("a_total", {}, 5.0),)


def test_keeps_help_of_wanted_metrics():
    page = parse("# HELP vllm:a Queried blocks.\n# HELP b x\nvllm:a 1\n", frozenset({"vllm_a"}))
    assert page.helps == {"vllm_a": "Queried blocks."}


def test_a_page_without_wanted_metrics_is_valid():
    assert parse("b 1\n", frozenset({"a"})) == Page((), {})
    assert parse("# HELP b none yet\n# TYPE b gauge\n", frozenset({"a"})) == Page((), {})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty response"),
        (b" \n\n", "empty response"),
        (b"<!DOCTYPE html>\n<html></html>\n", "not Prometheus text: HTML"),
        (
            b'<html><form action="https://idp/sso"><input name="SAMLRequest"/></form></html>',
            LOGIN,
        ),
        (
            b'<meta http-equiv="refresh" content="0; url=/auth/openid-connect/auth?client_id=g">',
            LOGIN,
        ),
        (b"<html><title>authentik</title></html>", LOGIN),
        ("\ufeff<!DOCTYPE html><title>Anmeldung</title>".encode(), LOGIN),
        (b"<!DOCTYPE html><title>Just a moment...</title>", "not Prometheus text: HTML"),
        (b'<?xml version="1.0"?><Error>denied</Error>', "not Prometheus text: XML"),
        (b"Unauthorized", "not Prometheus text"),
        (b'{"error": "nope"}\n', "not Prometheus text: JSON"),
        (b'[{"iter": 1}]\n', "not Prometheus text: JSON"),
        (b"Not Found\n", "not Prometheus text"),
        (b"# a comment\n", "not Prometheus text"),
        (gzip.compress(b"a 1\n", mtime=0), "not Prometheus text: not UTF-8"),
        (b"\x00\x01\x02\n", "not Prometheus text"),
        (b"b 2\na 12", "incomplete: the last line has no line end"),
        (b"a one\n", "not Prometheus text: line 'a one'"),
        (b"a 1_000\n", "not Prometheus text: value '1_000'"),
        (b'a{x="1",x="2"} 1\n', "not Prometheus text: line"),
        (b'a{x="1} 1\n', "not Prometheus text: line"),
        (b"a{x=1} 1\n", "not Prometheus text: line"),
        (b"a\n", "not Prometheus text: line 'a'"),
    ],
)
def test_invalid_pages_have_a_reason(body, why):
    assert isinstance(answer := parse(body, frozenset({"a"})), Unreadable)
    assert answer.why.startswith(why)


def test_rejects_more_samples_than_engines_have():
    lines = [f'DCGM_FI_DEV_GPU_UTIL{{gpu="{n}"}} 5\n' for n in range(MAX_SAMPLES + 1)]
    lines.append("this is damaged, and not read any more\n")
    refused = parse("".join(lines), frozenset({"DCGM_FI_DEV_GPU_UTIL"}))
    assert refused == Unreadable("more than 50,000 samples of known metrics")


def test_rejects_a_huge_page():
    assert parse("a" * 32_000_001, frozenset({"a"})) == Unreadable("exceeds 32000000 characters")


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_rejected(body):
    assert isinstance(parse(body, METRIC_NAMES), Page | Unreadable)


@given(st.text(st.sampled_from('a{}"\\=,# \t\n1.xN_'), max_size=60))
def test_any_near_miss_is_parsed_or_rejected(text):
    assert isinstance(parse(text, frozenset({"a"})), Page | Unreadable)


def test_no_catastrophic_backtracking():
    hostile = "a{" + 'x="' * 20_000 + "\n" + "a{" + "x" * 50_000 + "\n"
    assert isinstance(parse(hostile, frozenset({"a"})), Unreadable)
