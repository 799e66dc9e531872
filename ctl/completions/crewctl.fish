# Completion of crewctl for fish: verbs and options; names of workers and pools, asked of the daemon.

set -l verbs status memory start terminate stop kill signal restart is-alive join run forget scale logs reload \
    shutdown apply apply-async map result tasks cancel close queue events help

function __crewctl_ask
    set -l socket
    set -l words (commandline -opc)
    for i in (seq (count $words))
        if contains -- $words[$i] -s --socket
            set -l next (math $i + 1)
            test $next -le (count $words); and set socket -s $words[$next]
        end
    end
    crewctl $socket $argv 2>/dev/null </dev/null | sed 1d
end

function __crewctl_names
    __crewctl_ask status | awk '{ print $1; if (sub(/-[0-9]+$/, "", $1)) print $1 }' | sort -u
end

function __crewctl_pools
    __crewctl_ask status | awk 'sub(/-[0-9]+$/, "", $1) { print $1 }' | sort -u
end

function __crewctl_tasks
    __crewctl_ask tasks | awk '{ print $1 }'
end

function __crewctl_queues
    __crewctl_ask queue list | awk '{ print $1 }'
end

set -l queue_verbs create delete list put get qsize empty full task-done join

complete -c crewctl -f
complete -c crewctl -s s -l socket -r -F -d 'control socket'
complete -c crewctl -l json -d 'print JSON'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -l version -d 'print the version'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -l help -d 'list the verbs'

complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a status -d 'state of workers'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a start -d 'start; returns when running'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a 'terminate stop' -d 'end, and do not restart'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a kill -d 'SIGKILL now, and do not restart'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a signal -d 'send a signal'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a restart -d 'end and start again'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a is-alive -d 'print alive or dead'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a join -d 'wait until ended for good'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a run -d 'start a worker that is not in the configuration'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a forget -d 'drop a finished worker of run'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a scale -d 'set the number of workers'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a logs -d 'what it printed'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a memory -d 'memory of workers, and what they share'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a reload -d 'read the configuration again'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a shutdown -d 'end the daemon and its workers'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a apply -d 'one task; waits, and prints its result'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a apply-async -d 'one task; prints its ID at once'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a map -d 'a task for each line of standard input'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a result -d 'wait for a task, and print its result'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a tasks -d 'the tasks that wait or run'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a cancel -d 'take a task back, or end it'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a close -d 'take no more tasks; workers end when all is done'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a queue -d 'what there is to do with queues'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a events -d 'a line for each change of state'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a help -d 'tell more of a verb'

complete -c crewctl -n 'not __fish_seen_subcommand_from queue; and __fish_seen_subcommand_from status memory start terminate stop kill signal restart is-alive join forget logs' \
    -a '(__crewctl_names)'
complete -c crewctl -n '__fish_seen_subcommand_from scale apply apply-async map tasks close' -a '(__crewctl_pools)'
complete -c crewctl -n '__fish_seen_subcommand_from result cancel' -a '(__crewctl_tasks)'
complete -c crewctl -n '__fish_seen_subcommand_from help' -a "$verbs"
complete -c crewctl -n '__fish_seen_subcommand_from terminate stop' -l no-wait -d 'return at once'
complete -c crewctl -n '__fish_seen_subcommand_from restart' -l all-at-once -d 'not one after the other'
complete -c crewctl -n '__fish_seen_subcommand_from join apply result' -l timeout -x -d 'how long to wait'
complete -c crewctl -n '__fish_seen_subcommand_from memory' -l watch -d 'again every second'
complete -c crewctl -n '__fish_seen_subcommand_from memory' -l timeout -x -d 'how long to watch'
complete -c crewctl -n '__fish_seen_subcommand_from logs' -s f -l follow -d 'go on'
complete -c crewctl -n '__fish_seen_subcommand_from logs' -s n -l lines -x -d 'how many of the last lines'
complete -c crewctl -n '__fish_seen_subcommand_from reload' -l dry-run -d 'only tell what would change'
complete -c crewctl -n '__fish_seen_subcommand_from shutdown' -l join -d 'wait until every worker has ended by itself'
complete -c crewctl -n '__fish_seen_subcommand_from run' -l name -x -d 'name of the worker'
complete -c crewctl -n '__fish_seen_subcommand_from run' -l restart -x -a 'always on-failure never' -d 'restart policy'
complete -c crewctl -n '__fish_seen_subcommand_from run' -l env -x -d 'KEY=VALUE of its environment'
complete -c crewctl -n '__fish_seen_subcommand_from run' -l dir -x -a '(__fish_complete_directories)' -d 'working directory'
complete -c crewctl -n '__fish_seen_subcommand_from run' -l join -d 'wait, and exit as it did'
complete -c crewctl -n '__fish_seen_subcommand_from run' -a '(__fish_complete_subcommand)'
complete -c crewctl -n '__fish_seen_subcommand_from apply apply-async' -l input -x -d 'standard input of the task'
complete -c crewctl -n '__fish_seen_subcommand_from apply apply-async' -l input-file -r -F -d 'the same from a file'
complete -c crewctl -n '__fish_seen_subcommand_from apply apply-async map' -l method -x -d 'method of jsonrpc'
complete -c crewctl -n '__fish_seen_subcommand_from apply apply-async' -l params -x -d 'its params, JSON'
complete -c crewctl -n '__fish_seen_subcommand_from apply apply-async' -l json-args -d 'arguments are JSON'
complete -c crewctl -n '__fish_seen_subcommand_from map' -l unordered -d 'print results as they come'
complete -c crewctl -n '__fish_seen_subcommand_from map' -l joblog -r -F -d 'a line for each task'
complete -c crewctl -n '__fish_seen_subcommand_from map' -l json-lines -d 'lines are JSON'
complete -c crewctl -n '__fish_seen_subcommand_from map' -l progress -d 'show a bar'
complete -c crewctl -n '__fish_seen_subcommand_from map' -l no-progress -d 'show no bar'

set -l in_queue '__fish_seen_subcommand_from queue'
complete -c crewctl -n "$in_queue; and not __fish_seen_subcommand_from $queue_verbs" -a "$queue_verbs"
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from delete put get qsize empty full task-done join" \
    -a '(__crewctl_queues)'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from put get" -l no-wait -d 'return at once'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from put get join" -l timeout -x -d 'how long to wait'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from put" -l json-item -d 'the item is JSON'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l maxsize -x -d 'the most items'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l max-bytes -x -d 'the most bytes'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l kind -x -a 'manager shared' -d 'what keeps its items'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l durable -d 'on disk before a put is answered'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l dead -x -a '(__crewctl_queues)' \
    -d 'where items go that are never done'
complete -c crewctl -n "$in_queue; and __fish_seen_subcommand_from create" -l max-deliveries -x \
    -d 'how often an item is lent'
