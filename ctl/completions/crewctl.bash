# Completion of crewctl for bash: verbs and options; names of workers and pools, asked of the daemon.

_crewctl_ask() { # VERB...: its answer, without the head of the table
	local socket=() i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) socket=(-s "${COMP_WORDS[i + 1]}") ;;
		esac
	done
	crewctl "${socket[@]}" "$@" 2>/dev/null </dev/null | sed 1d
}

_crewctl_names() { # workers and pools
	_crewctl_ask status | awk '{ print $1; if (sub(/-[0-9]+$/, "", $1)) print $1 }' | sort -u
}

_crewctl_pools() {
	_crewctl_ask status | awk 'sub(/-[0-9]+$/, "", $1) { print $1 }' | sort -u
}

_crewctl_tasks() { # IDs
	_crewctl_ask tasks | awk '{ print $1 }'
}

_crewctl_queues() {
	_crewctl_ask queue list | awk '{ print $1 }'
}

_crewctl_verb() {
	local i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) ((i++)) ;;
		-*) ;;
		*)
			verb=${COMP_WORDS[i]} verb_at=$i
			return
			;;
		esac
	done
}

_crewctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb='' verb_at=0 words='' i
	local verbs='status memory start terminate stop kill signal restart is-alive join run forget scale
		logs reload shutdown apply apply-async map result tasks cancel close queue events help'

	COMPREPLY=()
	case $prev in
	-s | --socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	_crewctl_verb
	case $verb in
	'') words="$verbs -s --socket --json --version --help" ;;
	help) words=$verbs ;;
	status | start | kill | is-alive | forget) words=$(_crewctl_names) ;;
	memory)
		[[ $prev == --timeout ]] || words="--watch --timeout $(_crewctl_names)"
		;;
	terminate | stop) words="--no-wait $(_crewctl_names)" ;;
	restart) words="--all-at-once $(_crewctl_names)" ;;
	join)
		[[ $prev == --timeout ]] || words="--timeout $(_crewctl_names)"
		;;
	logs)
		[[ $prev == -n || $prev == --lines ]] || words="-f --follow -n --lines $(_crewctl_names)"
		;;
	signal)
		if ((COMP_CWORD == verb_at + 1)); then
			words=$(compgen -A signal | sed -n 's/^SIG//p')
		else
			words=$(_crewctl_names)
		fi
		;;
	scale)
		((COMP_CWORD > verb_at + 1)) || words=$(_crewctl_pools)
		;;
	apply | apply-async | map)
		case $prev in
		--input-file | --joblog)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		--timeout | --input | --method | --params) return ;;
		esac
		words=$(_crewctl_pools)
		case $verb in
		map) words+=' --unordered --joblog --method --json-lines --progress --no-progress' ;;
		apply) words+=' --timeout --input --input-file --method --params --json-args' ;;
		*) words+=' --input --input-file --method --params --json-args' ;;
		esac
		;;
	result)
		[[ $prev == --timeout ]] || words="--timeout $(_crewctl_tasks)"
		;;
	cancel) words=$(_crewctl_tasks) ;;
	tasks | close) words=$(_crewctl_pools) ;;
	queue)
		case $prev in
		--timeout | --maxsize | --max-bytes | --max-deliveries) return ;;
		--kind) words='manager shared' ;;
		--dead) words=$(_crewctl_queues) ;;
		*)
			if ((COMP_CWORD == verb_at + 1)); then
				words='create delete list put get qsize empty full task-done join'
			else
				case ${COMP_WORDS[verb_at + 1]} in
				create) words='--maxsize --max-bytes --kind --durable --dead --max-deliveries' ;;
				list) ;;
				put) words="--no-wait --timeout --json-item $(_crewctl_queues)" ;;
				get) words="--no-wait --timeout $(_crewctl_queues)" ;;
				join) words="--timeout $(_crewctl_queues)" ;;
				*) words=$(_crewctl_queues) ;;
				esac
			fi
			;;
		esac
		;;
	reload) words=--dry-run ;;
	shutdown) words=--join ;;
	run)
		case $prev in
		--restart) words='always on-failure never' ;;
		--dir)
			mapfile -t COMPREPLY < <(compgen -d -- "$cur")
			return
			;;
		--name | --env) return ;;
		*)
			for ((i = verb_at + 1; i < COMP_CWORD; i++)); do
				case ${COMP_WORDS[i]} in
				--name | --restart | --env | --dir) ((i++)) ;;
				--) break ;;
				-*) ;;
				*) # what follows the command is its own
					mapfile -t COMPREPLY < <(compgen -f -- "$cur")
					return
					;;
				esac
			done
			if [[ $cur == -* ]]; then
				words='--name --restart --env --dir --join --'
			else
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
				return
			fi
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _crewctl crewctl
