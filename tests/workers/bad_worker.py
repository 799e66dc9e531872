#!/usr/bin/python3
"""A worker that does what no worker should: bad_worker.py [--jsonrpc] [--once FILE] [--poison TEXT] MODE

--once: it is bad only when FILE is not there yet, and makes it; after that it is a good one, that echoes.
--poison: it is bad only at a task that contains TEXT; it answers the others.

MODE:
  before-ready      ends at once, with status 7 (with READY=1 awaited: before it is said)
  before-reading    says that it is ready, reads nothing, and ends with status 7
  half-task         reads a byte of a task, and ends with status 7
  after-task        reads a task, answers nothing, and ends with status 7
  killed            reads a task, and is killed by SIGKILL
  half-answer       writes half an answer, and ends with status 7
  after-answer      answers, and ends with status 7
  twice             answers every task twice
  foreign           answers for a task that nobody gave (jsonrpc: of an id that is not there; lines: unasked)
  nonsense          answers what is no answer (jsonrpc: not JSON; lines: an empty line is one, so nothing bad)
  endless           writes a line that does not end
  binary            answers by bytes that are not UTF-8
  silent            reads tasks, and never answers
  deaf              stops reading, and lives on
  closed-input      closes its standard input, and lives on
  closed-output     closes its standard output, and lives on
"""
import argparse
import json
import os
import signal
import socket
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--jsonrpc", action="store_true")
parser.add_argument("--once")
parser.add_argument("--poison")
parser.add_argument("mode")
args = parser.parse_args()
STATUS = 7


def ready():
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect("\0" + path[1:] if path.startswith("@") else path)
            s.send(b"READY=1")


def say(data):
    while data:
        data = data[os.write(1, data):]


def good(line):
    """The answer to a task, newline included."""
    if not args.jsonrpc:
        return line + b"\n"
    request = json.loads(line)
    reply = {"jsonrpc": "2.0", "id": request["id"], "result": request.get("params")}
    return json.dumps(reply).encode() + b"\n"


def stay():
    while True:
        time.sleep(1000)


def endless():
    while True:
        say(b"x" * 65536)


def foreign(line):
    say(b'{"jsonrpc":"2.0","id":987654321,"result":"mine"}\n' if args.jsonrpc else b"unasked\n")
    say(good(line))


def binary(line):
    if not args.jsonrpc:
        say(b"\xff\xfe\n")
        return
    say(b'{"jsonrpc":"2.0","id":' + str(json.loads(line)["id"]).encode() + b',"result":"\xff\xfe"}\n')


def closed(fd):
    os.close(fd)
    stay()


# What is done with a task. What returns goes on to the next one.
BAD = {
    "after-task": lambda line: os._exit(STATUS),
    "killed": lambda line: (os.kill(os.getpid(), signal.SIGKILL), stay()),
    "half-answer": lambda line: (say(good(line)[:len(good(line)) // 2] or b"x"), os._exit(STATUS)),
    "after-answer": lambda line: (say(good(line)), os._exit(STATUS)),
    "twice": lambda line: say(good(line) * 2),
    "foreign": foreign,
    "nonsense": lambda line: say(b"this is } no answer\n" if args.jsonrpc else b"\n"),
    "endless": lambda line: endless(),
    "binary": binary,
    "silent": lambda line: None,
    "deaf": lambda line: stay(),
    "closed-input": lambda line: closed(0),
    "closed-output": lambda line: closed(1),
}
AT_ONCE = ("before-ready", "before-reading", "half-task")


def is_bad_now():
    if not args.once:
        return True
    try:
        os.close(os.open(args.once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return True
    except FileExistsError:
        return False


def lines():
    buffer = b""
    while True:
        data = os.read(0, 65536)
        if not data:
            return
        *whole, buffer = (buffer + data).split(b"\n")
        yield from whole


def main():
    if args.mode not in BAD and args.mode not in AT_ONCE:
        parser.error(f"no such mode: {args.mode}")
    bad = is_bad_now() if args.mode in AT_ONCE else None
    if bad and args.mode == "before-ready":
        os._exit(STATUS)
    ready()
    if bad:
        if args.mode == "half-task":
            os.read(0, 1)
        os._exit(STATUS)
    for line in lines():
        poisoned = args.poison is None or args.poison.encode() in line
        if args.mode in BAD and poisoned and is_bad_now():
            BAD[args.mode](line)
        else:
            say(good(line))


if __name__ == "__main__":
    sys.exit(main())
