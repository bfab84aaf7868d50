#!/bin/bash
# boxyard as the OCI runtime of dockerd, podman and containerd's ctr; skips those that are not installed.
# Needs root, busybox and a boxyard binary:  tests/conformance/oci-runtime.sh target/release/boxyard [runc]
# With a second argument the same checks run on that runtime, to compare.
# Everything happens in network and mount namespaces of its own, so that no bridge, rule or mount meets the host's.
set -u
[ "${OWN_NAMESPACES:-}" ] || OWN_NAMESPACES=1 exec unshare --net --mount "$0" "$@"
busybox ip link set lo up
binary=$(realpath "${1:?path of boxyard}") other=${2:-}
yard=$(mktemp -d) failed=0
chmod 755 "$yard" # a remapped root passes through
runtime=$yard/boxyard-oci
if [ -n "$other" ]; then ln -s "$(command -v "$other")" "$runtime"; else ln -s "$binary" "$runtime"; fi

finish() {
    for pid in "$yard"/*.pid; do [ -f "$pid" ] && kill "$(cat "$pid")"; done
    wait 2>/dev/null
    umount -l "$yard"/podman/storage "$yard"/docker/data 2>/dev/null
    rm -rf "$yard"
}
trap finish EXIT

# typed TEXT COMMAND...: runs it on a terminal where TEXT is typed
typed() {
    local text=$1
    shift
    printf '%s' "$text" | script -qec "$(printf '%q ' "$@")" /dev/null
}

# check WHAT EXPECTED-STATUS EXPECTED-TEXT COMMAND...
check() {
    local what=$1 status=$2 text=$3 said code
    shift 3
    if [ "$1" = typed ]; then said=$("$@" 2>&1); code=$?; else said=$(timeout 60 "$@" 2>&1 </dev/null); code=$?; fi
    if [ "$code" = "$status" ] && [[ $said == *"$text"* ]]; then echo "ok    $what"; return; fi
    echo "FAIL  $what: status $code, said: $said"; failed=1
}

mkdir -p "$yard/rootfs/bin"
cp "$(command -v busybox)" "$yard/rootfs/bin/busybox"
for name in sh sleep echo id cat env ls grep mount ping ip ps stat touch hostname wc wget nc; do ln -s busybox "$yard/rootfs/bin/$name"; done
mkdir -p "$yard/rootfs/etc" "$yard/rootfs/srv" "$yard/rootfs/tmp"
printf 'root:x:0:0::/root:/bin/sh\nbob:x:7:8::/home/bob:/bin/sh\n' >"$yard/rootfs/etc/passwd"
printf 'root:x:0:\nbob:x:8:\naudio:x:29:bob\n' >"$yard/rootfs/etc/group"
echo copied >"$yard/rootfs/srv/file"
tar -C "$yard/rootfs" -cf "$yard/rootfs.tar" .

if command -v dockerd >/dev/null; then
    dockerd --add-runtime "boxyard=$runtime" -H "unix://$yard/d.sock" --data-root "$yard/docker/data" \
        --exec-root "$yard/docker/exec" --pidfile "$yard/docker.pid" >"$yard/log" 2>&1 &
    export DOCKER_HOST=unix://$yard/d.sock
    for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
    docker import -q "$yard/rootfs.tar" bb >/dev/null 2>&1 || docker import "$yard/rootfs.tar" bb >/dev/null
    run=(docker run --runtime boxyard --network none)
    check "docker run" 0 hello "${run[@]}" --rm bb echo hello
    check "docker exit code" 9 "" "${run[@]}" --rm bb sh -c 'exit 9'
    check "docker 127" 127 'executable file not found in $PATH' "${run[@]}" --rm bb nosuch
    check "docker 126" 126 "" "${run[@]}" --rm bb /bin
    check "docker --user" 0 "uid=7(bob) gid=8(bob)" "${run[@]}" --rm --user 7:8 bb id
    check "docker --tty" 5 "term" "${run[@]}" --rm -t bb sh -c 'echo term; exit 5'
    check "docker --read-only" 0 "Read-only" "${run[@]}" --rm --read-only bb sh -c 'echo x > /y; true'
    check "docker OOM" 137 "" "${run[@]}" --name hog --memory 10m --memory-swap 10m bb sh -c 'x=a; while true; do x=$x$x; done'
    check "docker OOM told" 0 "true 137" docker inspect hog --format '{{.State.OOMKilled}} {{.State.ExitCode}}'
    check "docker run -d" 0 "" "${run[@]}" -d --name web bb sh -c 'echo line; exec sleep 1000'
    check "docker exec" 0 inside docker exec web echo inside
    check "docker exec -t" 4 tty docker exec -t web sh -c 'echo tty; exit 4'
    check "docker logs" 0 line docker logs web
    check "docker pause" 0 "" docker pause web
    check "docker unpause" 0 "" docker unpause web
    check "docker update" 0 "" docker update --memory 50m --memory-swap 60m web
    check "docker stats" 0 50MiB docker stats --no-stream web
    check "docker top" 0 "sleep 1000" docker top web
    check "docker restart" 0 "" docker restart -t 0 web
    check "docker kill" 0 "" docker kill web
    check "docker wait" 0 137 docker wait web
    check "docker rm" 0 "" docker rm web hog
    check "docker run -it" 6 "typed in" typed $'echo typed in; exit 6\n' "${run[@]}" -it --rm bb sh
    check "docker run -i" 0 fed sh -c "echo fed | ${run[*]} -i --rm bb cat"
    check "docker groups" 0 "uid=7(bob) gid=8(bob) groups=8(bob),29(audio)" "${run[@]}" --rm -u bob bb id
    check "docker root's groups" 0 "uid=0(root) gid=0(root) groups=0(root)" "${run[@]}" --rm bb id
    check "docker --init" 0 docker-init "${run[@]}" --rm --init bb ps
    check "docker --privileged" 0 /dev/full "${run[@]}" --rm --privileged bb ls /dev/full
    check "docker --device" 0 "1,   3" "${run[@]}" --rm --device /dev/null:/dev/other bb ls -l /dev/other
    check "docker --sysctl" 0 1 "${run[@]}" --rm --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward
    check "docker --tmpfs" 0 "size=1024k" "${run[@]}" --rm --tmpfs /scratch:size=1m bb grep scratch /proc/mounts
    check "docker -v" 0 copied "${run[@]}" --rm -v "$yard/rootfs/srv:/mnt:ro" bb cat /mnt/file
    check "docker -v :ro" 1 "Read-only" "${run[@]}" --rm -v "$yard/rootfs/srv:/mnt:ro" bb touch /mnt/file
    check "docker --cap-drop" 0 "CapEff:	0000000000000000" "${run[@]}" --rm --cap-drop ALL bb grep CapEff /proc/self/status
    check "docker seccomp" 0 "Seccomp:	2" "${run[@]}" --rm bb grep Seccomp: /proc/self/status
    check "docker --pid host" 0 dockerd "${run[@]}" --rm --pid host bb ps
    check "docker --hostname" 0 outpost "${run[@]}" --rm -h outpost bb hostname
    check "docker -w" 0 /a/b "${run[@]}" --rm -w /a/b bb sh -c pwd
    check "docker --restart" 0 "" "${run[@]}" -d --name again --restart on-failure:2 bb sh -c 'echo life; exit 3'
    check "docker --restart is over" 0 3 docker wait again
    check "docker rm -f" 0 "" docker rm -f again

    run=(docker run --runtime boxyard)
    check "docker bridge" 0 eth0 "${run[@]}" --rm bb cat /proc/net/dev
    check "docker bridge reaches its gateway" 0 "1 packets received" "${run[@]}" --rm bb ping -c 1 -W 5 172.17.0.1
    check "docker network create" 0 "" docker network create shop
    check "docker run in a network" 0 "" "${run[@]}" -d --name web --network shop -p 127.0.0.1:7080:80 bb \
        sh -c 'while true; do printf "HTTP/1.0 200 OK\r\n\r\nserved\n" | nc -l -p 80; done'
    check "docker names" 0 served "${run[@]}" --rm --network shop bb sh -c 'sleep 1; wget -qO- http://web'
    check "docker ports" 0 served busybox wget -qO- http://127.0.0.1:7080
    check "docker --network container" 0 eth0 "${run[@]}" --rm --network container:web bb cat /proc/net/dev
    check "docker --pid container" 0 "nc -l" "${run[@]}" --rm --pid container:web bb ps
    check "docker exec -it" 5 "typed in" typed $'echo typed in; exit 5\n' docker exec -it web sh
    check "docker exec -u" 0 "uid=7(bob)" docker exec -u bob web id
    check "docker exec -d" 0 "" docker exec -d web touch /tmp/there
    check "docker exec 127" 126 'executable file not found in $PATH' docker exec web nosuch
    check "docker cp in" 0 "" docker cp "$yard/rootfs/srv/file" web:/tmp/copy
    check "docker cp out" 0 "" docker cp web:/tmp/copy "$yard/copy"
    check "docker diff" 0 "/tmp/copy" docker diff web
    check "docker commit" 0 "" docker commit web kept
    check "docker stats of a network" 0 web docker stats --no-stream web
    check "docker update of processors" 0 "" docker update --cpus 0.5 --pids-limit 50 web
    check "docker update took" 0 50000 sh -c 'cat /sys/fs/cgroup/cpu/docker/'"$(docker inspect -f '{{.Id}}' web 2>/dev/null)"'/cpu.cfs_quota_us'
    check "docker stop" 0 "" docker stop -t 1 web
    check "docker start again" 0 "" docker start web
    check "docker rm of all" 0 "" docker rm -f web
    check "docker network rm" 0 "" docker network rm shop
    if command -v ctr >/dev/null; then
        ctr=(ctr -a "$yard/docker/exec/containerd/containerd.sock" -n conformance)
        check "ctr run" 0 hello "${ctr[@]}" run --rm --runc-binary "$runtime" --rootfs "$yard/rootfs" one /bin/echo hello
        check "ctr run -d" 0 "" "${ctr[@]}" run -d --runc-binary "$runtime" --rootfs "$yard/rootfs" two /bin/sleep 100
        check "ctr exec" 0 inside "${ctr[@]}" task exec --exec-id e two /bin/echo inside
        check "ctr pause" 0 "" "${ctr[@]}" task pause two
        check "ctr resume" 0 "" "${ctr[@]}" task resume two
        check "ctr ps" 0 PID "${ctr[@]}" task ps two
        check "ctr metrics" 0 memory "${ctr[@]}" task metrics two
        check "ctr kill" 0 "" "${ctr[@]}" task kill --signal SIGKILL two
        check "ctr rm" 0 "" "${ctr[@]}" task rm -f two
        check "ctr run -t" 3 "a terminal" typed "" "${ctr[@]}" run --rm -t --runc-binary "$runtime" --rootfs "$yard/rootfs" \
            three /bin/sh -c 'echo a terminal; exit 3'
        "${ctr[@]}" containers rm two >/dev/null 2>&1
    fi
fi

if command -v dockerd >/dev/null; then
    # --userns-remap looks a user and its ids up in /etc, which is a copy here
    mkdir "$yard/etc" && cp -a /etc/. "$yard/etc" && mount --bind "$yard/etc" /etc
    echo 'dockremap:x:990:990::/:/bin/false' >>/etc/passwd
    echo 'dockremap:x:990:' >>/etc/group
    echo dockremap:200000:65536 | tee /etc/subuid >/etc/subgid
    dockerd --userns-remap=dockremap --add-runtime "boxyard=$runtime" -H "unix://$yard/r.sock" --bridge=none --iptables=false \
        --data-root "$yard/remapped/data" --exec-root "$yard/remapped/exec" --pidfile "$yard/remapped.pid" >"$yard/log2" 2>&1 &
    export DOCKER_HOST=unix://$yard/r.sock
    for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
    docker import "$yard/rootfs.tar" bb >/dev/null
    run=(docker run --runtime boxyard --network none)
    check "docker --userns-remap" 0 "0     200000      65536" "${run[@]}" --rm bb cat /proc/self/uid_map
    check "docker remapped files" 0 "0 0" "${run[@]}" --rm bb sh -c 'touch /mine && stat -c "%u %g" /mine'
    check "docker remapped user" 0 "uid=7(bob)" "${run[@]}" --rm -u bob bb id
    check "docker remapped devices" 0 "1,   3" "${run[@]}" --rm bb sh -c 'echo >/dev/null && ls -l /dev/null'
    check "docker remapped volume" 0 "file" "${run[@]}" --rm -v data:/data bb sh -c 'touch /data/file && ls /data'
    check "docker remapped run -d" 0 "" "${run[@]}" -d --name web bb sleep 1000
    check "docker remapped exec" 0 "0     200000" docker exec web cat /proc/self/uid_map
    check "docker remapped exec -t" 0 /dev/pts docker exec -t web ls -l /proc/self/fd/0
    check "docker remapped rm" 0 "" docker rm -f web
    check "docker --userns host" 0 "4294967295" "${run[@]}" --rm --userns host bb cat /proc/self/uid_map
fi

if command -v podman >/dev/null; then
    podman=(podman --root "$yard/podman/storage" --runroot "$yard/podman/run" --storage-driver vfs --cgroup-manager cgroupfs
        --runtime "$runtime")
    # podman's default limits need CAP_SYS_RESOURCE
    printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n' >"$yard/containers.conf"
    export CONTAINERS_CONF=$yard/containers.conf
    limits=(--network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
    "${podman[@]}" import -q "$yard/rootfs.tar" bb >/dev/null 2>&1
    check "podman run" 6 hello "${podman[@]}" run --rm "${limits[@]}" bb sh -c 'echo hello; exit 6'
    check "podman run -d" 0 "" "${podman[@]}" run -d "${limits[@]}" --name web bb sleep 100
    check "podman exec" 0 inside "${podman[@]}" exec web echo inside
    check "podman pause" 0 "" "${podman[@]}" pause web
    check "podman unpause" 0 "" "${podman[@]}" unpause web
    check "podman exec -t" 0 /dev/pts "${podman[@]}" exec -t web ls -l /proc/self/fd/0
    check "podman exec 127" 127 "" "${podman[@]}" exec web nosuch
    check "podman top" 0 sleep "${podman[@]}" top web
    check "podman stats" 0 web "${podman[@]}" stats --no-stream web
    check "podman stop" 0 web "${podman[@]}" stop -t 0 web
    check "podman start" 0 web "${podman[@]}" start web
    check "podman rm" 0 "" "${podman[@]}" rm -f -t 0 web
    check "podman run -it" 6 "typed in" typed $'echo typed in; exit 6\n' "${podman[@]}" run -it --rm "${limits[@]}" bb sh
    check "podman 127" 127 "" "${podman[@]}" run --rm "${limits[@]}" bb nosuch
    check "podman groups" 0 "uid=7(bob) gid=8(bob) groups=8(bob),29(audio)" "${podman[@]}" run --rm "${limits[@]}" -u bob bb id
    check "podman --memory" 0 67108864 "${podman[@]}" run --rm "${limits[@]}" -m 64m bb cat /sys/fs/cgroup/memory/memory.limit_in_bytes
    check "podman --read-only" 1 "Read-only" "${podman[@]}" run --rm "${limits[@]}" --read-only bb touch /x
    check "podman --tmpfs copies up" 0 copied "${podman[@]}" run --rm "${limits[@]}" --tmpfs /srv bb cat /srv/file
    check "podman --mount tmpfs" 0 copied "${podman[@]}" run --rm "${limits[@]}" --mount type=tmpfs,dst=/srv,tmpcopyup bb cat /srv/file
    check "podman --preserve-fds" 0 kept "${podman[@]}" run --rm "${limits[@]}" --preserve-fds 1 bb sh -c 'cat <&3' 3<<<kept
    check "podman --privileged" 0 /dev/full "${podman[@]}" run --rm "${limits[@]}" --privileged bb ls /dev/full
    check "podman --uidmap" 0 "0     100000      65536" "${podman[@]}" run --rm "${limits[@]}" --uidmap 0:100000:65536 \
        --gidmap 0:100000:65536 bb cat /proc/self/uid_map
    check "podman --uidmap makes files of its own" 0 "0 0" "${podman[@]}" run --rm "${limits[@]}" --uidmap 0:100000:65536 \
        --gidmap 0:100000:65536 bb sh -c 'touch /mine && stat -c "%u %g" /mine'
    check "podman --uidmap exec" 0 "" "${podman[@]}" run -d "${limits[@]}" --uidmap 0:100000:65536 --gidmap 0:100000:65536 \
        --name mapped bb sleep 100
    check "podman exec in it" 0 "0     100000" "${podman[@]}" exec mapped cat /proc/self/uid_map
    check "podman exec -t in it" 0 /dev/pts "${podman[@]}" exec -t mapped ls -l /proc/self/fd/0
    check "podman rm of it" 0 "" "${podman[@]}" rm -f -t 0 mapped
    if "${podman[@]}" pod create --infra-image bb --infra-command 'sleep 1000' --network none --name pod >/dev/null 2>&1; then
        check "podman pod" 0 "" "${podman[@]}" run -d "${limits[@]:2}" --pod pod --name member bb sleep 100
        check "podman pod shares names" 0 pod "${podman[@]}" exec member hostname
        check "podman pod ps" 0 pod "${podman[@]}" pod ps
        check "podman pod rm" 0 "" "${podman[@]}" pod rm -f -t 0 pod
    else
        echo "FAIL  podman pod create"; failed=1
    fi
fi
exit $failed
