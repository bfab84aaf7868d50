#!/usr/bin/env bash
# The real docker CLI against an engine: prints what each command said, checks what a user would look for.
#
#   DOCKER_HOST=unix:///run/boxyard/engine.sock tests/conformance/docker-cli.sh [IMAGE]
#
# IMAGE (default 127.0.0.1:5000/debian:bookworm) is pulled from a registry on this machine. Needs python3 for nothing,
# bash and the docker CLI only. Leaves nothing on the engine but the image. Run it on dockerd too, and compare.
set -u
image=${1:-127.0.0.1:5000/debian:bookworm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

ok() { passed=$((passed + 1)); printf 'ok    %s\n' "$1"; }
bad() { failed=$((failed + 1)); printf 'FAIL  %s\n' "$1"; sed 's/^/      | /' <<<"$2" | head -${3:-12}; }

# check NAME PATTERN COMMAND...: the command succeeds and what it prints matches the pattern.
check() {
    local name=$1 pattern=$2 said status
    shift 2
    said=$(timeout 120 "$@" 2>&1 </dev/null)
    status=$?
    if [ $status = 0 ] && grep -qE -- "$pattern" <<<"$said"; then ok "$name"; else bad "$name (exit $status, wanted /$pattern/)" "$said"; fi
}

# refuse NAME PATTERN COMMAND...: the command fails and says why.
refuse() {
    local name=$1 pattern=$2 said status
    shift 2
    said=$(timeout 120 "$@" 2>&1 </dev/null)
    status=$?
    if [ $status != 0 ] && grep -qE -- "$pattern" <<<"$said"; then ok "$name"; else bad "$name (exit $status, wanted a refusal /$pattern/)" "$said"; fi
}

check version 'Server:' docker version
check info 'Storage Driver|Server Version' docker info
check pull 'Status: (Downloaded newer image|Image is up to date)' docker pull "$image"
check 'pull again' 'Image is up to date' docker pull "$image"
check save '' docker save -o "$work/image.tar" "$image"
check tag '' docker tag "$image" scratchpad:1
check images 'scratchpad +1' docker images
check history 'CREATED BY' docker history scratchpad:1
check rmi 'Untagged: scratchpad:1' docker rmi scratchpad:1
check load 'Loaded image' docker load -i "$work/image.tar"
refuse 'missing image' 'manifest unknown|not found' docker pull "${image%%/*}/no/such:1"
refuse 'registry not there' 'connection refused' docker pull 127.0.0.1:1/x:1

check 'run --rm' '^hello$' docker run --rm "$image" echo hello
said=$(docker run --rm "$image" sh -c 'exit 7' 2>&1); [ $? = 7 ] && ok 'exit code' || bad 'exit code' "$said"
said=$(docker run --rm "$image" nosuch 2>&1); [ $? = 127 ] && grep -q 'executable file not found in \$PATH' <<<"$said" && ok '127' || bad '127' "$said"
said=$(echo typed | docker run --rm -i "$image" cat 2>&1); [ "$said" = typed ] && ok 'run -i' || bad 'run -i' "$said"
said=$(script -qec "docker run --rm -it $image sh -c 'tty; stty size'" /dev/null 2>&1 </dev/null); grep -q '/dev/pts/0' <<<"$said" && ok 'run -it' || bad 'run -it' "$said"

check 'run -d' '^[0-9a-f]{64}$' docker run -d --name web -p 8080:80 -v data:/srv -e A=b --memory 64m --label role=web "$image" \
    sh -c 'echo started; trap "echo bye; exit 0" TERM; i=0; while :; do echo tick $((i=i+1)); sleep 1 & wait; done'
check 'ps -a' 'web' docker ps -a
check 'ps ports' '0.0.0.0:8080->80/tcp' docker ps
check 'ps filter' 'web' docker ps --filter label=role=web --format '{{.Names}}'
check logs 'started' docker logs web
check 'logs --tail -t' '^[0-9]{4}-[0-9-]+T.*tick' docker logs --tail 1 -t web
said=$(timeout 4 docker logs -f --tail 1 web 2>&1); [ "$(grep -c tick <<<"$said")" -ge 3 ] && ok 'logs -f' || bad 'logs -f' "$said"
check exec 'A=b' docker exec web env
check 'exec -u -w' '^/tmp 65534' docker exec -u 65534 -w /tmp web sh -c 'echo $(pwd) $(id -u)'
said=$(docker exec web sh -c 'exit 9' 2>&1); [ $? = 9 ] && ok 'exec exit code' || bad 'exec exit code' "$said"
said=$(script -qec "docker exec -it web sh -c tty" /dev/null 2>&1 </dev/null); grep -q '/dev/pts/' <<<"$said" && ok 'exec -it' || bad 'exec -it' "$said"
check 'stats' 'web .*64MiB' docker stats --no-stream web
check top 'sh -c echo started' docker top web
check 'top aux' 'USER +PID' docker top web aux
check 'top columns' 'PID +NAME' docker top web -eo pid,comm=NAME
refuse 'top without pid' "Couldn't find PID field" docker top web -o user
refuse 'top, no such option' 'unsupported option' docker top web xyz
refuse 'exec, no such user' 'unable to find user nobodyx' docker exec -u nobodyx web true
refuse 'exec, no such folder' 'chdir to cwd \("/no/such"\)' docker exec -w /no/such web true
refuse 'exec, relative folder' 'Cwd must be an absolute path' docker exec -w relative web true
refuse 'exec, no such program' 'executable file not found in \$PATH' docker exec web nosuch
check inspect '"running"' docker inspect -f '{{json .State.Status}}' web
check 'inspect memory' '^67108864$' docker inspect -f '{{.HostConfig.Memory}}' web
check 'inspect mounts' 'volume data /srv' docker inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}{{end}}' web
check pause '' docker pause web
check 'paused' 'Paused' docker ps
check unpause '' docker unpause web
check rename '' docker rename web site
check 'renamed' 'site' docker ps --format '{{.Names}}'
refuse 'update: too little' 'Minimum memory limit allowed is 6MB' docker update --memory 1m site
check 'update' 'site' docker update --memory 128m --memory-swap 256m --restart on-failure:2 site
check 'updated' '134217728 on-failure' docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' site
check 'update back' 'site' docker update --restart no site
refuse 'name in use' 'is already in use by container' docker create --name site "$image"
refuse 'port in use' 'port is already allocated' docker run --rm --name clash -p 8080:80 "$image" true
docker rm -f clash >/dev/null 2>&1
echo file >"$work/file"
check 'cp in' '' docker cp "$work/file" site:/srv/file
check 'cp out' '' docker cp site:/srv/file "$work/back"
[ "$(cat "$work/back" 2>&1)" = file ] && ok 'cp content' || bad 'cp content' "$(ls -la "$work")"
check 'cp all' '' docker cp site:/. "$work/all"
[ -e "$work/all/srv/file" ] && [ ! -e "$work/all/proc/self" ] && ok 'cp all: no kernel files' || bad 'cp all' "$(ls "$work/all")"
rm -rf "$work/all"
refuse 'cp, no such folder' 'Could not find the file /no in container site' docker cp "$work/file" site:/no/such
docker create --name still -v data:/srv -v "$work:/host:ro" "$image" true >/dev/null
check 'cp into a volume at rest' '' docker cp "$work/file" still:/srv/rest
check 'volume has it' '^file$' docker exec site cat /srv/rest
refuse 'cp into a read-only bind' 'mounted volume is marked read-only' docker cp "$work/file" still:/host/x
docker rm still >/dev/null
check diff '' docker diff site
check restart '' docker restart -t 5 site
check kill '' docker kill site
said=$(docker wait site 2>&1); [ "$said" = 137 ] && ok wait || bad wait "$said"
check start '' docker start site
check stop '' docker stop -t 5 site
check 'stopped by its signal' '^0$' docker inspect -f '{{.State.ExitCode}}' site
check 'status text' 'Exited \(0\)' docker ps -a
refuse 'volume in use' 'volume is in use' docker volume rm data
check rm '^site$' docker rm site
check commit 'sha256:' bash -c "docker create --name c1 $image true >/dev/null && docker commit c1 committed:1 && docker rm c1 >/dev/null && docker rmi committed:1 >/dev/null"
check 'commit --change' '(5s|5000000000) .*APP=a b' bash -c "docker create --name c3 $image true >/dev/null && docker commit -a me -m why -c 'ENV APP=\"a b\"' -c 'HEALTHCHECK --interval=5s CMD true' c3 committed:2 >/dev/null && docker inspect -f '{{.Config.Healthcheck.Interval}} {{.Config.Env}}' committed:2; docker rm c3 >/dev/null; docker rmi committed:2 >/dev/null"
refuse 'commit --change RUN' 'run is not a valid change command' bash -c "docker create --name c4 $image true >/dev/null; docker commit -c 'RUN x' c4; status=\$?; docker rm c4 >/dev/null; exit \$status"
check export 'etc/debian_version' bash -c "docker create --name c2 $image true >/dev/null && docker export c2 | tar t; docker rm c2 >/dev/null"

