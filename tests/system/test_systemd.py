"""crewd under a real systemd: in_sandbox.py, run once in the sandbox, and a test for each check.

The sandbox is a program that boots a throw-away systemd and runs a command in it; SYSTEMD_SANDBOX
names it, default ../shared/systemd-sandbox beside the checkout. Needs root. Where there is none the
tests are skipped; in continuous integration (CI is set) one that does not start is a failure.
"""
import json
import os
import re
import subprocess
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
INSIDE = HERE / "in_sandbox.py"
CHECKS = re.findall(r"^@check\ndef (\w+)", INSIDE.read_text(encoding="utf-8"), re.M)


def sandbox():
    path = Path(os.environ.get("SYSTEMD_SANDBOX") or TOP.parent / "shared" / "systemd-sandbox")
    if not os.access(path, os.X_OK):
        return None, f"there is no systemd sandbox at {path} (SYSTEMD_SANDBOX names it)"
    if os.geteuid() != 0:
        return None, "the systemd sandbox needs root"
    return path, None


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    program, why = sandbox()
    if not program:
        warnings.warn(f"TESTS UNDER SYSTEMD ARE SKIPPED: {why}")
        pytest.skip(why)
    build = os.environ.get("CREW_BUILDDIR", str(Path(os.environ["CREWD"]).parent))
    work = tmp_path_factory.mktemp("systemd")
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-s", "-C", build, "install", f"DESTDIR={work}/root"], env=clean,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                          check=False)
    if done.returncode:
        return {}, f"make install failed:\n{done.stdout}"
    script = work / "in_sandbox.py"     # the sandbox may not see the source tree
    script.write_text(INSIDE.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run([program, "--timeout", "300", "--journal", work / "journal", "--",
                           "/usr/bin/python3", script, work / "root", work / "results"],
                          cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=330, check=False)
    lines = (work / "results").read_text(encoding="utf-8") if (work / "results").exists() else ""
    found = {row["name"]: row for row in map(json.loads, lines.splitlines())}
    if done.returncode == 125 and not found and not os.environ.get("CI"):
        warnings.warn(f"TESTS UNDER SYSTEMD ARE SKIPPED: no sandbox here: {done.stdout}")
        pytest.skip(f"the systemd sandbox did not start: {done.stdout}")
    return found, f"the sandbox left with {done.returncode}:\n{done.stdout}"


@pytest.mark.parametrize("name", CHECKS)
def test_systemd(results, name):
    found, said = results
    assert name in found, f"was not reached; {said}"
    if found[name]["error"]:
        pytest.fail(found[name]["error"], pytrace=False)
