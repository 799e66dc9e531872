#!/usr/bin/python3
"""multiprocessing's queues for tests/bench/queue_shared: queue_peers.py SIZE SECONDS

A line each: NAME ITEMS/S, and NAME trip P50 P99 (ns). One producer and one consumer process."""

import multiprocessing
import sys
import time

TRIPS = 5000


def produce(queue, item, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            queue.put(item)
    queue.put(None)


def flow(kind, size, seconds):
    queue = kind()
    process = multiprocessing.Process(target=produce, args=(queue, b"x" * size, seconds))
    process.start()
    queue.get()
    start, items = time.monotonic(), 0
    while queue.get() is not None:
        items += 1
    rate = items / (time.monotonic() - start)
    process.join()
    return rate


def answer(there, back):
    for _ in range(TRIPS):
        back.put(there.get())


def trips(kind, size):
    there, back, item, took = kind(), kind(), b"x" * size, []
    process = multiprocessing.Process(target=answer, args=(there, back))
    process.start()
    for _ in range(TRIPS):
        start = time.perf_counter_ns()
        there.put(item)
        back.get()
        took.append(time.perf_counter_ns() - start)
    process.join()
    took.sort()
    return took[TRIPS // 2], took[TRIPS // 100 * 99]


def bounded():
    # Without a bound the producer's feeder thread only fills its own memory.
    return multiprocessing.Queue(1000)


def main():
    size, seconds = int(sys.argv[1]), float(sys.argv[2])
    with multiprocessing.Manager() as manager:
        for name, kind in (("Queue", bounded), ("SimpleQueue", multiprocessing.SimpleQueue),
                           ("Manager().Queue", lambda: manager.Queue(1000))):
            print(name, flow(kind, size, seconds), flush=True)
            print(name, "trip", *trips(kind, size), flush=True)


if __name__ == "__main__":
    main()
