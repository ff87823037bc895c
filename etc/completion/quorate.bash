# SPDX-License-Identifier: Apache-2.0
# bash completion for quorate(1)

_quorate() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local global="--endpoints --command-timeout --dial-timeout --write-out --hex --help"
	local commands="get put del txn compaction lease watch lock elect status members member hash move-leader admin load bench init up version help"
	local command= flags= i

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--endpoints|--command-timeout|--dial-timeout|--write-out|-w) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]}; break ;;
		esac
	done

	case $prev in
	--write-out|-w) COMPREPLY=($(compgen -W "simple json fields table" -- "$cur")); return ;;
	--consistency) COMPREPLY=($(compgen -W "l s" -- "$cur")); return ;;
	--order) COMPREPLY=($(compgen -W "ASCEND DESCEND" -- "$cur")); return ;;
	--sort-by) COMPREPLY=($(compgen -W "CREATE KEY MODIFY VALUE VERSION" -- "$cur")); return ;;
	--signal) COMPREPLY=($(compgen -W "TERM INT HUP QUIT USR1 USR2 KILL STOP" -- "$cur")); return ;;
	--format) COMPREPLY=($(compgen -W "tsv json length" -- "$cur")); return ;;
	--dir|--bin-dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--acked|--key) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	esac

	case $command in
	get) flags="--consistency --order --sort-by --limit --prefix --from-key --rev --keys-only --count-only
		--print-value-only --min-create-rev --max-create-rev --min-mod-rev --max-mod-rev" ;;
	put) flags="--lease --prev-kv --ignore-value --ignore-lease" ;;
	del) flags="--prefix --from-key --prev-kv --range" ;;
	txn) flags="--interactive" ;;
	compaction|compact) flags="--physical" ;;
	lease) flags="--keys --once" ;;
	lock) flags="--ttl --try --wait --signal --no-kill --error-code" ;;
	elect) flags="--listen --ttl" ;;
	watch) flags="--interactive --prefix --from-key --rev --prev-kv --progress-notify" ;;
	hash) flags="--rev" ;;
	admin) flags="--dir --node" ;;
	load) flags="--format --inflight --retry --patience --acked --quiet" ;;
	bench) flags="--clients --inflight --total --duration --key-size --val-size --keyspace --reads --limit
		--consistency --prefix --no-fill" ;;
	init) flags="--dir --nodes --base-port --hosts --name --key" ;;
	up) flags="--dir --nodes --base-port --bin-dir --verbose" ;;
	version) flags="--server" ;;
	esac

	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags $global" -- "$cur"))
		return
	fi
	case $command in
	"") COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	help) COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	lock) COMPREPLY=($(compgen -c -- "$cur")) ;;
	lease) COMPREPLY=($(compgen -W "grant revoke timetolive list keep-alive" -- "$cur")) ;;
	member) COMPREPLY=($(compgen -W "list" -- "$cur")) ;;
	admin) COMPREPLY=($(compgen -W "raftd stored leased watchd gatewayd help status metrics loglevel trace" -- "$cur")) ;;
	bench) COMPREPLY=($(compgen -W "put get range mixed" -- "$cur")) ;;
	load) COMPREPLY=($(compgen -f -- "$cur")) ;;
	esac
}

complete -F _quorate quorate
