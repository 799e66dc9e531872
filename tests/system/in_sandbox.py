#!/usr/bin/python3
"""What is checked under a real systemd; runs inside the sandbox, as root, for test_systemd.py.

    in_sandbox.py ROOT RESULTS

ROOT is what `make install DESTDIR=ROOT` made; it is copied onto the throw-away root. RESULTS gets a
JSON line for each check: name, error (null when it passed). The checks are run in order, as a session
of an administrator would go; each starts from a crewd.service that runs or is stopped, as it says.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback

CONF = None     # path of the installed configuration
SOCKET = "/run/crewd/control"
CHECKS = []

GOOD = """
run-user = "daemon"

pool "web" {
    command = {"/bin/sh", "-c", "echo greetings from $CREW_WORKER; exec sleep 100000"}
    workers = 3
}

pool "mail" {
    command     = {"/bin/sh", "-c", "id -un; echo says $WORD; exec sleep 100000"}
    user        = "daemon"
    environment = {"WORD=%s"}
    nice        = -5
    limits      = {"nofile=2048"}
}

pool "family" {
    command = {"/bin/sh", "-c", "setsid sleep 54321 & exec sleep 100000"}
}
"""


def check(function):
    CHECKS.append(function)
    return function


def run(*command, status=0):
    """Runs it; `status` None: any. Returns what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    if status is not None:
        assert done.returncode == status, \
            f"{' '.join(command)}: exit status {done.returncode}, not {status}:\n{done.stdout}"
    return done.stdout


