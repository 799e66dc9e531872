#!/usr/bin/python3
"""A worker for tasks = "lines": the answer to a line is the line, after the first argument if there is one.

Some lines are orders: `sleep SECONDS`, `pid`, `exit STATUS`, `kill SIGNAL`, `stderr TEXT`.
"""
import os
import sys
import time

prefix = sys.argv[1] if len(sys.argv) > 1 else ""
for line in sys.stdin:
    word, _, rest = line.rstrip("\n").partition(" ")
    answer = line.rstrip("\n")
    if word == "sleep":
        time.sleep(float(rest))
    elif word == "pid":
        answer = str(os.getpid())
    elif word == "exit":
        os._exit(int(rest))
    elif word == "kill":
        os.kill(os.getpid(), int(rest))
        time.sleep(1000)
    elif word == "stderr":
        print(rest, file=sys.stderr, flush=True)
    print(prefix + answer, flush=True)
