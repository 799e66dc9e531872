"""Pools of a module: a shared object whose crew_run() is called for each task, in workers that are forked."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, WORKERS, VarlinkError, exists, until
from test_libcrew import SHARED, install, made  # noqa: F401  pylint: disable=unused-import

EXAMPLE = ROOT / "conf/examples/module.c"
MODULE = WORKERS / "libmodule.so"
APPLY, MAP = "io.crewd.Pool.Apply", "io.crewd.Pool.Map"


def build(source, out, *flags):
    subprocess.run([*made("CC").split(), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", out, source,
                    *flags], check=True)
    out.chmod(0o755)
    return out


build(WORKERS / "module.c", MODULE, f"-I{ROOT / 'libcrew'}")


def pool(module=MODULE, name="m", workers=2, more=""):
    return f'pool "{name}" {{ module = "{module}" workers = {workers} {more} }}\n'


def start(crewd, *args, **more):
    crewd.start(pool(*args, **more))
    crewd.wait_state("m-1", "running")


def run(crewd, *args, **more):
    return crewd.call(APPLY, pool="m", **({"args": list(args)} if args else {}), **more)["task"]["result"]


def failure(crewd, *args):
    with pytest.raises(VarlinkError) as e:
        run(crewd, *args)
    return e.value.name.rsplit(".", 1)[1], e.value.parameters


# ---- tasks ------------------------------------------------------------------------------------


def test_arguments_and_results(crewd):
    start(crewd)
    assert run(crewd, "echo", "hello") == "hello"
    assert run(crewd, "echo", 'a "b"\n\tc é') == 'a "b"\n\tc é'
    assert base64.b64decode(run(crewd, "echo", "a\0b\n")["base64"]) == b"a\0b\n"
    assert run(crewd, "echo", [1, {"a": None}]) == '[1,{"a":null}]'
    assert run(crewd, "count", *range(1000)) == 1001
    assert run(crewd) == []
    assert run(crewd, params={"width": 3, "name": "x"}) == {"width": 3, "name": "x"}
    assert run(crewd, "echo", "x" * 500_000) == "x" * 500_000
    failed = [crewd.call(APPLY, pool="m", args=[word])["task"] for word in ("what", "nothing")]
    assert [t["state"] for t in failed] == ["failed", "failed"]
    assert failed[0]["error"]["code"] == 42 and failed[0]["error"]["message"] == "no such word"
    assert "gave no answer" in failed[1]["error"]["message"]
    with crewd.varlink() as v:
        v.send(APPLY, {"pool": "m", "args": ["echo", "x"], "method": "run"})
        assert v.receive()["parameters"]["parameter"] == "method"
    assert crewd.call("io.crewd.Pool.List")["pools"][0]["tasks"] == "module"


def test_map(crewd):
    start(crewd, workers=3)
    out = crewd.ctl("map", "m", stdin="count\n" * 3000).stdout
    assert out == "1\n" * 3000
    assert crewd.ctl("apply", "m", "echo", "two words").stdout == "two words\n"


def test_python(crewd):
    start(crewd, workers=2)
    program = """
import json, sys, crew
pool = crew.Pool("m", socket=sys.argv[1])
print(json.dumps([pool.apply("count", (1, [2])), pool.apply(None, kwds={"a": 1}), pool.apply("echo", ("x",)),
                  pool.map("echo", ["a", "b"]), pool.apply("params", ([None],))]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(crewd.socket)], check=True, stdout=subprocess.PIPE,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    assert json.loads(done.stdout) == [3, {"a": 1}, "x", ["a", "b"], ["params", [None]]]


def test_the_process_is_as_the_pool_says(crewd):
    start(crewd, more='environment = {"WORD=17"} directory = "/tmp" umask = 027 nice = 3 limits = {"nofile=77"}')
    assert run(crewd, "env", "WORD") == 17
    assert crewd.ctl("apply", "m", "env", "NOTIFY_SOCKET").stdout in ("null\n", "\n")
    pid = crewd.worker("m-1")["pid"]
    assert os.readlink(f"/proc/{pid}/cwd") == "/tmp"
    assert "\nUmask:\t0027\n" in pathlib.Path(f"/proc/{pid}/status").read_text()
    assert pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[16] == "3"


def test_ready_and_watchdog(crewd):
    start(crewd, workers=1, more='ready = "notify" watchdog = "10s" start-timeout = "20s"')
    assert crewd.ctl("is-alive", "m-1").stdout == "alive\n"
    assert run(crewd, "env", "WATCHDOG_USEC") == 10_000_000


def test_crash_fails_its_task_alone(crewd):
    start(crewd, workers=1)
    (loader, first, _) = run(crewd, "tell").split()
    name, parameters = failure(crewd, "abort")
    assert name == "WorkerDied" and parameters["signal"] == 6
    name, parameters = failure(crewd, "exit", "3")
    assert name == "WorkerDied" and parameters["exitcode"] == 3
    assert failure(crewd, "exit", "0")[0] == "WorkerDied"
    again = run(crewd, "tell").split()
    assert again[0] == loader and again[1] != first  # forked from the same warm template


def test_crash_among_many(crewd):
    start(crewd, workers=2)
    with crewd.varlink() as v:
        words = [["abort"] if i % 100 == 50 else ["echo", str(i)] for i in range(1000)]
        v.send(MAP, {"pool": "m", "tasks": words}, more=True)
        results = {}
        while len(results) < 1000:
            reply = v.receive()
            assert "error" not in reply, reply
            for t in reply["parameters"].get("results", []) or [reply["parameters"]]:
                results[t["index"]] = t["task"] if "task" in t else t
    for i, task in results.items():
        if i % 100 == 50:
            assert task["state"] == "failed" and task["error"]["signal"] == 6
        else:
            assert task["state"] == "succeeded" and task["result"] == str(i)


# ---- memory -----------------------------------------------------------------------------------


def own(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.M)) / 1024


