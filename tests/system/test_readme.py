"""The tour of tasks in README.md does what it says."""

import os
import pathlib
import re
import subprocess
import time

from conftest import CREWCTL, until

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SECTION = "## Tasks in five minutes"


def steps():
    """(command, what it prints), as they stand in the indented parts of the section."""
    text = (TOP / "README.md").read_text().split(SECTION)[1].split("\n## ")[0]
    found = []
    for line in re.findall(r"^    (.*)$", text, re.M):
        if line.startswith("$ "):
            found.append([line[2:], ""])
        else:
            found[-1][1] += line + "\n"
    assert len(found) >= 15
    return found


def run(crewd, commands):
    """What each of them prints, on either stream."""
    script = 'crewctl() { "$CREWCTL" -s "$SOCKET" "$@"; }; cd "$DIR" || exit\n'
    script += "".join(f"{command}\nprintf '\\0'\n" for command in commands)
    env = {**os.environ, "CREWCTL": CREWCTL, "SOCKET": str(crewd.socket), "DIR": str(crewd.dir)}
    done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                          check=True, text=True, timeout=60)
    return done.stdout.split("\0")[:-1]


def test_tour_of_tasks(crewd):
    files = {c.split()[1]: text for c, text in steps() if c.startswith("cat ")}
    tour = [(c, text) for c, text in steps() if not c.startswith("cat ")]
    (crewd.dir / "calc.py").write_text(files["calc.py"])
    example = (TOP / "conf/examples/sleep.conf").read_text()
    crewd.start((files["crewd.conf"] + example).replace("/tmp/tour", str(crewd.dir)))
    printed = run(crewd, [c for c, _ in tour])
    assert list(zip([c for c, _ in tour], printed)) == tour
    # its last step: all that was handed in before the pool was closed has been done
    tasks = [crewd.call("io.crewd.Pool.Result", id=i)["task"] for i in (crewd.dir / "ids").read_text().split()]
    assert len(tasks) == 10 and {t["state"] for t in tasks} == {"succeeded"}
    took = max(t["finished"] for t in tasks) - min(t["started"] for t in tasks)
    handed_in = max(t["queued"] for t in tasks) - min(t["queued"] for t in tasks)
    print(f"10 tasks of 2 s, 3 at a time: {took:.2f} s; handed in within {1000 * handed_in:.0f} ms")
    assert took >= 8 and handed_in < took


def test_example_is_closed_and_joined(crewd):
    """The commands at its head, as they stand there."""
    text = (TOP / "conf/examples/sleep.conf").read_text()
    commands = re.findall(r"^#\t\$ (.*)$", text, re.M)
    assert len(commands) == 3
    crewd.start(text)
    begin = time.monotonic()
    out = run(crewd, commands)
    took = time.monotonic() - begin
    print(f"joined after {took:.2f} s")
    assert len(out[0].split()) == 10 and out[1:] == ["", ""] and took >= 8
    assert crewd.call("io.crewd.Pool.List")["pools"][0]["succeeded"] == 10
    until(lambda: not crewd.pids(), "no worker is left")
