# Completion of crewctl for fish: verbs and options; names of workers and pools, asked of the daemon.

set -l verbs status start terminate stop kill signal restart is-alive join run forget scale logs reload \
    shutdown events help

function __crewctl_names
    set -l socket
    set -l words (commandline -opc)
    for i in (seq (count $words))
        if contains -- $words[$i] -s --socket
            set -l next (math $i + 1)
            test $next -le (count $words); and set socket -s $words[$next]
        end
    end
    crewctl $socket status 2>/dev/null </dev/null |
        awk 'NR > 1 { print $1; if (sub(/-[0-9]+$/, "", $1)) print $1 }' | sort -u
end

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
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a reload -d 'read the configuration again'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a shutdown -d 'end the daemon and its workers'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a events -d 'a line for each change of state'
complete -c crewctl -n "not __fish_seen_subcommand_from $verbs" -a help -d 'tell more of a verb'

complete -c crewctl -n '__fish_seen_subcommand_from status start terminate stop kill signal restart is-alive join forget scale logs' \
    -a '(__crewctl_names)'
complete -c crewctl -n '__fish_seen_subcommand_from help' -a "$verbs"
complete -c crewctl -n '__fish_seen_subcommand_from terminate stop' -l no-wait -d 'return at once'
complete -c crewctl -n '__fish_seen_subcommand_from restart' -l all-at-once -d 'not one after the other'
complete -c crewctl -n '__fish_seen_subcommand_from join' -l timeout -x -d 'how long to wait'
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
