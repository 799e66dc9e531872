#!/usr/bin/python3
"""A worker for tasks = "jsonrpc". Methods: echo (its params), add (their sum), pid, sleep (seconds; answered later,
so that others overtake it), fail (an error with code and data), exit (status), kill (signal).

An unknown method is -32601, as JSON-RPC has it.
"""
import json
import os
import sys
import threading
import time

lock = threading.Lock()


def say(message):
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def later(ident, seconds):
    time.sleep(seconds)
    say({"id": ident, "result": seconds})


def call(ident, method, params):
    first = params[0] if isinstance(params, list) and params else None
    if method == "echo":
        say({"id": ident, "result": params})
    elif method == "add":
        say({"id": ident, "result": sum(params)})
    elif method == "pid":
        say({"id": ident, "result": os.getpid()})
    elif method == "sleep":
        threading.Thread(target=later, args=(ident, first)).start()
    elif method == "fail":
        say({"id": ident, "error": {"code": -32000, "message": "told to fail", "data": params}})
    elif method == "exit":
        os._exit(first)
    elif method == "kill":
        os.kill(os.getpid(), first)
        time.sleep(1000)
    else:
        say({"id": ident, "error": {"code": -32601, "message": f"no such method: {method}"}})


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        call(request["id"], request["method"], request.get("params"))
