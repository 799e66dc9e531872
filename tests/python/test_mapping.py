"""map, imap and callbacks against daemons that are slow, dead, hostile or out of order."""

import gc
import itertools
import os
import threading
import time

import pytest
from fake_server import DEADLINE, serve, until, watchdog  # noqa: F401 pylint: disable=unused-import

import crew
from crew import mapping, watch

# pylint: disable=redefined-outer-name

POOLS = {"pools": [{"name": "p", "workers": 1, "running": 1, "state": "running", "tasks": "lines"},
                   {"name": "plain", "workers": 1, "running": 1, "state": "running"}]}


def task(text, **more):
    return {"id": "t", "pool": "p", "state": "succeeded", "result": text, "attempts": 1, "queued": 1.0, **more}


def up(element):
    return element["args"][0].upper()


def pool_of(server):
    return crew.Pool("p", socket=server.path)


def with_map(script, **others):
    """A server whose Map is the script (peer, elements)."""
    def begin(peer):
        while True:
            call = peer.call()
            if not call:
                return
            method = call["method"].split(".", 2)[2]
            if method == "Pool.List":
                peer.reply(**POOLS)
            elif method == "Pool.Map":
                script(peer, call["parameters"]["tasks"])
            else:
                others[method.replace(".", "_")](peer, call.get("parameters", {}))
    return begin


def answer_all(peer, elements, order=lambda n: n):
    places = order(list(range(len(elements))))
    for n, place in enumerate(places):
        peer.reply(continues=n + 1 < len(places), index=place, task=task(up(elements[place])))


def test_order(serve):
    s = serve(with_map(lambda peer, e: answer_all(peer, e, lambda n: n[::-1])))
    words = [f"w{n}" for n in range(3000)]
    assert pool_of(s).map(words) == [w.upper() for w in words]
    assert sorted(pool_of(s).imap_unordered(words)) == sorted(w.upper() for w in words)
    assert list(pool_of(s).imap(words)) == [w.upper() for w in words]
    assert pool_of(s).map([]) == [] and list(pool_of(s).imap(iter(()))) == []


def test_window(serve):
    """An iterable without end is taken from only as far as results are asked for."""
    pulled, allowed = [], [0]

    def script(peer, elements):
        for n, element in enumerate(elements):
            until(lambda: int(element["args"][0][1:]) < allowed[0])  # pylint: disable=cell-var-from-loop
            peer.reply(continues=n + 1 < len(elements), index=n, task=task(up(element)))
    items = (pulled.append(n) or f"w{n}" for n in itertools.count())
    results = pool_of(serve(with_map(script))).imap(items, window=10)
    until(lambda: len(pulled) == 10, "the window is full")
    allowed[0] = 5
    assert [next(results) for _ in range(5)] == [f"W{n}" for n in range(5)]
    until(lambda: len(pulled) == 15, "five more were taken")
    with pytest.raises(crew.TimedOut):
        results.next(timeout=0.05)
    assert len(pulled) == 15
    results.close()
    allowed[0] = 1000


def test_iterator_that_is_dropped(serve):
    def script(peer, _):
        peer.wait_for_end()
    s = serve(with_map(script))
    results = pool_of(s).imap("w" for _ in itertools.count())
    until(lambda: any("Map" in m for m in s.methods()), "tasks were handed in")
    del results
    gc.collect()
    until(lambda: all(p.ended for p in s.peers if p.number > 0), "the daemon may take them back")


def test_slow_iterable_does_not_hold_up_results(serve):
    """As in multiprocessing, the next item may depend on the last result."""
    s = serve(with_map(answer_all))
    got = threading.Event()

    def items():
        yield "one"
        assert got.wait(DEADLINE)
        yield "two"
    results = pool_of(s).imap(items())
    assert next(results) == "ONE"
    got.set()
    assert list(results) == ["TWO"]


