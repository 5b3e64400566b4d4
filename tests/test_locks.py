"""The locks: complete, consistent with the pins, and without addresses; licences, vulnerabilities and the SBOM."""

import importlib.util
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement

from hub.staging import add_locked, read_requirements
from locks import FOLDER, audit, find_needed, licences, normalise, parse_lock, read_lock
from locks.refresh import EXTRAS, LEFT_OUT
from tests.conftest import ROOT, find_free_port
from tests.test_requirements import SPACES, is_installed, read_extras, read_names, read_pins

LOCKS = sorted(EXTRAS)


def find_versions(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package in read_lock(name):
        found.setdefault(package.name, set()).add(package.version)
    return found


def test_every_lock_is_one_of_those_that_are_refreshed():
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == sorted([*LOCKS, "pip"])  # it installs the others


def test_the_pip_that_installs_the_locks_is_pinned_with_its_hash():
    lines = (FOLDER / "pip.txt").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if not line.startswith("#")]
    assert re.fullmatch(r"pip==[\d.]+ --hash=sha256:[0-9a-f]{64}", line)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name):
    """pip takes the files from wherever this machine gets its packages."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    packages = list(parse_lock(text))
    assert len(packages) >= 60
    assert all(package.hashes for package in packages)
    assert not re.search(r"://|^ *-|/tmp", re.sub(r"^ +--hash=.*$", "", text, flags=re.MULTILINE), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_the_pinned_versions(name):
    found = find_versions(name)
    for line in read_extras(*EXTRAS[name]):
        pin = Requirement(line)
        if not LEFT_OUT.fullmatch(pin.name):
            assert all(pin.specifier.contains(one) for one in found[normalise(pin.name)]), line


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_its_packages_need(name):
    """As far as the packages of this system say."""
    packages, missing = read_lock(name), []
    found = find_versions(name)
    for package in packages:
        try:
            wanted = requires(package.name) if version(package.name) == package.version else None
        except PackageNotFoundError:
            continue
        for text in wanted or []:
            need = Requirement(text)
            if (need.marker is None or need.marker.evaluate({"extra": ""})) and not LEFT_OUT.fullmatch(need.name):
                versions = found.get(normalise(need.name), set())
                if not versions or not any(need.specifier.contains(one, prereleases=True) for one in versions):
                    missing.append((package.name, text))
    assert not missing


def test_the_locks_agree():
    every = find_versions("all")
    for name in LOCKS:
        assert all(versions <= every[package] for package, versions in find_versions(name).items())
    assert find_versions("demo").keys() <= find_versions("test").keys() & find_versions("check").keys()
    assert "torch" not in every
    assert not any(package.startswith("nvidia") for package in every)


def test_what_a_package_needs_is_found_in_a_lock():
    text = (
        "a==1.0 \\\n    --hash=sha256:{0}\n    # via model-gallery (pyproject.toml)\n"
        "b==2.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{0} \\\n    --hash=sha256:{0}\n    # via a\n"
        "c==3.0 \\\n    --hash=sha256:{0}\n    # via\n    #   b\n    #   d\n"
        "d==4.0 \\\n    --hash=sha256:{0}\n"
    ).format("0" * 64)
    locked = list(parse_lock(text))
    assert [package.requirement for package in locked] == [
        "a==1.0",
        "b==2.0 ; sys_platform == 'win32'",
        "c==3.0",
        "d==4.0",
    ]
    assert [len(package.hashes) for package in locked] == [1, 2, 1, 1]
    assert [package.name for package in find_needed(locked, ["A"])] == ["a", "b", "c"]
    assert "".join(package.text for package in locked) == text


@pytest.mark.parametrize("name", SPACES)
def test_a_space_gets_all_that_its_packages_need_in_locked_versions_without_hashes(name):
    found = {normalise(Requirement(line).name): line for line in add_locked(read_requirements(ROOT / "spaces" / name))}
    assert set(map(normalise, read_names(read_pins(name)))) < found.keys() <= find_versions("demo").keys()
    assert ("tokenizers" in found) == (name in ("sentiment", "gallery"))
    assert "setuptools" not in found
    assert not any("hash" in line for line in found.values())
    for package in found:
        for text in (requires(package) if is_installed(package) else None) or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert normalise(need.name) in found, (package, text)


# --- licences ---


def test_a_licence_that_nobody_has_looked_at_is_refused(monkeypatch):
    monkeypatch.setitem(licences.STATED, "numpy", "MIT AND AGPL-3.0-only")
    with pytest.raises(licences.UnknownLicenceError, match=r"numpy is under AGPL-3.0-only: say in CONDITIONS"):
        licences.make_table(["numpy"])
    with pytest.raises(licences.UnknownLicenceError, match="no-such-package is not installed here"):
        licences.make_table(["no-such-package"])


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause", "BSD-3-Clause"),
        ("License: See the file\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("License: Proprietary", None),
        ("Classifier: License :: OSI Approved", None),
        ("", None),
    ],
)
def test_a_licence_is_read_from_what_the_metadata_has(fields, found):
    from email import message_from_string

    about = message_from_string(f"Name: a\n{fields}\n")
    if found:
        assert licences.read_licence(about) == found
    else:
        with pytest.raises(licences.UnknownLicenceError, match="a states its licence as"):
            licences.read_licence(about)


@pytest.mark.training
def test_the_list_of_licences_is_that_of_the_installed_packages():
    if missing := [name for name in find_versions("all") if name not in licences.STATED and not is_installed(name)]:
        pytest.skip(f"{', '.join(missing)} are not installed: make test-all")
    assert licences.FILE.read_text(encoding="utf-8") == licences.make_document()


def test_the_list_of_licences_has_every_package_once():
    text = licences.FILE.read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ") and "| packages |" not in row]
    listed = [name for _, names in rows for name in names.removesuffix(" |").split(", ")]
    assert sorted(listed) == sorted(find_versions("all"))
    asked = {one for licence, _ in rows for one in licences.find_unknown(licence.removeprefix("| "))}
    assert not asked
    for licence in licences.CONDITIONS:
        assert f"\n- {licence}: " in text


# --- known vulnerabilities ---


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


def test_a_service_is_reachable_if_it_answers_at_all():
    assert not audit.is_reachable(f"http://127.0.0.1:{find_free_port()}")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert audit.is_reachable(f"http://127.0.0.1:{server.server_port}")


def test_without_a_network_the_audit_is_skipped_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(audit, "SERVICE", f"http://127.0.0.1:{find_free_port()}")
    assert audit.main() == 0
    assert re.fullmatch(r"pip-audit is skipped: \S+ cannot be reached from here.\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("report", "status", "says"),
    [
        (
            {"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}]},
            0,
            "No locked",
        ),
        (
            {
                "dependencies": [
                    {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2", "3"]}]},
                    {"name": "b", "version": "4", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
                ]
            },
            1,
            "a 1: CVE-1, fixed in 2 or 3\nb 4: CVE-2, fixed in no version\n",
        ),
        (None, 0, "pip-audit is skipped, because it failed: it broke"),
    ],
)
def test_the_audit_says_what_is_known(monkeypatch, capsys, report, status, says):
    """With a program in place of pip-audit, which finds every locked package in its list."""
    monkeypatch.setattr(audit, "is_reachable", lambda _: True)
    code = f"""
