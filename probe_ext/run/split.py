"""Split a run over several servers: each server gets a run directory of its own. The opposite of a merge.

A line goes where its kind of user, its reply or its URL says. What belongs to no server is counted, and said.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from probe_ext.measure.findings import recorded_finding
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, Row, ServerRow, UserRow, columns
from probe_ext.measure.window_sketches import KIND_SEPARATOR
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import Manifest, ManifestError
from probe_ext.run.regular_files import check_regular, create_new
from probe_ext.target.control.urls import split_gpus, urls_by_host
from probe_ext.workload.user_kind import KIND_NAME
from probe_ext.workload.workload_file import folder_of

_KIND = columns(ReplyRow).index("scenario")
_LOCUST_STATS = f"{directory.LOCUST_PREFIX}_stats.csv"

Route = Callable[[list[str]], Mapping[str, list[str]]]
"""a line's cells → the cells that each kind gets; empty if it is of none"""


def kinds_with_hosts(content: Manifest) -> list[str]:
    """Return the kinds of user of a run over several servers; none for any other run. ManifestError if damaged."""
    by_host = content.get("by_host") or {}
    named = isinstance(by_host, dict) and all(KIND_NAME.fullmatch(kind) for kind in by_host)
    if not named or not all(isinstance(of, dict) for of in by_host.values()):
        raise ManifestError("by_host: is damaged")
    return list(by_host)


def split(run: Path) -> dict[str, Path]:
    """Write the run directory of each server, replacing earlier ones; return them by kind, none for a single server.

    ManifestError if there is no readable run. OSError if writing fails.
    """
    content = manifest.read(run)
    try:
        kinds = kinds_with_hosts(content)
    except ManifestError as error:
        raise ManifestError(f"{run / directory.MANIFEST}: {error}") from error
    if not kinds:
        return {}
    try:
        of_metrics, of_gpus = _urls(content, kinds)
        manifests = {kind: _manifest_of(content, kind) for kind in kinds}
    except (AttributeError, TypeError, ValueError) as error:
        raise ManifestError(f"{run / directory.MANIFEST}: is damaged: {error}") from error
    places = {kind: run / directory.SERVERS / folder_of(kind) for kind in kinds}
    for place in (run / directory.SERVERS, *places.values()):
        if place.is_symlink():
            raise ManifestError(f"{place}: is a link; remove it")
        place.mkdir(exist_ok=True)
    parts = _Parts(run, places)
    replies = parts.table(directory.REQUESTS, ReplyRow, lambda cells: {cells[_KIND]: cells}, of_replies=True)
    parts.table(directory.GAPS, GapRow, lambda cells: _to(replies.get(cells[0]), cells), of_replies=True)
    parts.table(directory.USERS, UserRow, lambda cells: _shared_out(cells, kinds))
    parts.table(directory.SERVER, ServerRow, lambda cells: dict.fromkeys(of_metrics.get(cells[1], ()), cells))
    if (run / directory.GPU).exists():
        parts.table(directory.GPU, GpuRow, lambda cells: dict.fromkeys(of_gpus.get(cells[1], ()), cells))
    parts.sketches()
    parts.locust()
    rows = Counter((kind, reply_id.rpartition(":")[0]) for reply_id, kind in replies.items())
    for kind, own in manifests.items():
        workers = [_with_rows(worker, rows[kind, str(worker["id"])], content) for worker in own["workers"]]
        manifest.write(places[kind], {**own, "workers": workers, "findings": [*own["findings"], *parts.findings()]})
    return places


