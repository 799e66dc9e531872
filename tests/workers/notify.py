#!/usr/bin/python3
"""Says what its arguments tell, through NOTIFY_SOCKET: READY=1, WATCHDOG=1 (for ever), ..."""
import os
import socket
import sys
import time

path = os.environ["NOTIFY_SOCKET"]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\0" + path[1:] if path.startswith("@") else path)
for word in sys.argv[1:]:
    if word == "pings":
        while True:
            s.send(b"WATCHDOG=1")
            time.sleep(int(os.environ["WATCHDOG_USEC"]) / 4e6)
    s.send(word.encode())
time.sleep(1000)
