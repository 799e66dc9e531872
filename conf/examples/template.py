#!/usr/bin/python3
"""A template for crewd: loads what is heavy once, then forks workers that share it. See crewd-template(7)."""
import gc
import os
import socket
import sys


def load():
    return {str(n): str(n * n) for n in range(200_000)}  # a model, say, or modules that take long to import


def work(model):
    for line in sys.stdin:  # a pool with tasks = "lines"
        print(model.get(line.strip(), "?"), flush=True)


def become_worker(items, fds):
    for number in (0, 1, 2):
        os.dup2(fds[number], number)
    os.setsid()
    for item in items:
        word, _, value = item.partition(" ")
        if word == "set":
            os.environ[value.partition("=")[0]] = value.partition("=")[2]
        elif word == "unset":
            os.environ.pop(value, None)
        elif word == "umask":
            os.umask(int(value, 8))
        elif word == "chdir":
            os.chdir(value)
    speak = socket.socket(fileno=fds[3])
    speak.send(b"!")  # crewd learns which process this is, and says when to begin
    if not speak.recv(1):
        os._exit(0)
    os.closerange(3, max(fds) + 1)


def main():
    model = load()
    gc.freeze()  # a collection writes to what it looks at, and so would unshare it
    crew = socket.socket(fileno=int(os.environ["CREW_TEMPLATE_FD"]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
    while (message := socket.recv_fds(crew, 65536, 4))[0]:
        _, number, _, *items = os.fsdecode(message[0]).rstrip("\0").split("\0")
        middle = os.fork()
        if middle == 0:  # forks once more and ends, so that the worker becomes a child of crewd's
            if os.fork() > 0:
                os._exit(0)
            become_worker(items, message[1])
            return work(model)
        for fd in message[1]:
            os.close(fd)
        failed = os.waitpid(middle, 0)[1] != 0
        crew.send(f"failed\0{number}\0{11}\0".encode() if failed else f"forked\0{number}\0".encode())


main()
