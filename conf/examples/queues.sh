#!/bin/sh
# Two producers and three consumers on a bounded queue, each a process of its own that knows no more of the others
# than the queue's name. Usage: queues.sh [SOCKET [QUEUE [ITEMS]]]. Prints what each consumer got.
#
#   mkdir -p /tmp/crewd-queues && crewd -c queues.conf &
#   ./queues.sh /tmp/crewd-queues/control
set -eu
socket=${1:-/tmp/crewd-queues/control} queue=${2:-jobs} items=${3:-10}

ctl() {
	crewctl -s "$socket" queue "$@"
}

producer() { # NAME: a put waits while the queue is full
	i=0
	while [ $i -lt "$items" ]; do
		i=$((i + 1))
		ctl put "$queue" "$1 $i"
	done
}

consumer() { # NAME: until it gets the word that there is no more; each item is said to be done
	while item=$(ctl get "$queue"); do
		[ "$item" != end ] || { ctl task-done "$queue"; return 0; }
		echo "$1: $item"
		ctl task-done "$queue"
	done
}

for name in one two three; do consumer $name & done
producer red & red=$!
producer blue & blue=$!
wait $red
wait $blue
for name in one two three; do ctl put "$queue" end; done
ctl join "$queue" # all that was put has been done
wait