check 'network create' '^[0-9a-f]{64}$' docker network create shop
check 'network ls' 'shop +bridge +local' docker network ls
check 'on the network' '' docker run -d --name one --network shop "$image" sleep 300
check 'by name' '1 received|one' docker run --rm --network shop "$image" getent hosts one
check 'connect' '' bash -c "docker run -d --name two $image sleep 300 && docker network connect shop two"
check 'connected' 'one' docker exec two getent hosts one
check 'back' 'two' docker exec one getent hosts two
refuse 'network in use' 'has active endpoints' docker network rm shop
check 'rm -f' '' docker rm -f one two
check 'network rm' 'shop' docker network rm shop
check 'volume create' 'v1' docker volume create v1
check 'volume ls' 'v1' docker volume ls
check 'volume rm' '' docker volume rm v1 data
check 'limits inside' '^50000$' docker run --rm --network none --cpus 0.5 "$image" sh -c 'cut -d" " -f1 /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true'
check 'ulimits inside' '^200$' docker run --rm --network none --ulimit nofile=100:200 "$image" sh -c 'ulimit -Hn'
check 'tmpfs options' 'size=1024k,mode=700' docker run --rm --network none --tmpfs /t:size=1m,mode=700 "$image" grep ' /t ' /proc/mounts
check 'no capability' 'CapEff:.0000000000000000' docker run --rm --network none --cap-drop ALL "$image" cat /proc/self/status
check 'host network, ports' 'Published ports are discarded' docker create --name ports --network host -p 80:80 "$image" true
docker rm ports >/dev/null 2>&1
refuse 'little memory' 'Minimum memory limit allowed is 6MB' docker create -m 1m "$image" true
refuse 'too many cpus' 'ange of CPUs is from 0.01 to' docker create --cpus 9999 "$image" true
refuse 'no such cpu' 'Requested CPUs are not available' docker create --cpuset-cpus 0-999 "$image" true
refuse 'sysctl of the host' 'is not in a separate kernel namespace|not allowed' docker run --rm --network none --sysctl kernel.panic=1 "$image" true
refuse 'no such link' 'could not get container for nobody' docker create --link nobody:x "$image" true
refuse 'a mode of volumes' 'field VolumeOptions must not be specified' docker create -v /tmp:/x:nocopy "$image" true
refuse 'no such tmpfs option' 'invalid tmpfs option' docker run --rm --network none --tmpfs /t:wings "$image" true
refuse 'storage size' 'storage-opt is' docker create --storage-opt size=1g "$image" true
check 'host network' 'lo' docker run --rm --network host "$image" cat /proc/net/dev
check 'no network' 'lo' docker run --rm --network none "$image" cat /proc/net/dev
check events 'container (create|start|die|destroy)' docker events --since 10m --until "$(date +%s)"
check 'system df' 'Images' docker system df