def test_preload_is_called_once_and_shared(crewd):
    start(crewd, workers=4)
    template = crewd.worker("m.module-1")["pid"]
    seen = {tuple(run(crewd, "tell").split()) for _ in range(50)}
    assert {loader for loader, _, _ in seen} == {str(template)}
    assert {total for _, _, total in seen} == {"16384"}
    workers = {crewd.worker(f"m-{n}")["pid"] for n in range(1, 5)}
    assert {int(pid) for _, pid, _ in seen} <= workers and template not in workers
    assert all(own(pid) < 16 for pid in workers), [own(pid) for pid in workers]  # of 64 MiB that they all read
    assert crewd.ctl("logs", "m.module-1").stdout.count("preloaded by") == 1


# ---- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("module, environment, why", [
    ("/nowhere/libx.so", "", "cannot open shared object file"),
    (WORKERS / "template.py", "", "invalid ELF header"),
    ("{empty}", "", "undefined symbol: crew_run"),
    (MODULE, "PRELOAD=7", r"crew_preload() has returned 7"),
    (MODULE, "PRELOAD=abort", "SIGABRT"),
    (MODULE, "PRELOAD=thread", "more than one thread"),
])
def test_bad_module(crewd, module, environment, why):
    if module == "{empty}":
        source = crewd.dir / "empty.c"
        source.write_text("int nothing;\n")
        module = build(source, crewd.dir / "libempty.so")
    elif module == WORKERS / "template.py":
        shutil.copy(ROOT / "conf/examples/template.py", module)
    crewd.start(pool(module, more=f'environment = {{"{environment or "A=1"}"}}'))
    crewd.wait_state("m-1", "failed")
    until(lambda: why in crewd.worker("m-1")["why"], f"{why} in {crewd.worker('m-1')['why']}")
    assert "template m.module has failed" in crewd.worker("m-1")["why"]
    assert why in crewd.ctl("start", "m", code=1).stderr
    failed = crewd.ctl("apply", "m", "count", code=None)
    assert failed.returncode == 1
    # put right, it comes up without a restart of crewd
    crewd.write(pool())
    crewd.ctl("reload")
    until(lambda: crewd.ctl("apply", "m", "count", code=None).stdout == "1\n", "it works now")


def test_errors_of_the_configuration(crewd):
    lines = crewd.write('pool "m" { tasks = "module" }')
    crewd.start(wait=False)
    crewd.exitcode = 78
    crewd.process.wait(30)
    assert f':{lines + 1}: pool "m": tasks = "module": needs the module' in crewd.said()


# ---- generations ------------------------------------------------------------------------------


