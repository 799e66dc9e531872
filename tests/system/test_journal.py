"""The journal of durable queues: killed, torn, on a full and on a failing disk, and against SQLite."""

import os
import pathlib
import random
import shutil
import signal
import sqlite3
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CREW_BUILDDIR", ROOT / "build"))
JOURNAL = BUILD / "tests" / "workers" / "journal"
DEADLINE = 120
# All that changes files, and what opens them. Libraries are opened too: those kills are early ones.
CALLS = "pwrite64,fdatasync,fsync,fallocate,renameat,renameat2,unlinkat,openat,ftruncate"


def run(*args, prefix=(), expect=(0,)):
    done = subprocess.run([*prefix, JOURNAL, *map(str, args)], capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode in expect, (args, done.returncode, done.stdout[-500:], done.stderr)
    return done


def crc32c(data, table=[]):
    if not table:
        for i in range(256):
            for _ in range(8):
                i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
            table.append(i)
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def item_bytes(number, length):
    return (struct.pack("<Q", number) * (length // 8 + 1))[:length]


class Answers:
    """What a journal may hold, from what was asked and answered. `maybe`: asked, and not answered."""

    def __init__(self):
        self.live = {}      # id: (length, deliveries)
        self.puts = {}      # asked only
        self.takes = set()  # asked only
        self.counts = {}    # deliveries that were asked only, by id
        self.next = 1

    def read(self, text):
        for line in text.splitlines():
            what, *rest = line.split()
            if what in ("P", "p", "T", "t", "D", "d"):
                getattr(self, {"P": "put_asked", "p": "put", "T": "take_asked", "t": "take", "D": "count_asked",
                               "d": "count"}[what])(*map(int, rest))

    def put_asked(self, number, length):
        self.puts[number] = length

    def put(self, number):
        self.live[number] = (self.puts.pop(number), 0)
        self.next = number + 1

    def take_asked(self, number):
        self.takes.add(number)

    def take(self, number):
        self.takes.remove(number)
        del self.live[number]

    def count_asked(self, number, count):
        self.counts.setdefault(number, []).append(count)

    def count(self, number, count):
        self.counts[number].remove(count)
        if number in self.live:
            self.live[number] = (self.live[number][0], count)

    def compare(self, listing):
        """`listing` is what the journal says: nothing is lost, invented or changed. Then that is what holds."""
        found, order = {}, []
        for line in listing.splitlines():
            what, *rest = line.split()
            if what == "item":
                number, count, length, crc = map(int, rest)
                assert crc == crc32c(item_bytes(number, length)), f"item {number} has other bytes"
                found[number] = (length, count)
                order.append(number)
            elif what == "next":
                assert int(rest[0]) >= self.next, "an id would be given again"
        assert order == sorted(order)
        for number, (length, count) in self.live.items():
            if number not in found:
                assert number in self.takes, f"item {number} is lost"
                continue
            assert found[number][0] == length
            assert found[number][1] in [count, *self.counts.get(number, [])]
        for number, (length, _) in found.items():
            assert number in self.live or self.puts.get(number) == length, f"item {number} is invented"
        self.live, self.puts, self.takes, self.counts = found, {}, set(), {}
        return found


def list_journal(directory):
    return run("list", directory).stdout


@pytest.fixture(scope="module", autouse=True)
def is_built():
    if not JOURNAL.exists():
        pytest.fail(f"{JOURNAL} is not built (make check-system builds it)")


@pytest.fixture(scope="module")
def strace():
    path = shutil.which("strace")
    if not path:
        pytest.skip("strace is not installed (Debian: strace)")
    works = subprocess.run([path, "-f", "-o", "/dev/null", "-e", "inject=getpid:error=EPERM", "true"],
                           capture_output=True, text=True, check=False)
    if works.returncode:
        pytest.skip(f"strace cannot trace here: {works.stderr.strip()}")

    def prefix(inject, log="/dev/null"):
        # LeakSanitizer does not work in a traced process.
        return ["env", "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0", path, "-f", "-o",
                str(log), "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject]
    return prefix


def killed(done):
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


KILLS = (0, -signal.SIGKILL, 128 + signal.SIGKILL)


def test_killed_at_every_call(strace, tmp_path):
    """Begins each time with the same journal of some segments, so that it puts, takes, rotates and compacts."""
    base = tmp_path / "base"
    base.mkdir()
    before = Answers()
    before.read(run("script", base, 1, 120, 4096).stdout)
    number = kills = 0
    while True:
        number += 1
        work = tmp_path / "work"
        shutil.copytree(base, work)
        answers = Answers()
        answers.live = dict(before.live)
        answers.next = before.next
        done = run("script", work, 2, 150, 4096, prefix=strace(f"{CALLS}:signal=KILL:when={number}"), expect=KILLS)
        answers.read(done.stdout)
        answers.compare(list_journal(work))
        # And what it has found is what stays.
        answers.compare(list_journal(work))
        shutil.rmtree(work)
        if not killed(done):
            break
        kills += 1
    assert kills > 60, "so few calls were met that the test tests nothing"


def test_killed_again_while_it_starts(strace, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    answers = Answers()
    done = run("script", base, 3, 400, 4096, prefix=strace("fdatasync:signal=KILL:when=60"), expect=KILLS)
    assert killed(done)
    answers.read(done.stdout)
    for number in range(1, 1000):
        work = tmp_path / "work"
        shutil.copytree(base, work)
        done = run("list", work, prefix=strace(f"{CALLS}:signal=KILL:when={number}"), expect=KILLS)
        again = Answers()
        again.live, again.puts = dict(answers.live), dict(answers.puts)
        again.takes, again.counts, again.next = set(answers.takes), dict(answers.counts), answers.next
        again.compare(list_journal(work))
        shutil.rmtree(work)
        if not killed(done):
            break
    assert number > 10


def test_killed_at_any_time(tmp_path):
    """Without strace, many records a batch: the journal lives through kill after kill."""
    answers, rng = Answers(), random.Random(5)
    for turn in range(12):
        with subprocess.Popen([JOURNAL, "script", tmp_path, str(turn), "1000000", "16384"],
                              stdout=subprocess.PIPE, text=True) as p:
            lines = [p.stdout.readline() for _ in range(rng.randrange(20, 3000))]
            p.kill()
            lines.append(p.stdout.read())
        answers.read("".join(lines))
        answers.compare(list_journal(tmp_path))


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64", "fsync", "renameat,renameat2", "unlinkat", "ftruncate",
                                  "fallocate"])
def test_disk_fails(strace, tmp_path, call):
    """What was not synced is never answered, and nothing is tried again on that file."""
    failed = 0
    for number in range(1, 40, 3):
        work = tmp_path / f"work-{number}"
        work.mkdir()
        answers = Answers()
        log = tmp_path / "log"
        done = run("script", work, number, 200, 4096, prefix=strace(f"{call}:error=EIO:when={number}", log),
                   expect=(0, 1))
        answers.read(done.stdout)
        if done.returncode:
            failed += 1
            assert "failed 5" in done.stdout
            if call == "fdatasync":
                # The next call on that file is the one that cuts off what failed.
                after = log.read_text().split("(INJECTED)", 1)[1]
                assert "fdatasync" not in after
        answers.compare(list_journal(work))
    assert failed, "the failure was never met"


def test_failed_sync_is_not_found_later(strace, tmp_path):
    """A batch whose sync failed is in memory, perhaps not on disk: it must not come up as if it were."""
    done = run("script", tmp_path, 7, 200, 65536, prefix=strace("fdatasync:error=EIO:when=9"), expect=(1,))
    answers = Answers()
    answers.read(done.stdout)
    assert answers.puts, "nothing was under way"
    answers.puts = {}
    answers.takes = set()
    answers.counts = {}
    answers.compare(list_journal(tmp_path))


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "crewd-test", place], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("size", [8, 900, 60000])
def test_disk_is_full(small_disk, size):
    """Puts are refused, all that was put can be taken, and the disk is given back."""
    answers = Answers()
    done = run("fill", small_disk, size)
    answers.read(done.stdout)
    assert "refused 28" in done.stdout
    assert "failed" not in done.stdout
    answered = done.stdout.count("\np ")
    assert answered == done.stdout.count("\nt ") and answered > 20
    assert not answers.live
    assert not answers.compare(list_journal(small_disk))
    used = sum(f.stat().st_blocks * 512 for f in small_disk.iterdir())
    assert used < 4 << 20


def test_disk_is_full_and_killed(small_disk, strace):
    """The room for takes is still there for the next process, which finds none for anything else."""
    done = run("fill", small_disk, 900, prefix=strace("unlinkat:signal=KILL:when=2"), expect=KILLS)
    assert killed(done)
    answers = Answers()
    answers.read(done.stdout)
    with open(small_disk / "other", "wb", buffering=0) as f:
        try:
            while f.write(b"x" * 4096):
                pass
        except OSError:
            pass
    left = answers.compare(list_journal(small_disk))
    assert left
    done = run("fill", small_disk, 900)
    answers.read(done.stdout)
    assert "failed" not in done.stdout and "refused 28" in done.stdout
    assert not answers.live


def test_size_follows_what_is_live(tmp_path):
    done = run("many", tmp_path, 60000, 500)
    answers = Answers()
    answers.read(done.stdout)
    # What the last turn took out, all at once where the disk is slow, is moved from by those that follow.
    answers.read(run("script", tmp_path, 1, 1000, 1 << 20).stdout)
    live = sum(length for length, _ in answers.live.values())
    size = sum(f.stat().st_blocks * 512 for f in tmp_path.iterdir())
    # Two segments of 1 MiB and the one being written are the floor.
    assert size < 2 * live + (7 << 19), f"{size} bytes for {live}"
    answers.compare(list_journal(tmp_path))


def test_loop_never_waits_for_the_disk(strace, tmp_path):
    """All writing and syncing is the other thread's, from the opening to the removal."""
    for args in (("script", tmp_path, 1, 200, 4096), ("remove", tmp_path)):
        log = tmp_path.parent / "calls"
        prefix = strace("execve,pwrite64,fdatasync,fsync,fallocate,ftruncate,renameat,renameat2:delay_enter=0", log)
        run(*args, prefix=prefix)
        lines = [line.split(None, 1) for line in log.read_text().splitlines()]
        loop = next(tid for tid, call in lines if call.startswith("execve"))
        others = {call.split("(")[0] for tid, call in lines if tid != loop}
        assert {"pwrite64", "fdatasync", "fsync"} <= others
        assert {call.split("(")[0] for tid, call in lines if tid == loop and "(" in call} == {"execve"}


def test_lock(tmp_path):
    with subprocess.Popen([JOURNAL, "script", tmp_path, "1", "100000000", "65536"], stdout=subprocess.PIPE,
                          text=True) as p:
        while not p.stdout.readline().startswith("p "):
            pass
        done = run("list", tmp_path, expect=(75,))
        assert "in use" in done.stderr
        p.kill()
        p.wait()
    run("list", tmp_path)


def test_remove(tmp_path):
    run("script", tmp_path, 1, 300, 4096)
    run("remove", tmp_path)
    assert not list(tmp_path.iterdir())


def test_remove_cut_short(strace, tmp_path):
    """An item that was taken out never comes back; what is left of a removal is an empty queue, or all of it."""
    base = tmp_path / "base"
    base.mkdir()
    before = Answers()
    before.read(run("script", base, 1, 300, 4096).stdout)
    for number in range(1, 500):
        work = tmp_path / "work"
        shutil.copytree(base, work)
        done = run("remove", work, prefix=strace(f"{CALLS}:signal=KILL:when={number}"), expect=KILLS)
        if not killed(done):
            break
        again = Answers()
        again.live = dict(before.live)
        again.takes = set(before.live)
        left = again.compare(list_journal(work).replace("next 1\n", ""))
        assert len(left) in (0, len(before.live))
        shutil.rmtree(work)
    assert number > 10


def segments(directory):
    return sorted(directory.glob("q.*.journal"))


def test_damage_is_told_and_repaired(tmp_path):
    """A damaged place in the middle: it refuses, says how to go on, and then goes on with all the rest."""
    answers = Answers()
    answers.read(run("script", tmp_path, 1, 400, 4096).stdout)
    assert len(segments(tmp_path)) > 1
    victim = segments(tmp_path)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    done = run("list", tmp_path, expect=(65,))
    assert f"{victim.name} is damaged at byte" in done.stderr and "q.salvage" in done.stderr
    (tmp_path / "q.salvage").touch()
    found = {int(line.split()[1]): line for line in list_journal(tmp_path).splitlines() if line.startswith("item")}
    # One record was hit: a put is lost, or a take undone.
    assert len(set(found) ^ set(answers.live)) <= 1
    # The repair goes on in the background of the next runs, until the damaged file is aside.
    run("script", tmp_path, 2, 200, 4096)
    assert not (tmp_path / "q.salvage").exists()
    assert (tmp_path / f"{victim.name}.damaged").read_bytes() == bytes(data)
    run("list", tmp_path)


def test_missing_segment(tmp_path):
    run("script", tmp_path, 1, 400, 4096)
    victim = segments(tmp_path)[0]
    victim.unlink()
    done = run("list", tmp_path, expect=(65,))
    assert f"{victim.name} is missing" in done.stderr


def test_against_sqlite(tmp_path):
    """The same answered operations, done by SQLite, leave the same items, bytes and counts."""
    db = sqlite3.connect(tmp_path / "oracle.db")
    db.execute("create table q (id integer primary key, item blob, deliveries integer default 0)")
    place = tmp_path / "journal"
    place.mkdir()
    for seed in range(15):
        lengths = {}
        out = run("script", place, 100 + seed, random.Random(seed).randrange(1, 800),
                  random.Random(seed).choice([1024, 4096, 65536])).stdout
        for line in out.splitlines():
            what, *rest = line.split()
            if what == "P":
                lengths[int(rest[0])] = int(rest[1])
            elif what == "p":
                number = int(rest[0])
                db.execute("insert into q (id, item) values (?, ?)", (number, item_bytes(number, lengths[number])))
            elif what == "t":
                assert db.execute("delete from q where id = ?", rest).rowcount == 1
            elif what == "d":
                db.execute("update q set deliveries = ? where id = ?", (rest[1], rest[0]))
        db.commit()
        theirs = [f"item {number} {count} {len(item)} {crc32c(item)}" for number, item, count in
                  db.execute("select id, item, deliveries from q order by id")]
        mine = [line for line in list_journal(place).splitlines() if line.startswith("item")]
        assert mine == theirs