mkdir "$work/app"
cat >"$work/app/Dockerfile" <<DOCKERFILE
FROM $image
RUN mkdir /made && echo built > /made/here
COPY hello.sh /app/
WORKDIR /app
CMD ["sh", "hello.sh"]
DOCKERFILE
echo 'echo hello; cat /made/here' >"$work/app/hello.sh"
export DOCKER_BUILDKIT=0
check build 'Successfully tagged app:latest' docker build -t app "$work/app"
check 'run the build' 'built' docker run --rm app
said=$(docker build -t app "$work/app" 2>&1); [ "$(grep -c 'Using cache' <<<"$said")" = 4 ] && ok 'build again: all cache' || bad 'build again: all cache' "$said" 40
echo 'echo changed' >"$work/app/hello.sh"
said=$(docker build -t app "$work/app" 2>&1); [ "$(grep -c 'Using cache' <<<"$said")" = 1 ] && ok 'edit: from COPY on' || bad 'edit: from COPY on' "$said" 40
check 'run it' '^changed$' docker run --rm app
printf 'FROM %s\nRUNN x\n' "$image" >"$work/app/Dockerfile"
refuse 'typo' 'unknown instruction: RUNN' docker build "$work/app"
printf 'FROM %s\nRUN exit 3\n' "$image" >"$work/app/Dockerfile"
refuse 'failing step' 'returned a non-zero code: 3' docker build "$work/app"
printf 'FROM %s\nCOPY nothing /\n' "$image" >"$work/app/Dockerfile"
refuse 'missing file' 'COPY failed|file not found|not found' docker build "$work/app"
check 'clean up' '' docker rmi -f app
docker builder prune -af >/dev/null 2>&1
[ -z "$(docker ps -aq)" ] && ok 'no container is left' || bad 'no container is left' "$(docker ps -a)"

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