def _cells(line: str) -> list[str]:
    """Return the cells of a line; none if it is damaged."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _to(kind: str | None, cells: list[str]) -> dict[str, list[str]]:
    return {} if kind is None else {kind: cells}


def _shared_out(cells: list[str], kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return each server's connections: the kinds get theirs in turn (`swarm.users.kind_dispatcher`)."""
    number = len(kinds)
    t, *counts = cells[:3]
    if not all(count.isdecimal() or not count for count in counts):
        return {}
    return {
        kind: [t, *(str((int(count) + number - 1 - place) // number) if count else "" for count in counts), *cells[3:]]
        for place, kind in enumerate(kinds)
    }


def _urls(content: Manifest, kinds: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the kinds whose servers, and whose GPUs, are read at each URL."""
    of_metrics: dict[str, list[str]] = {}
    of_gpus: dict[str, list[str]] = {}
    by_host = content["by_host"]
    for kind in kinds:
        for entry in by_host[kind].get("server") or []:
            of_metrics.setdefault(str(entry.get("metrics_url")), []).append(kind)
    hosts = [str((by_host[kind].get("target") or {}).get("host")) for kind in kinds]
    pages = [split_gpus(url)[0] for url in (content.get("options") or {}).get("gpu_metrics") or ()]
    for kind, urls in zip(kinds, urls_by_host(pages, hosts)[0], strict=True):
        for url in urls:
            of_gpus.setdefault(url, []).append(kind)
    return of_metrics, of_gpus


def _manifest_of(content: Manifest, kind: str) -> Manifest:
    """Return the manifest of one server: the run's, with what is known of this server."""
    own = content["by_host"][kind]
    arrivals = content.get("arrivals")
    if isinstance(arrivals, dict):
        give_up = (arrivals.get("give_up_of") or {}).get(kind, arrivals.get("give_up"))
        arrivals = {**arrivals, "give_up": give_up, "give_up_of": {}}
    workers = [_worker_of(worker, kind) for worker in content.get("workers") or []]
    run_id = f"{content.get('run_id')}-{folder_of(kind)}"
    findings = [*(own.get("findings") or [])]
    replaced = {"run_id": run_id, "arrivals": arrivals, "workers": workers, "findings": findings, "by_host": None}
    return {**content, **own, **replaced}


def _worker_of(worker: dict[str, Any], kind: str) -> dict[str, Any]:
    counted = worker.get("started_by_kind") or (None if worker.get("started") else {})
    started = counted.get(kind, 0) if isinstance(counted, dict) and worker.get("started") is not None else None
    number = started if isinstance(started, int) else None
    return {**worker, "id": worker.get("id"), "started": number, "started_by_kind": None}


def _with_rows(worker: dict[str, Any], rows: int, content: Manifest) -> dict[str, Any]:
    """Add the number of rows; after a merge, at least as many replies were started."""
    started = worker["started"]
    return {**worker, "rows": rows, "started": max(started, rows) if content.get("merged") and started else started}


class _Parts:
    """Writes the files of all servers of a run."""

    def __init__(self, run: Path, places: Mapping[str, Path]) -> None:
        self._run, self._places = run, places
        self._lost: Counter[str] = Counter()
        """lines of no server, by file"""
        self._cut_off: list[str] = []
        """files whose last line is incomplete"""

    def table(self, name: str, row_type: type[Row], route: Route, *, of_replies: bool = False) -> dict[str, str]:
        """Split a table; one `of_replies`, with the replies that only a worker's own copy has.

        Returns the kind of each reply in it.
        """
        heads, known = list(columns(row_type)), dict[str, str]()
        copies = sorted(self._run.glob(f"{name.removesuffix('.csv')}-*.csv")) if of_replies else []
        with self._files(name) as files:
            writers = {kind: csv.writer(file, lineterminator="\n") for kind, file in files.items()}
            for writer in writers.values():
                writer.writerow(heads)
            for path in (self._run / name, *copies):
                new: dict[str, str] = {}
                for cells in self._rows(path, len(heads)):
                    if cells[0] in known:  # all rows of a reply are written together
                        continue
                    found = route(cells)
                    if not found or not found.keys() <= writers.keys():
                        self._lost[name] += 1
                        continue
                    for kind, own in found.items():
                        writers[kind].writerow(own)
                        if of_replies:
                            new[cells[0]] = kind
                known |= new
        return known

    def sketches(self) -> None:
        """Split the windows: each metric is that of one kind."""
        with self._files(directory.SKETCHES) as files:
            for line in self._lines(self._run / directory.SKETCHES):
                try:
                    record = json.loads(line)
                    metric, _, kind = record["metric"].partition(KIND_SEPARATOR)
                    files[kind].write(json.dumps({**record, "metric": metric}, separators=(",", ":")) + "\n")
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    self._lost[directory.SKETCHES] += 1

    def locust(self) -> None:
        """Split Locust's own statistics; the sum over a server is that of its kind's replies."""
        found = [_cells(line) for line in self._lines(self._run / _LOCUST_STATS)]
        rows = [row for row in found if len(row) == len(found[0])]
        self._lost[_LOCUST_STATS] += len(found) - len(rows)
        with self._files(_LOCUST_STATS) as files:
            for kind, file in files.items():
                own = [row for row in rows[1:] if row[1:2] == [kind]]
                total = [["", "Aggregated", *row[2:]] for row in own if row[0] == "LLM"]
                csv.writer(file, lineterminator="\n").writerows([*rows[:1], *own, *total])

    def findings(self) -> list[dict[str, Any]]:
        """Return what could not be told to belong to a server; replies that are lost invalidate all parts."""
        said = [
            f"{name}: {'1 line belongs' if lines == 1 else f'{lines:,} lines belong'} to no server"
            for name, lines in sorted((+self._lost).items())
        ]
        said += [f"{name}: the last line is cut off" for name in sorted(set(self._cut_off))]
        if not said:
            return []
        advice = "Copy the run directory again from the machine that wrote it."
        lost = bool(self._lost[directory.REQUESTS])
        return [recorded_finding("files", f"Some data could not be read: {'; '.join(said)}.", advice, invalidates=lost)]

    @contextmanager
    def _files(self, name: str) -> Iterator[dict[str, TextIOWrapper]]:
        """Give a new file of this name for each server; they replace the old ones if all goes well."""
        with ExitStack() as stack:
            new = {kind: place / f"{name}.new" for kind, place in self._places.items()}
            yield {
                kind: stack.enter_context(TextIOWrapper(create_new(path), "utf-8", "replace", newline=""))
                for kind, path in new.items()
            }
        for kind, path in new.items():
            path.replace(self._places[kind] / name)

    def _rows(self, path: Path, width: int) -> Iterator[list[str]]:
        """Yield the cells of each complete row."""
        lines = self._lines(path)
        next(lines, None)
        for line in lines:
            cells = _cells(line)
            if len(cells) == width:
                yield cells
            else:
                self._lost[path.name] += 1

    def _lines(self, path: Path) -> Iterator[str]:
        """Yield the complete lines of a file; none if it is missing."""
        if not path.exists():
            return
        check_regular(path)
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                if line.endswith("\n"):
                    yield line
                else:
                    self._cut_off.append(path.name)