def test_restart_loads_what_has_changed(crewd):
    mine = crewd.dir / "libmine.so"
    shutil.copy(MODULE, mine)
    start(crewd, mine, workers=2)
    before = run(crewd, "tell").split()
    assert before[2] == "16384"
    source = crewd.dir / "mine.c"
    source.write_text('#include <crew.h>\nvoid crew_run(struct crew_task *t) { crew_return(t, "new", 3); }\n')
    build(source, crewd.dir / "new.so", f"-I{ROOT / 'libcrew'}").replace(mine)
    assert run(crewd, "count") == 1  # what is loaded stays
    crewd.ctl("restart", "m-1")
    assert run(crewd, "count") == 1  # forked anew from the template there is
    crewd.ctl("restart", "m")
    assert {crewd.ctl("apply", "m", "count").stdout for _ in range(8)} == {"new\n"}
    until(lambda: not exists(int(before[0])), "the old template has gone")
    # one that cannot be loaded: the old ones go on
    (crewd.dir / "broken").write_text("no")
    (crewd.dir / "broken").replace(mine)
    bad = crewd.ctl("restart", "m", code=1)
    assert "file too short" in bad.stderr or "invalid ELF header" in bad.stderr
    assert crewd.ctl("apply", "m", "count").stdout == "new\n"


def test_restart_of_all_at_once_and_by_pattern(crewd):
    crewd.start(pool() + 'pool "other" { command = {"/usr/bin/sleep", "1000"} workers = 2 }\n')
    names = ("m-1", "m-2", "other-1", "other-2")
    for options in ((), ("--all-at-once",)):
        before = {n: crewd.wait_state(n, "running")["pid"] for n in names}
        loader = run(crewd, "tell").split()[0]
        crewd.ctl("restart", *options, "*")
        assert all(crewd.worker(n)["pid"] not in (before[n], None) for n in names)
        assert run(crewd, "tell").split()[0] != loader
        until(lambda: [w["state"] for w in crewd.workers().values() if w["pool"] == "m.module"].count("running") == 1,
              "one of its template")


def test_reload_with_another_module(crewd):
    start(crewd, workers=2)
    old = run(crewd, "tell").split()
    other = crewd.dir / "libother.so"
    shutil.copy(MODULE, other)
    crewd.write(pool(other))
    assert "changed m: module" in crewd.ctl("reload").stdout
    until(lambda: run(crewd, "tell").split()[0] != old[0], "the new one is in use")
    until(lambda: not exists(int(old[0])), "nothing of the old one is left")
    crewd.write(pool("/nowhere/lib.so"))
    crewd.ctl("reload")
    until(lambda: "its new generation has failed" in crewd.said(), "it could not be loaded")
    assert run(crewd, "count") == 1  # by the old one


def test_manager_is_killed_during_tasks(crewd):
    start(crewd, workers=2)
    template = crewd.worker("m.module-1")["pid"]
    ids = [crewd.call("io.crewd.Pool.ApplyAsync", pool="m", args=["sleep", "400"])["id"] for _ in range(2)]
    assert len(ids) == 2
    crewd.kill_manager()
    until(crewd.answers, "another manager")
    assert run(crewd, "count") == 1
    until(lambda: all(crewd.state(f"m-{n}") == "running" for n in (1, 2)), "all are up")
    loader = run(crewd, "tell").split()[0]
    assert int(loader) == template == crewd.worker("m.module-1")["pid"]  # it stayed, warm


# ---- as users have it -------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED, reason="there is no shared libcrew")
@pytest.mark.parametrize("linked", [True, False])
def test_example(crewd, installed, linked):
    lines = [text for text in EXAMPLE.read_text().splitlines() if text.strip()]
    assert len(lines) <= 20
    flags = installed.flags("--cflags", "--libs") if linked else installed.flags("--cflags")
    module = build(EXAMPLE, crewd.dir / "libprimes.so", "-O2", *flags,
                   *([f"-Wl,-rpath,{installed.lib}", "-Wl,--no-as-needed", "-lcrew"] if linked else []))
    crewd.start((ROOT / "conf/examples/module.conf").read_text().replace("/tmp/libprimes.so", str(module)))
    crewd.wait_state("primes-1", "running")
    assert crewd.ctl("apply", "primes", "97").stdout == "true\n"
    out = crewd.ctl("map", "primes", stdin="".join(f"{i}\n" for i in range(30))).stdout
    assert [i for i, word in enumerate(out.split()) if word == "true"] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    readme = (ROOT / "README.md").read_text()
    assert " ".join(EXAMPLE.read_text().split()) in " ".join(readme.split())


def test_host_is_installed(installed):
    host = next(installed.dest.rglob("crew-host"))
    assert host.parent.name == "crewd" and os.access(host, os.X_OK)
    done = subprocess.run([host], check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "for pools with a module" in done.stderr
    done = subprocess.run([host, MODULE], check=False, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if not k.startswith("CREW_")})
    assert done.returncode == 1 and "cannot be a template" in done.stderr
