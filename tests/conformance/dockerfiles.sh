#!/usr/bin/env bash
# The Dockerfiles of tests/dockerfiles built by two engines: do they give the same image?
#
#   tests/conformance/dockerfiles.sh BOXYARD-SOCKET DOCKERD-SOCKET [NAME...]
#
# The base images are made by Boxyard, of this machine's programs, and carried over by save and load. Then each folder
# whose Dockerfile names no `# syntax=` (dockerd's classic builder knows none of what comes with one) is built on both,
# and compared: configuration, history, files with modes and owners, and how the image runs. Needs bash, curl, tar and
# the docker CLI. What is known to differ, and why, stands in docs/compatibility.md; here it is named in `known`.
# Leaves the images on both engines.
set -u
boxyard=unix://$1 dockerd=unix://$2
shift 2
here=$(cd "$(dirname "$0")/../dockerfiles" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false
on() { local engine=$1; shift; DOCKER_HOST=$engine docker "$@" 2> >(grep -vE '^(DEPRECATED:|  +(BuildKit is currently|environment-variable))|^$' >&2); }

cp -r "$here" "$work/dockerfiles"
find "$work/dockerfiles" -type d -exec chmod 755 {} + -o -type f -perm -100 -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

programs='"sh","bash","basename","cat","chmod","chown","cp","cut","date","dirname","echo","env","false","find","grep","gzip","head","id","install","ln","ls","mkdir","mkfifo","mktemp","mv","readlink","rm","rmdir","sed","sleep","sort","stat","tail","tar","tee","test","touch","tr","true","uname","uniq","wc","which","xargs"'
curl -sf --unix-socket "${boxyard#unix://}" -H 'Content-Type: application/json' \
    -d "{\"Reference\":\"host:latest\",\"Programs\":[$programs],\"Cmd\":[\"sh\"]}" http://x/boxyard/images/from-host >/dev/null ||
    { echo 'no image of this machine could be made'; exit 1; }
tags=()
while read -r stage tag; do
    on "$boxyard" build -q --network none --target "$stage" -t "$tag" "$work/dockerfiles/bases" >/dev/null || exit 1
    tags+=("$tag")
done <"$here/bases/tags"
on "$boxyard" save "${tags[@]}" | on "$dockerd" load -q >/dev/null || exit 1

# tell ENGINE NAME: all of an image, in text.
tell() {
    local engine=$1 image=wild/$2 id field
    for field in User ExposedPorts Env Cmd Healthcheck ArgsEscaped Volumes WorkingDir Entrypoint OnBuild Labels StopSignal Shell; do
        echo "config $field $(on "$engine" image inspect --format "{{json .Config.$field}}" "$image" 2>&1)"
    done
    on "$engine" image inspect --format 'author {{json .Author}} os {{.Os}}/{{.Architecture}} layers {{len .RootFS.Layers}}' "$image"
    # BuildKit's words for an instruction are others than the classic builder's: which instructions they are is compared
    on "$engine" history --no-trunc --format '{{.CreatedBy}}' "$image" |
        sed -nE 's/^.*#\(nop\) *([A-Z]+) .*$/history \1/p; t; s/^([A-Z]+) .*$/history \1/p; t; s/^(\|[0-9]+ .*)?\/bin\/[a-z]*sh .*$/history RUN/p; t; s/^/history /p'
    id=$(on "$engine" create "$image" x)
    # what only a container's making puts there is no part of the image
    on "$engine" export "$id" | tar tv --numeric-owner --quoting-style=escape |
        awk '{ kind = substr($1, 1, 1); size = kind == "-" ? $3 : "-"; $3 = $4 = $5 = ""; print "file", $1, $2, size, $0 }' |
        awk '{ $5 = $6 = ""; print }' | sed 's/  */ /g' |
        grep -vE ' (\.dockerenv|dev/.*|proc/|sys/|etc/(hosts|hostname|resolv\.conf|mtab.*))$| drwxr-xr-x 0/0 - etc/$' | sort
    on "$engine" rm -v "$id" >/dev/null
    on "$engine" run --rm --network none "$image" >"$work/out" 2>"$work/err" </dev/null
    echo "exit $?"
    sed 's/^/out /' "$work/out"
    # which runtime was asked is told in front of what it says
    sed -E 's/^/err /; s/Error response from daemon: .*OCI runtime create failed: (runc create failed: )?/Error response from daemon: /' "$work/err"
}

# Those that differ for a reason which docs/compatibility.md gives.
known=(archive-rootfs nginx-spa)

passed=0 failed=0 left=0
for folder in "$work"/dockerfiles/*/; do
    name=$(basename "$folder")
    [ "$name" != bases ] || continue
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    cd "$folder/context" || exit 1
    flags=$(cat ../flags 2>/dev/null)
    case " $flags " in *' -f '*) file=${flags##*-f } file=${file%% *} ;; *) file=Dockerfile ;; esac
    if grep -qi '^# *syntax=' "$file"; then left=$((left + 1)); continue; fi
    for engine in "$boxyard" "$dockerd"; do
        # shellcheck disable=SC2086 # flags are words
        if ! said=$(on "$engine" build --network none -t "wild/$name" $flags . 2>&1); then
            echo "FAIL  $name does not build on $engine"
            tail -n 15 <<<"$said" | sed 's/^/      | /'
            failed=$((failed + 1))
            continue 2
        fi
    done
    tell "$boxyard" "$name" >"$work/ours"
    tell "$dockerd" "$name" >"$work/theirs"
    if differences=$(diff "$work/theirs" "$work/ours"); then
        echo "ok    $name"
        passed=$((passed + 1))
    else
        word=DIFF
        if [[ " ${known[*]} " == *" $name "* ]]; then word=known; else failed=$((failed + 1)); fi
        echo "$word  $name (< dockerd, > boxyard)"
        sed 's/^/      | /' <<<"$differences"
    fi
done
echo "$passed the same, $failed not, $left for BuildKit only, ${#known[@]} known to differ"
[ $failed = 0 ]