import sys
wanted = open(sys.argv[sys.argv.index("--requirement") + 1]).read().split("\\n")
assert len(wanted) > 150 and "torch==2.13.0" in wanted, wanted
report = {json.dumps(report)!r}
if report == "null":
    sys.exit("it broke")
open(sys.argv[sys.argv.index("--output") + 1], "w").write(report)
"""
    run = audit.subprocess.run
    monkeypatch.setattr(
        audit.subprocess, "run", lambda command, **options: run([sys.executable, "-c", code, *command[1:]], **options)
    )
    assert audit.main() == status
    assert says in capsys.readouterr().out


# --- the SBOM ---


@pytest.mark.skipif(importlib.util.find_spec("cyclonedx") is None, reason="cyclonedx is not installed: make check")
def test_the_sbom_has_every_package_of_the_served_gallery(tmp_path):
    from locks import sbom

    sbom.main([str(tmp_path / "new/sbom.json")])
    made = json.loads((tmp_path / "new/sbom.json").read_text(encoding="utf-8"))
    assert made["bomFormat"] == "CycloneDX"
    assert made["metadata"]["component"]["name"] == "model-gallery"
    found = {part["name"]: part for part in made["components"]}
    assert found.keys() == find_versions("demo").keys()
    assert found["gradio"]["purl"] == f"pkg:pypi/gradio@{version('gradio')}"
    assert found["gradio"]["licenses"] == [{"expression": "Apache-2.0"}]
    assert {one["alg"] for one in found["gradio"]["hashes"]} == {"SHA-256"}
    needs = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in made["dependencies"]}
    assert any(name.startswith("gradio==") for name in needs["model-gallery"])
    assert any(name.startswith("gradio-client==") for name in needs[f"gradio=={version('gradio')}"])
    assert str(ROOT) not in json.dumps(made)
