#!/bin/bash
# What `docker logs` says of a dozen containers, in words that do not change from run to run: run it against two engines
# (DOCKER_HOST names one) and compare.
#
#   tests/conformance/docker-logs.sh >ours; DOCKER_HOST=unix:///run/docker.sock tests/conformance/docker-logs.sh >theirs; diff ours theirs
#
# It makes its own image of busybox-static, and removes what it made.
set -u
image=logs-of-busybox:1
folder=$(mktemp -d)
clean() {
    xargs docker rm -f <"$folder/names" >/dev/null 2>&1
    docker rmi -f $image >/dev/null 2>&1
    rm -rf "$folder"
}
trap clean EXIT
mkdir "$folder/bin"
cp "$(command -v busybox)" "$folder/bin/busybox"
for program in sh sleep seq head printf tr; do ln -s busybox "$folder/bin/$program"; done
touch "$folder/names"
tar -C "$folder" -c bin | docker import - $image >/dev/null || exit 1

# Times and container IDs go; what a program says comes with its stream.
show() {
    echo "== docker $*"
    timeout 20 docker "$@" >"$folder/out" 2>"$folder/err"
    echo "code $?"
    sed 's/^/out: /' "$folder/out"
    echo
    sed 's/^/err: /' "$folder/err"
}
steady() {
    sed -E 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z/TIME/g; s/[0-9a-f]{64}/ID/g' | cat -v | cut -c1-200
}
container() {
    local name=$1 script=$2
    shift 2
    echo "$name" >>"$folder/names"
    docker run -d --name "$name" --network none "$@" $image sh -c "$script" >/dev/null || echo "$name does not start"
    docker wait "$name" >/dev/null
}

{
    talk='echo one; sleep 0.1; echo two >&2; sleep 0.1; printf "three\r\n\033[1mbold\033[0m <&>\\ \"q\"\n"; sleep 2; echo late; printf end'
    for driver in json-file local none; do
        for tty in "" -t; do
            name=l-$driver$tty
            container "$name" "$talk" --log-driver $driver $tty
            show logs "$name"
            for tail in 0 1 2 4 5 all -1 soon; do show logs --tail $tail "$name"; done
            show logs -t "$name"
            show logs --details "$name"
            show logs -t --details --tail 1 "$name"
            show logs -f --tail 1 "$name"
            show logs --since 1h --until 1s "$name"
            show logs --since 0 "$name"
            show logs --since 1 "$name"
            show logs --until 1 "$name"
            show logs --since 2100-01-01T00:00:00Z "$name"
            show logs --since 2020-01-01 --tail 2 "$name"
            show logs --until 2020-01-01T00:00:00.5Z "$name"
            show logs --since soon "$name"
            show logs --until soon "$name"
        done
    done
    container attrs 'echo a; echo b >&2' --label 'x=1 2' --label 'y.z=<&>' -e A=b=c -e B=d \
        --log-opt labels=x,y.z,none --log-opt env=A --log-opt tag='{{.Name}}|{{.ImageName}}|{{.Command}}'
    show logs --details attrs
    show logs --details -t attrs
    container regex 'echo a' --label 'x=1' --label 'xy=2' --label 'z=3' -e AB=1 -e AC=2 -e D=3 \
        --log-opt labels-regex=^x --log-opt env-regex='^A'
    show logs --details regex
    container long 'head -c 40000 /dev/zero | tr "\0" x; echo; head -c 16384 /dev/zero | tr "\0" y; echo; echo z'
    docker logs long 2>&1 | cksum
    docker logs --tail 1 long 2>&1 | cksum
    docker logs --tail 3 long 2>&1 | cksum
    docker logs -t long 2>&1 | sed -E 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z/TIME/g' | cksum
    container bytes 'printf "\000\001\177\200\377\303\050\303\244\342\200\250\n"'
    docker logs bytes | od -c
    container quiet ':'
    show logs quiet
    show logs -f quiet
    echo never >>"$folder/names"
    docker create --name never --network none $image sh -c 'echo x' >/dev/null
    show logs never
    show logs -f never
    show logs nobody
    container turned 'seq 1 5000' --log-opt max-size=10k --log-opt max-file=100
    docker logs turned | cksum
    docker logs --tail 3000 turned | cksum
    container few 'seq 1 5000; sleep 1' --log-opt max-size=10k --log-opt max-file=3 --log-opt compress=true
    docker logs few | tail -1
    show run --rm --network none --log-opt max-size=much $image sh
    show run --rm --network none --log-opt mode=maybe $image sh
    show run --rm --network none --log-opt speed=1 $image sh
    show run --rm --network none --log-driver local --log-opt tag=x $image sh
    show run --rm --network none --log-driver nowhere $image sh
    show run --rm --network none --log-opt max-buffer-size=1m $image sh
    show run --rm --network none --log-opt max-file=0 --log-opt max-size=1m $image sh
    show run --rm --network none --log-opt compress=maybe --log-opt max-size=1m --log-opt max-file=3 $image sh
    container hasty 'seq 1 10' --log-opt mode=non-blocking --log-opt max-buffer-size=1m
    show logs hasty
    docker inspect -f '{{json .HostConfig.LogConfig}}' hasty
    docker inspect -f '{{if .LogPath}}has a path{{else}}has no path{{end}}' hasty l-local l-none
} 2>&1 | steady
