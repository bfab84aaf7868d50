#!/bin/bash
# boxyard as the OCI runtime of dockerd, podman and containerd's ctr; skips those that are not installed.
# Needs root, busybox and a boxyard binary:  tests/conformance/oci-runtime.sh target/release/boxyard [runc]
# With a second argument the same checks run on that runtime, to compare.
set -u
binary=$(realpath "${1:?path of boxyard}") other=${2:-}
yard=$(mktemp -d) failed=0
runtime=$yard/boxyard-oci
if [ -n "$other" ]; then ln -s "$(command -v "$other")" "$runtime"; else ln -s "$binary" "$runtime"; fi

finish() {
    [ -f "$yard/docker.pid" ] && kill "$(cat "$yard/docker.pid")" && wait 2>/dev/null
    umount -l "$yard"/podman/storage "$yard"/docker/data 2>/dev/null
    rm -rf "$yard"
}
trap finish EXIT

# check WHAT EXPECTED-STATUS EXPECTED-TEXT COMMAND...
check() {
    local what=$1 status=$2 text=$3 said code
    shift 3
    said=$(timeout 60 "$@" 2>&1); code=$?
    if [ "$code" = "$status" ] && [[ $said == *"$text"* ]]; then echo "ok    $what"; return; fi
    echo "FAIL  $what: status $code, said: $said"; failed=1
}

mkdir -p "$yard/rootfs/bin"
cp "$(command -v busybox)" "$yard/rootfs/bin/busybox"
for name in sh sleep echo id cat; do ln -s busybox "$yard/rootfs/bin/$name"; done
tar -C "$yard/rootfs" -cf "$yard/rootfs.tar" .

if command -v dockerd >/dev/null; then
    dockerd --add-runtime "boxyard=$runtime" -H "unix://$yard/d.sock" --data-root "$yard/docker/data" \
        --exec-root "$yard/docker/exec" --pidfile "$yard/docker.pid" --iptables=false --bridge=none >"$yard/log" 2>&1 &
    export DOCKER_HOST=unix://$yard/d.sock
    for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.1; done
    docker import -q "$yard/rootfs.tar" bb >/dev/null 2>&1 || docker import "$yard/rootfs.tar" bb >/dev/null
    run=(docker run --runtime boxyard --network none)
    check "docker run" 0 hello "${run[@]}" --rm bb echo hello
    check "docker exit code" 9 "" "${run[@]}" --rm bb sh -c 'exit 9'
    check "docker 127" 127 'executable file not found in $PATH' "${run[@]}" --rm bb nosuch
    check "docker 126" 126 "" "${run[@]}" --rm bb /bin
    check "docker --user" 0 "uid=7 gid=8" "${run[@]}" --rm --user 7:8 bb id
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
    if command -v ctr >/dev/null; then
        ctr=(ctr -a "$yard/docker/exec/containerd/containerd.sock" -n conformance)
        check "ctr run" 0 hello "${ctr[@]}" run --rm --runc-binary "$runtime" --rootfs "$yard/rootfs" one echo hello
        check "ctr run -d" 0 "" "${ctr[@]}" run -d --runc-binary "$runtime" --rootfs "$yard/rootfs" two sleep 100
        check "ctr exec" 0 inside "${ctr[@]}" task exec --exec-id e two echo inside
        check "ctr pause" 0 "" "${ctr[@]}" task pause two
        check "ctr resume" 0 "" "${ctr[@]}" task resume two
        check "ctr kill and rm" 137 "" "${ctr[@]}" task rm -f two
        "${ctr[@]}" containers rm two >/dev/null 2>&1
    fi
fi

if command -v podman >/dev/null; then
    podman=(podman --root "$yard/podman/storage" --runroot "$yard/podman/run" --storage-driver vfs --cgroup-manager cgroupfs
        --runtime "$runtime")
    # podman's default limits need CAP_SYS_RESOURCE
    limits=(--network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
    "${podman[@]}" import -q "$yard/rootfs.tar" bb >/dev/null 2>&1
    check "podman run" 6 hello "${podman[@]}" run --rm "${limits[@]}" bb sh -c 'echo hello; exit 6'
    check "podman run -d" 0 "" "${podman[@]}" run -d "${limits[@]}" --name web bb sleep 100
    check "podman exec" 0 inside "${podman[@]}" exec web echo inside
    check "podman pause" 0 "" "${podman[@]}" pause web
    check "podman unpause" 0 "" "${podman[@]}" unpause web
    check "podman rm" 0 "" "${podman[@]}" rm -f -t 0 web
fi
exit $failed
