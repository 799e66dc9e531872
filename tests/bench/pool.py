#!/usr/bin/python3
"""The peer of task pools: multiprocessing.Pool with two workers and trivial tasks. pool.py trips|rates N

Prints a JSON object: `trips`: seconds a round trip of N times apply (p50, p99); `rates`: tasks a second of the rest, N
tasks each. Every result is looked at.
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


def trips(pool, tasks):
    took = []
    for task in tasks:
        begin = time.perf_counter()
        found = pool.apply(echo, (task,))
        took.append(time.perf_counter() - begin)
        assert found == task
    took.sort()
    return {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


def rates(pool, tasks):
    return {"apply_async": rate(tasks, lambda ts: [r.get() for r in [pool.apply_async(echo, (t,)) for t in ts]]),
            "imap": rate(tasks, lambda ts: list(pool.imap(echo, ts))),
            "map": rate(tasks, lambda ts: pool.map(echo, ts)),
            "map_chunksize_1": rate(tasks, lambda ts: pool.map(echo, ts, chunksize=1))}


def main():
    tasks = [f"t {i}" for i in range(int(sys.argv[2]))]
    with multiprocessing.Pool(2) as pool:
        assert pool.apply(echo, ("warm",)) == "warm"
        print(json.dumps({"trips": trips, "rates": rates}[sys.argv[1]](pool, tasks)))


if __name__ == "__main__":
    main()
