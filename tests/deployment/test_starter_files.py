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


def test_a_file_that_differs_is_kept_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_files(tmp_path, force=False)
    own = tmp_path / "configs" / "slo" / "chat.yaml"
    own.write_text("mine")
    (tmp_path / "locustfiles" / "chat.py").unlink()
    assert init(tmp_path) == 0
    said = capsys.readouterr().out
    assert own.read_text() == "mine"
    assert f"kept {own}: it differs from the package's; --force replaces it" in said
    assert f"{tmp_path}: copied 1 file, " in said
    assert init(tmp_path, "--force") == 0
    assert own.read_bytes() == (ROOT / "configs" / "slo" / "chat.yaml").read_bytes()
    assert f"replaced {own}" in capsys.readouterr().out


def test_what_a_link_points_to_is_never_replaced(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("mine")
    link = tmp_path / "new" / "docker-compose.yml"
    link.parent.mkdir()
    for target in (elsewhere, tmp_path / "gone.yaml"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert link.relative_to(link.parent) in copy_files(link.parent, force=False).kept
        assert link.is_symlink()
    link.unlink()
    link.symlink_to(elsewhere)
    copy_files(link.parent, force=True)
    assert not link.is_symlink()
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