def test_iterable_that_raises(serve):
    def items():
        yield "one"
        raise KeyError("mine")
    results = pool_of(serve(with_map(answer_all))).imap(items())
    assert next(results) == "ONE"
    with pytest.raises(KeyError, match="mine"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_item_that_is_no_task(serve):
    results = pool_of(serve(with_map(answer_all))).imap(["one", b"bytes", "two\n", "x" * (1 << 20), "three"])
    got = []
    for _ in range(5):
        try:
            got.append(next(results))
        except (TypeError, ValueError) as e:
            got.append(type(e))
    assert got == ["ONE", TypeError, TypeError, crew.TooLarge, "THREE"]
    with pytest.raises(StopIteration):
        next(results)


def test_failed_tasks(serve):
    def script(peer, elements):
        for n, e in enumerate(elements):
            text = e["args"][0]
            t = task(up(e)) if text != "bad" else task(None, state="failed", error={
                "name": "io.crewd.Pool.WorkerDied", "message": "killed by SIGKILL", "signal": 9}, worker="p-1")
            peer.reply(continues=n + 1 < len(elements), index=n, task=t)
    pool = pool_of(serve(with_map(script)))
    items = ["a", "bad", "b", "bad"]
    with pytest.raises(crew.WorkerDied) as e:
        pool.map(items)
    assert e.value.exitcode == -9 and e.value.worker == "p-1"
    got = pool.map(items, return_exceptions=True)
    assert got[0] == "A" and got[2] == "B" and [type(got[n]) for n in (1, 3)] == [crew.WorkerDied] * 2


def test_daemon_goes_in_the_middle(serve):
    """What was answered counts, what was accepted is not sent again, what was not sent goes to the next daemon."""
    seen, lock = [], threading.Lock()

    def script(peer, elements):
        with lock:
            first = not seen
            seen.extend(e["args"][0] for e in elements)
        if not first:
            answer_all(peer, elements)
            return
        peer.reply(continues=True, index=0, task=task(up(elements[0])))
        peer.sock.close()
        raise BrokenPipeError
    items = [f"w{n}" for n in range(600)]
    got = pool_of(serve(with_map(script))).map(items, return_exceptions=True)
    assert len(got) == 600 and len(seen) == len(set(seen)) == 600
    assert got[0] == "W0"
    lost = [n for n, v in enumerate(got) if isinstance(v, crew.Disconnected)]
    assert all(isinstance(v, crew.Disconnected) or v == f"W{n}" for n, v in enumerate(got))
    assert len(lost) <= mapping.CHUNK_ITEMS


def test_call_that_was_not_read_is_sent_again(serve):
    def begin(peer):
        if peer.number in (1, 2):
            peer.close_unread()
            return
        with_map(answer_all)(peer)
    s = serve(begin)
    items = [f"w{n}" for n in range(300)]
    assert pool_of(s).map(items) == [w.upper() for w in items]
    sent = [e["args"][0] for c in s.calls if "Map" in c["method"] for e in c["parameters"]["tasks"]]
    assert sorted(sent) == sorted(items)


WRONG = {
    "no such index": lambda n: [(n, n > 1)],
    "negative": lambda n: [(-1, n > 1)],
    "a string": lambda n: [("0", n > 1)],
    "a truth": lambda n: [(n > 1, n > 1)],
    "none": lambda n: [(None, n > 1)],
    "too early an end": lambda n: [(0, n <= 1)],
    "twice": lambda n: [(0, True), (0, True)],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_answers(serve, wrong):
    """Whatever the daemon says, everybody is answered, and nobody by what was not meant for him."""
    def script(peer, elements):
        for index, continues in wrong(len(elements)):
            peer.reply(continues=continues, index=index, task=task(up(elements[0])))
        peer.wait_for_end()
    items = [f"w{n}" for n in range(50)]
    got = pool_of(serve(with_map(script))).map(items, return_exceptions=True)
    assert len(got) == 50
    for n, value in enumerate(got):
        assert isinstance(value, crew.ProtocolError) or value == f"W{n}"
    assert any(isinstance(value, crew.ProtocolError) for value in got)


def test_refused(serve):
    """Closed in the middle: those who wait are told, and no more are taken from the iterable."""
    def script(peer, _):
        peer.error("io.crewd.Pool.Closed", pool="p", why="closed")
    results = pool_of(serve(with_map(script))).imap("w" for _ in itertools.count())
    with pytest.raises(crew.Closed):
        next(results)
    left = 0
    while True:
        try:
            next(results)
        except crew.Closed:
            left += 1
        except StopIteration:
            break
    assert left <= mapping.WINDOW


def test_no_daemon_any_more(serve, tmp_path):
    path = tmp_path / "s"
    s = serve(with_map(answer_all))
    os.symlink(s.path, path)
    pool = crew.Pool("p", socket=path)
    assert pool.map(["a"]) == ["A"]
    os.unlink(path)
    with pytest.raises(crew.NoDaemon):
        pool.map(["a", "b"])


def test_results_nobody_asks_for_are_not_read(serve):
    """The daemon feels it: its socket is full."""
    big = "x" * 500_000

    def script(peer, elements):
        for n in range(len(elements)):
            peer.reply(continues=n + 1 < len(elements), index=n, task=task(big))
    results = pool_of(serve(with_map(script))).imap_unordered(["w"] * 200)
    run = results._run
    until(lambda: run.held > mapping.HELD_BYTES, "as many as are kept")
    most = 0
    for _ in range(30):  # without the bound, all 100 MB are here by now
        most = max(most, run.held)
        time.sleep(0.01)
    assert most < mapping.HELD_BYTES + mapping.LANES * 1_000_000
    assert [len(r) for r in results] == [500_000] * 200


def test_iterator_in_a_child(serve):
    results = pool_of(serve(with_map(answer_all))).imap(["a", "b"])
    child = os.fork()
    if child == 0:
        try:
            next(results)
        except RuntimeError:
            del results
            gc.collect()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(results) == ["A", "B"]


def test_no_such_pool(serve):
    s = serve(with_map(answer_all))
    with pytest.raises(crew.NoSuchPool, match="nope"):
        crew.Pool("nope", socket=s.path).apply("x")
    with pytest.raises(crew.NoSuchPool, match="no tasks"):
        with crew.Pool("plain", socket=s.path):
            pass


# ---- callbacks ---------------------------------------------------------------------------------


class Async:
    """Pool.ApplyAsync and what belongs to it; events are the test's."""

    def __init__(self):
        self.listener = None
        self.results = {}
        self.handed_in = 0

    def script(self):
        return with_map(answer_all, Manager_Subscribe=self.subscribe, Pool_ApplyAsync=self.hand_in,
                        Pool_Result=self.result)

    def subscribe(self, peer, _):
        self.listener = peer
        peer.reply(continues=True, event="subscribed", time=1.0)
        peer.wait_for_end()

    def hand_in(self, peer, _):
        self.handed_in += 1
        ident = f"t{self.handed_in}"
        if ident in self.results:  # it has ended before anybody knows its name
            self.tell(ident)
        peer.reply(id=ident)

    def result(self, peer, parameters):
        found = self.results.get(parameters["id"])
        if found is None:
            peer.error("io.crewd.Pool.TimedOut", id=parameters["id"], pool="p")
        elif isinstance(found, str):
            peer.reply(task=task(found))
        else:
            peer.error(*found)

    def tell(self, ident, **more):
        self.listener.reply(continues=True, event="task", id=ident, state="succeeded", time=1.0, **more)


def test_callback(serve):
    a, got = Async(), []
    s = serve(a.script())
    pool = pool_of(s)
    r = pool.apply_async("x", callback=got.append)
    assert s.methods().index("Manager.Subscribe") < s.methods().index("Pool.ApplyAsync")
    assert not r.ready()
    with pytest.raises(ValueError):
        r.successful()
    with pytest.raises(crew.TimedOut):
        r.get(0.05)
    a.results["t1"] = "X"
    a.tell("somebody else's")
    a.tell("t1")
    assert r.get(DEADLINE) == "X" and r.successful()
    until(lambda: got == ["X"])


def test_task_that_ends_before_its_id_is_known(serve):
    a, got = Async(), []
    a.results["t1"] = "X"
    r = pool_of(serve(a.script())).apply_async("x", callback=got.append)
    assert r.get(DEADLINE) == "X"
    until(lambda: got == ["X"])


def test_events_that_were_left_out(serve):
    a, got = Async(), []
    pool = pool_of(serve(a.script()))
    first = pool.apply_async("x", callback=got.append)
    second = pool.apply_async("y", callback=got.append)
    a.results["t2"] = "Y"
    a.listener.reply(continues=True, event="lost", count=7, time=1.0)
    assert second.get(DEADLINE) == "Y" and not first.ready()
    a.results["t1"] = "X"
    a.tell("t1")
    assert first.get(DEADLINE) == "X"
    until(lambda: got == ["Y", "X"])


def test_daemon_goes_while_somebody_waits(serve):
    a, got, errors = Async(), [], []
    pool = pool_of(serve(a.script()))
    results = [pool.apply_async("x", callback=got.append, error_callback=errors.append) for _ in range(3)]
    a.results.update(t1="X", t2=("io.crewd.Pool.Lost",), t3=("io.crewd.Pool.NoSuchTask",))
    a.listener.sock.shutdown(2)
    assert results[0].get(DEADLINE) == "X"
    with pytest.raises(crew.Lost):
        results[1].get(DEADLINE)
    with pytest.raises(crew.NoSuchTask):
        results[2].get(DEADLINE)
    until(lambda: got == ["X"] and [type(e) for e in errors] == [crew.Lost, crew.NoSuchTask])


def test_callback_that_raises(serve, capfd):
    a, got = Async(), []
    a.results.update(t1="X", t2="Y")
    pool = pool_of(serve(a.script()))

    def broken(_):
        raise RuntimeError("of the program's own")
    assert pool.apply_async("x", callback=broken).get(DEADLINE) == "X"
    assert pool.apply_async("y", callback=got.append).get(DEADLINE) == "Y"
    until(lambda: got == ["Y"])
    assert "of the program's own" in capfd.readouterr().err


def test_watcher_ends_and_begins_anew(serve, monkeypatch):
    monkeypatch.setattr(watch, "LINGER", 0.05)
    a, got = Async(), []
    a.results.update(t1="X", t2="Y")
    pool = pool_of(serve(a.script()))
    pool.apply_async("x", callback=got.append).get(DEADLINE)
    first = a.listener
    until(lambda: first.ended, "nobody listens any more")
    pool.apply_async("y", callback=got.append).get(DEADLINE)
    until(lambda: got == ["X", "Y"])
    assert a.listener is not first


def test_get_twice_and_from_two_threads(serve):
    """The daemon gives a result away once."""
    a = Async()
    pool = pool_of(serve(a.script()))
    r = pool.apply_async("x")
    a.results["t1"] = "X"
    assert r.get(DEADLINE) == "X"
    a.results["t1"] = ("io.crewd.Pool.NoSuchTask",)
    assert r.get(DEADLINE) == "X" and r.ready() and r.successful()
