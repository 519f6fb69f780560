"""`probe init` copies everything once, and never replaces a file without saying so."""

import argparse
import re
from pathlib import Path

import pytest

from probe_ext import starter_files
from probe_ext.cli import main
from probe_ext.starter_files import copy_files

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "wheel.Dockerfile").read_text(encoding="utf-8")


LINK = re.compile(r"\[([^][]*)\]\([^()]*\)")


def init(*arguments: object) -> int:
    return main(["init", *map(str, arguments)])


def test_all_scenarios_profiles_workloads_and_pages_are_copied(tmp_path: Path) -> None:
    assert init(tmp_path / "new" / "folder") == 0
    place = tmp_path / "new" / "folder"
    for folder, pattern in (("locustfiles", "*.py"), ("configs", "*.yaml"), ("docs", "*.md")):
        originals = {path.relative_to(ROOT) for path in (ROOT / folder).rglob(pattern)}
        assert originals
        for path in originals:
            copy, original = (LINK.sub(r"\1", (where / path).read_text(encoding="utf-8")) for where in (place, ROOT))
            assert copy == original
    assert (place / "docker-compose.yml").read_bytes() == (ROOT / "docker-compose.yml").read_bytes()
    assert (place / "Dockerfile").read_text() == DOCKERFILE
    assert (place / "docker" / "entry.sh").stat().st_mode & 0o111


def test_links_of_the_copied_pages_lead_somewhere(tmp_path: Path) -> None:
    assert init(tmp_path) == 0
    targets = [
        page.parent / link
        for page in (tmp_path / "docs").rglob("*.md")
        for link in re.findall(r"\]\(([^()#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert any("configs" in target.parts for target in targets)
    assert [target for target in targets if not target.exists()] == []


def test_a_file_that_was_changed_is_kept_and_named_whatever_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_files(tmp_path, force=False)
    own = tmp_path / "configs" / "slo" / "chat.yaml"
    own.write_text("mine")
    (tmp_path / "locustfiles" / "chat.py").unlink()
    why = "it was changed, or not written by probe init; to get the package's, move it away first"
    for copied, options in (("1 file", ()), ("0 files", ("--force",))):
        assert init(tmp_path, *options) == 0
        said = capsys.readouterr().out
        assert own.read_text() == "mine"
        assert f"kept {own}: {why}\n" in said
        assert f"{tmp_path}: copied {copied}, " in said


def test_files_that_were_there_before_are_nobodys_to_replace(tmp_path: Path) -> None:
    """A README.md of one's own, in a folder that has one; also where the record is damaged."""
    (tmp_path / "README.md").write_text("mine")
    for record in (None, "no JSON", "[]"):
        if record is not None:
            (tmp_path / ".probe-init.json").write_text(record)
        assert copy_files(tmp_path, force=True).foreign == [Path("README.md")]
        assert (tmp_path / "README.md").read_text() == "mine"


def test_files_of_an_earlier_version_are_replaced_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(starter_files, "_README_TEXT", "earlier")
        copy_files(tmp_path, force=False)
    readme = tmp_path / "README.md"
    assert init(tmp_path) == 0
    assert f"kept {readme}: it is from an earlier version; --force replaces it\n" in capsys.readouterr().out
    assert readme.read_text() == "earlier"
    assert init(tmp_path, "--force") == 0
    assert f"replaced {readme}\n" in capsys.readouterr().out
    assert readme.read_text() == starter_files._README_TEXT


def test_a_link_is_never_replaced_nor_what_it_points_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("mine")
    place = tmp_path / "new"
    place.mkdir()
    for name in ("docker-compose.yml", ".probe-init.json"):
        link = place / name
        for target in (tmp_path / "gone.yaml", elsewhere):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            for force in (False, True):
                copied = copy_files(place, force=force)
                assert link.is_symlink() == (name != ".probe-init.json")
                assert Path("docker-compose.yml") in copied.foreign
    assert elsewhere.read_text() == "mine"
    assert not (tmp_path / "gone.yaml").exists()


def test_a_folder_that_cannot_be_written_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert init(file) == 2
    assert capsys.readouterr().err == f"probe init: {file}: not a folder\n"
    assert init(file / "below") == 2
    assert capsys.readouterr().err == f"probe init: {file / 'below'}: not a directory\n"

    def full(target: Path, _: bytes) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert starter_files.main(argparse.Namespace(directory=tmp_path / "new", force=False)) == 2
    error = capsys.readouterr().err
    assert error.endswith("no space left on device\n")
    assert error.count("\n") == 1


def test_the_image_of_the_wheel_needs_only_what_is_copied_and_the_wheel(tmp_path: Path) -> None:
    copy_files(tmp_path, force=False)
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert [path for path in copied if not (tmp_path / path).exists()] == ["probe_ext-*.whl"]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for instruction in ("ARG PYTHON_IMAGE", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "VOLUME", "ENV PATH"):
        lines = [re.findall(f"^{instruction}.*$", text, re.MULTILINE) for text in (image, DOCKERFILE)]
        assert lines[0] == lines[1] != [], instruction


def test_the_readme_names_only_what_is_there(tmp_path: Path) -> None:
    assert init(tmp_path) == 0
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    named = re.findall(
        r"\]\(([^()]+)\)|`((?:locustfiles|configs|docs|docker)[^` ]*)|(?<= )((?:locustfiles|configs)/\S+\.\w+)", text
    )
    paths = {next(filter(None, found)) for found in named}
    assert {"locustfiles/capacity.py", "configs/slo/chat.yaml", "docs/swarm.md", "docker-compose.yml"} <= paths
    assert [path for path in paths if not (tmp_path / path).exists()] == []
