#!/usr/bin/python3
"""The peer of task pools: multiprocessing.Pool with two workers and trivial tasks. pool.py N

Prints a JSON object: seconds a round trip of apply (p50, p99), tasks a second of the rest. N tasks each, of apply a
tenth. Every result is looked at.
"""
import json
import multiprocessing
import sys
import time


def echo(text):
    return text


def rate(tasks, function):
    begin = time.perf_counter()
    found = function(tasks)
    took = time.perf_counter() - begin
    assert found == tasks
    return len(tasks) / took


def main():
    n = int(sys.argv[1])
    tasks = [f"t {i}" for i in range(n)]
    with multiprocessing.Pool(2) as pool:
        assert pool.apply(echo, ("warm",)) == "warm"
        trips = []
        for task in tasks[:n // 10]:
            begin = time.perf_counter()
            found = pool.apply(echo, (task,))
            trips.append(time.perf_counter() - begin)
            assert found == task
        trips.sort()
        print(json.dumps({
            "p50": trips[len(trips) // 2], "p99": trips[len(trips) * 99 // 100],
            "apply_async": rate(tasks, lambda ts: [r.get() for r in [pool.apply_async(echo, (t,)) for t in ts]]),
            "imap": rate(tasks, lambda ts: list(pool.imap(echo, ts))),
            "map": rate(tasks, lambda ts: pool.map(echo, ts)),
            "map_chunksize_1": rate(tasks, lambda ts: pool.map(echo, ts, chunksize=1))}))


if __name__ == "__main__":
    main()