def until(condition, what, seconds=60):
    """The seconds only end what has gone wrong."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (OSError, AssertionError, subprocess.SubprocessError, ValueError, KeyError):
            value = None
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def show(name, unit="crewd.service"):
    return run("systemctl", "show", "--value", "-p", name, unit).strip()


def workers():
    """{name: row} of what crewctl says."""
    answer = json.loads(run("crewctl", "--json", "status"))
    rows = answer["workers"] if isinstance(answer, dict) else answer
    return {row["name"]: row for row in rows}


def pids():
    return {name: row["pid"] for name, row in workers().items()}


def all_run():
    rows = workers()
    return rows and all(row["state"] == "running" for row in rows.values()) and rows


def keeper():
    return int(show("MainPID"))


def manager():
    return int(json.loads(call("io.crewd.Manager.GetStatus"))["manager"])


def call(method):
    """One call over the socket, without crewctl."""
    import socket
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(SOCKET)
        sock.sendall(json.dumps({"method": method}).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            part = sock.recv(65536)
            assert part, "hung up"
            data += part
    answer = json.loads(data[:-1])
    assert "error" not in answer, answer
    return json.dumps(answer["parameters"])


def status_of(pid, key):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
        return next(line.split(":", 1)[1].split() for line in lines if line.startswith(key + ":"))


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def processes(pattern):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if re.search(pattern, words):
            found.append((int(name), words))
    return found


def write_conf(word="hello"):
    with open(CONF, "w", encoding="utf-8") as file:
        file.write(GOOD % word)


def started():
    write_conf()
    if show("ActiveState") != "active":
        run("systemctl", "reset-failed", "crewd.service", status=None)
        run("systemctl", "start", "crewd.service")
    return until(all_run, "all workers run")


def stopped():
    run("systemctl", "stop", "crewd.socket", "crewd.service", status=None)
    run("systemctl", "reset-failed", "crewd.socket", "crewd.service", status=None)


# ---- the installed files ------------------------------------------------------------------------

@check
def installed_files_make_user_and_directories():
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "--prefix=/run/crewd", "--prefix=/var/lib/crewd")
    run("systemctl", "daemon-reload")
    assert "crewd" in run("id", "crewd")
    assert os.path.isdir("/run/crewd") and os.path.isdir("/var/lib/crewd")


@check
def shipped_configuration_is_good():
    run("crewd", "-t", "-c", CONF)


@check
def units_are_well_formed():
    out = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
              "crewd.service", "crewd.socket")
    assert out.strip() == "", out
    path = next(p for p in ("/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
                if os.path.exists(p + "/crewd.service"))
    out = run("systemd-analyze", "--user", "verify", "--recursive-errors=no", path + "/crewd.service",
              status=None)
    assert "crewd" not in out, out


@check
def security_is_3_or_better():
    out = run("systemd-analyze", "security", "--offline=true", "--no-pager",
              show("FragmentPath"))
    level = float(re.search(r"exposure level for crewd.service: ([0-9.]+)", out).group(1))
    assert level <= 3.0, level


# ---- a service that runs ------------------------------------------------------------------------

@check
def start_is_ready_and_status_counts_workers():
    started()
    assert show("SubState") == "running"
    count = len(workers())
    text = until(lambda: re.search(rf"Status: .*\b{count}\b.* of \b{count}\b.*",
                                   run("systemctl", "status", "--no-pager", "crewd.service")),
                 f"a Status line that says {count} of {count}")
    print(text.group(0))


@check
def manager_has_another_user_and_no_capability():
    started()
    pid = manager()
    uid = int(run("id", "-u", "crewd"))
    assert status_of(pid, "Uid") == [str(uid)] * 4, status_of(pid, "Uid")
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status_of(pid, name)[0], 16) == 0, name


@check
def pool_with_user_gets_user_limits_and_nice():
    pid = started()["mail-1"]["pid"]
    uid, gid = run("id", "-u", "daemon").strip(), run("id", "-g", "daemon").strip()
    assert status_of(pid, "Uid") == [uid] * 4
    assert status_of(pid, "Gid") == [gid] * 4
    assert int(status_of(pid, "CapEff")[0], 16) == 0
    assert os.getpriority(os.PRIO_PROCESS, pid) == -5
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        assert re.search(r"Max open files\s+2048\s+2048", file.read())
    until(lambda: "daemon\n" in run("crewctl", "logs", "mail-1"), "id -un in its log")


@check
def worker_has_a_journal_identifier_of_its_own():
    started()
    for name in ("web-1", "web-3"):
        until(lambda n=name: f"greetings from {n}" in run("journalctl", "-o", "cat", "-t", n),
              f"journalctl -t {name}")
    assert "web-3" not in run("journalctl", "-o", "cat", "-t", "web-1")


@check
def members_of_the_group_control_and_others_do_not():
    started()
    member = ["setpriv", "--reuid=daemon", "--regid=daemon", "--groups=crewd"]
    other = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
    crewctl = ["crewctl", "-s", SOCKET]
    assert "web-1" in run(*member, *crewctl, "status")
    run(*member, *crewctl, "restart", "web-2")
    out = run(*other, *crewctl, "terminate", "web-2", status=None)
    assert "web-2" in workers() and workers()["web-2"]["alive"], out


@check
def run_uses_the_user_of_the_configuration():
    started()
    assert run("crewctl", "run", "--name", "who", "--", "sleep", "1000").strip() == "who"
    uid = run("id", "-u", "daemon").strip()
    until(lambda: status_of(workers()["who"]["pid"], "Uid") == [uid] * 4, "who runs as daemon")
    run("crewctl", "kill", "who")
    run("crewctl", "forget", "who")


@check
def worker_has_a_cgroup_of_its_own_and_takes_its_children_along():
    started()
    def group(pid):
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            return file.read().strip().rsplit("::", 1)[-1]
    rows = workers()
    groups = {group(row["pid"]) for row in rows.values()}
    assert len(groups) == len(rows), groups
    assert group(keeper()) not in groups
    child = until(lambda: processes(r"^sleep 54321"), "the child in a session of its own")[0][0]
    run("crewctl", "terminate", "family-1")
    until(lambda: not exists(child), "the child that had left the session is gone")
    run("crewctl", "start", "family-1")


@check
def reload_returns_when_it_is_done():
    before = {name: row["pid"] for name, row in started().items()}
    write_conf("goodbye")
    run("systemctl", "reload", "crewd.service")
    until(lambda: all_run() and pids()["mail-1"] != before["mail-1"], "mail-1 was replaced")
    after = pids()
    assert {n: p for n, p in after.items() if n != "mail-1"} == \
           {n: p for n, p in before.items() if n != "mail-1"}
    until(lambda: "says goodbye" in run("journalctl", "-o", "cat", "-t", "mail-1"), "goodbye")


@check
def reload_of_a_bad_file_fails_and_changes_nothing():
    before = {name: row["pid"] for name, row in started().items()}
    with open(CONF, "w", encoding="utf-8") as file:
        file.write(GOOD.replace("workers = 3", "workers = three") % "hello")
    line = next(n for n, text in enumerate(GOOD.splitlines(), 1) if "workers = 3" in text)
    done = subprocess.run(["systemctl", "reload", "crewd.service"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode != 0, "systemctl reload took a bad file"
    until(lambda: f"{CONF}:{line}:" in run("journalctl", "-o", "cat", "-u", "crewd.service"),
          f"{CONF}:{line} in the journal")
    assert f"{CONF}:{line}:" in run("systemctl", "status", "--no-pager", "crewd.service",
                                    status=None), "not in systemctl status"
    assert pids() == before
    assert show("ActiveState") == "active"
    write_conf()


@check
def killed_manager_is_replaced_at_once():
    before = {name: row["pid"] for name, row in started().items()}
    for _ in range(5):
        old = manager()
        os.kill(old, signal.SIGKILL)
        begin = time.monotonic()
        new = until(manager, "an answer")
        assert new != old and time.monotonic() - begin < 1.0, time.monotonic() - begin
    assert pids() == before
    assert all(row["restarts"] == 0 for row in workers().values() if row["pool"] == "web"
               and row["name"] != "web-2")


@check
def shared_queue_outlives_the_manager():
    member = ["setpriv", "--reuid=daemon", "--regid=daemon", "--groups=crewd", "crewctl", "-s", SOCKET]
    other = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "crewctl", "-s", SOCKET]
    started()
    run("crewctl", "queue", "create", "--kind", "shared", "--maxsize", "2", "ring")
    run("crewctl", "queue", "put", "ring", "one")
    run(*member, "queue", "put", "ring", "two")
    was = manager()
    os.kill(was, signal.SIGKILL)
    until(lambda: manager() not in (None, was), "another manager")
    assert run("crewctl", "queue", "get", "ring") == "one\n"
    assert run(*member, "queue", "get", "ring") == "two\n"
    run(*other, "queue", "get", "ring", status=77)
    run("crewctl", "queue", "delete", "ring")


@check
def stopped_manager_is_replaced():
    before = {name: row["pid"] for name, row in started().items()}
    old, daemon = manager(), keeper()
    os.kill(old, signal.SIGSTOP)
    until(lambda: not exists(old), "the manager that does not answer is killed")
    assert until(manager, "an answer") != old
    assert keeper() == daemon and pids() == before
    assert show("NRestarts") == "0"


@check
def watchdog_of_systemd_catches_a_stopped_keeper():
    stopped()
    os.makedirs("/run/systemd/system/crewd.service.d", exist_ok=True)
    with open("/run/systemd/system/crewd.service.d/watchdog.conf", "w", encoding="ascii") as file:
        file.write("[Service]\nWatchdogSec=3\n")
    run("systemctl", "daemon-reload")
    before = {name: row["pid"] for name, row in started().items()}
    time.sleep(4.5)     # a keeper that is well outlives its watchdog
    old = keeper()
    assert show("NRestarts") == "0" and pids() == before
    os.kill(old, signal.SIGSTOP)
    until(lambda: keeper() not in (0, old) and show("ActiveState") == "active",
          "systemd starts crewd again")
    assert "watchdog" in run("journalctl", "-o", "cat", "-u", "crewd.service").lower()
    until(all_run, "all workers run again")
    assert not any(exists(pid) for pid in before.values()), "a worker of the old one is left"
    os.unlink("/run/systemd/system/crewd.service.d/watchdog.conf")
    run("systemctl", "daemon-reload")


@check
def killed_keeper_leaves_no_worker_and_is_started_again():
    before = {name: row["pid"] for name, row in started().items()}
    old = keeper()
    os.kill(old, signal.SIGKILL)
    until(lambda: keeper() not in (0, old) and all_run(), "crewd runs again")
    assert not any(exists(pid) for pid in before.values())


@check
def durable_queue_survives_a_restart_and_a_killed_service():
    started()
    if not any(q["name"] == "kept" for q in json.loads(call("io.crewd.Queue.List"))["queues"]):
        run("crewctl", "queue", "create", "--durable", "kept")
    for word in ("one", "two", "three"):
        run("crewctl", "queue", "put", "kept", word)
    run("systemctl", "restart", "crewd.service")
    until(all_run, "crewd runs again")
    assert run("crewctl", "queue", "get", "kept") == "one\n"
    run("systemctl", "restart", "crewd.service")
    until(all_run, "crewd runs again")
    old = keeper()
    run("systemctl", "kill", "-s", "KILL", "crewd.service")
    until(lambda: keeper() not in (0, old) and all_run(), "systemd starts crewd again")
    assert run("crewctl", "queue", "get", "kept") == "two\n"
    assert run("crewctl", "queue", "get", "kept") == "three\n"
    owner = os.stat("/var/lib/crewd")
    assert owner.st_uid == int(run("id", "-u", "crewd")) and owner.st_mode & 0o007 == 0
    run("crewctl", "queue", "delete", "kept")
    assert not any(f.startswith("kept.") for f in os.listdir("/var/lib/crewd"))


@check
def stop_leaves_nothing():
    started()
    group = "/sys/fs/cgroup" + show("ControlGroup")
    run("systemctl", "stop", "crewd.service")
    assert show("ActiveState") == "inactive", show("ActiveState")
    assert show("Result") == "success", show("Result")
    assert not processes(r"crewd|sleep (100000|54321)"), processes(r"crewd|sleep (100000|54321)")
    assert not os.path.exists(group), f"{group} is left"
    assert not os.path.exists(SOCKET), "the control socket is left"
    assert set(os.listdir("/run/crewd")) <= {"control.lock"}, os.listdir("/run/crewd")


@check
def bad_configuration_is_not_tried_again():
    stopped()
    with open(CONF, "w", encoding="utf-8") as file:
        file.write("pool \"web\" {\n")
    run("systemctl", "start", "crewd.service", status=1)
    assert show("ExecMainStatus") == "78", show("ExecMainStatus")
    time.sleep(2)
    assert show("ActiveState") == "failed" and show("NRestarts") == "0"
    write_conf()
    run("systemctl", "reset-failed", "crewd.service")


# ---- socket activation --------------------------------------------------------------------------

@check
def socket_starts_the_daemon():
    stopped()
    write_conf()
    run("systemctl", "start", "crewd.socket")
    assert show("ActiveState") == "inactive"
    state = os.stat(SOCKET)
    assert state.st_mode & 0o777 == 0o660, oct(state.st_mode)
    assert state.st_gid == int(run("getent", "group", "crewd").split(":")[2])
    until(all_run, "the first call starts crewd, and its workers")
    assert show("ActiveState") == "active"
    inode = os.stat(SOCKET).st_ino
    run("systemctl", "reload", "crewd.service")
    run("systemctl", "restart", "crewd.service")
    until(all_run, "all workers run after a restart")
    assert os.stat(SOCKET).st_ino == inode, "the socket is systemd's, and stays"


@check
def stop_of_an_activated_service_keeps_the_socket():
    run("systemctl", "stop", "crewd.service")
    assert show("Result") == "success", show("Result")
    assert os.path.exists(SOCKET)
    assert not processes(r"sleep (100000|54321)")
    run("systemctl", "stop", "crewd.socket")
    assert not os.path.exists(SOCKET)


def main():
    global CONF
    root, results = sys.argv[1:]
    CONF = next(os.path.join(folder, "crewd.conf")[len(root):]
                for folder, _, files in os.walk(root)
                if "crewd.conf" in files and folder.endswith("etc/crewd"))
    subprocess.run(["cp", "-a", root + "/.", "/"], check=True)
    with open(results, "w", encoding="utf-8") as out:
        for function in CHECKS:
            begin = time.monotonic()
            error = None
            try:
                function()
            except Exception:   # pylint: disable=broad-except
                error = traceback.format_exc()
                error += "\n--- journal ---\n" + run(
                    "journalctl", "--no-pager", "-n", "60", "-o", "short-monotonic", status=None)
            json.dump({"name": function.__name__, "error": error,
                       "seconds": round(time.monotonic() - begin, 1)}, out)
            out.write("\n")
            out.flush()
    stopped()


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(function.__name__ for function in CHECKS))
    else:
        main()
