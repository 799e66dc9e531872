#!/usr/bin/python3
"""Functions that multiprocessing's workers do as well as crewd's: a module for both, and a worker for tasks =
"jsonrpc"."""
import os
import signal
import sys
import time

import crew


def add(a, b):
    return a + b


def square(n):
    return n * n


def slow(seconds):
    time.sleep(seconds)
    return seconds


def fail(text):
    raise ValueError(text)


def leave(status):
    print("leaving with", status, flush=True)
    sys.exit(status)


def raises():
    raise KeyError("mine")


def die(number):
    os.kill(os.getpid(), number)
    signal.pause()


class Worker(crew.Process):
    """A class of one's own."""

    def __init__(self, *words, args=(), kwargs=None, **more):
        super().__init__(args=args or words, kwargs=kwargs, **more)

    def run(self):
        print("words:", *self._args, flush=True)
        sys.exit(len(self._args))


if __name__ == "__main__":
    crew.serve([add, square, slow, fail, leave, die], kind="jsonrpc")
