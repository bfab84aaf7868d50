#!/usr/bin/env bash
# The Dockerfiles of tests/dockerfiles built by Boxyard and by both builders of a dockerd: do they give the same image?
#
#   tests/conformance/dockerfiles.sh BOXYARD-SOCKET DOCKERD-SOCKET [NAME...]
#
# The base images are made by Boxyard, of this machine's programs, and carried over by save and load. Then each folder is
# built four times: by `docker build` on Boxyard and on the dockerd's classic builder, and by `boxyard build` and the
# BuildKit in the dockerd. Each pair is compared (tell-image.py): configuration, history, every layer's entries with mode,
# owner, time, links, attributes and content, and how the image runs. What a builder does not know, because it came later
# (dockerd 20.10: --link, heredocs, --network ...), is counted apart. What is known to differ, and why, stands in
# docs/compatibility.md; here it is named in `known`.
#
# Needs bash, curl, python3, ssh-agent and the docker CLI. $BOXYARD is the program (boxyard), $DOCKER a docker CLI that
# talks to BuildKit by itself, as those before 23.0 do (/usr/bin/docker). Leaves the images on both engines.
set -u
boxyard=unix://$1 dockerd=unix://$2
shift 2
program=$(command -v "${BOXYARD:-boxyard}") || { echo "no program boxyard: name it in \$BOXYARD"; exit 1; }
docker=${DOCKER:-/usr/bin/docker}
here=$(cd "$(dirname "$0")/../dockerfiles" && pwd)
tell_image=$(cd "$(dirname "$0")" && pwd)/tell-image.py
work=$(mktemp -d)
eval "$(ssh-agent)" >/dev/null
trap 'rm -rf "$work"; kill "$SSH_AGENT_PID"' EXIT
export DOCKER_CLI_HINTS=false
# on ENGINE WORD...: the docker CLI there, with the classic builder
on() { local engine=$1; shift; DOCKER_BUILDKIT=0 DOCKER_HOST=$engine "$docker" "$@"; }

cp -r "$here" "$work/dockerfiles"
find "$work/dockerfiles" -type d -exec chmod 755 {} + -o -type f -perm -100 -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
# A time that tells a copied one from one of the build
find "$work/dockerfiles" -exec touch -h -d '2024-02-29 12:00:00 UTC' {} +

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
since=$(date +%s)

# build BUILDER NAME FILE FLAG...: builds the folder this stands in, as wild/NAME; what is said goes to $work/said
build() {
    local builder=$1 name=$2 file=$3
    shift 3
    set -- --no-cache --network none -t "wild/$name" "$@"
    case $builder in
        ours-classic) on "$boxyard" build "$@" . ;;
        ours) DOCKER_HOST=$boxyard "$program" build --progress=plain "$@" . ;;
        classic) on "$dockerd" build "$@" . ;;
        # the image that `syntax` names cannot be had here
        buildkit)
            sed '/^# *syntax=/d' "$file" >"$work/Dockerfile"
            [ ! -e "$file.dockerignore" ] || cp "$file.dockerignore" "$work/Dockerfile.dockerignore"
            DOCKER_HOST=$dockerd DOCKER_BUILDKIT=1 "$docker" build --progress=plain "$@" -f "$work/Dockerfile" . ;;
    esac >"$work/said" 2>&1
}

# tell ENGINE NAME FLAG...: all of an image, in text
tell() {
    local engine=$1 image=wild/$2
    shift 2
    on "$engine" save "$image" | python3 "$tell_image" --since "$since" "$@"
    on "$engine" run --rm --network none "$image" >"$work/out" 2>"$work/err" </dev/null
    echo "exit $?"
    sed 's/^/out /' "$work/out"
    # which runtime was asked is told in front of what it says; whether the client's wait was still open is a race
    sed -E '/msg="error waiting for container: context canceled"/d; s/^/err /; s/No command specified/no command specified/
        s/Error response from daemon: .*OCI runtime create failed: (runc create failed: )?/Error response from daemon: /' "$work/err"
}

# Those that differ for a reason which docs/compatibility.md gives, as BUILDER/NAME.
known=(classic/archive-rootfs classic/nginx-spa buildkit/archive-rootfs buildkit/apt-cache buildkit/bind-from-stage
    buildkit/python-wheels)
# What dockerd's builders do not know, in their words.
unknown='Unknown flag|unknown flag|unknown instruction|unexpected key|the --[a-z]* option requires BuildKit|COPY --from=.* invalid'

# compare BUILDER OURS NAME: builds on both sides and tells what differs
passed=0 failed=0 left=0 differ=0
compare() {
    local builder=$1 ours=$2 name=$3 file=$4 flags=(--instructions) differences
    shift 4
    [ "$builder" = classic ] || flags=()
    if ! build "$builder" "$name" "$file" "$@"; then
        if grep -qE "$unknown" "$work/said"; then
            echo "left  $builder/$name: $(grep -E "$unknown" "$work/said" | head -n 1)"
            left=$((left + 1))
        elif [[ " ${known[*]} " == *" $builder/$name "* ]]; then
            echo "known $builder/$name does not build there"
            differ=$((differ + 1))
        else
            echo "FAIL  $builder/$name does not build there"
            tail -n 15 "$work/said" | sed 's/^/      | /'
            failed=$((failed + 1))
        fi
        return
    fi
    tell "$dockerd" "$name" "${flags[@]}" >"$work/theirs"
    if ! build "$ours" "$name" "$file" "$@"; then
        echo "FAIL  $builder/$name does not build here"
        tail -n 15 "$work/said" | sed 's/^/      | /'
        failed=$((failed + 1))
        return
    fi
    tell "$boxyard" "$name" "${flags[@]}" >"$work/ours"
    if differences=$(diff "$work/theirs" "$work/ours"); then
        echo "ok    $builder/$name"
        passed=$((passed + 1))
    elif [[ " ${known[*]} " == *" $builder/$name "* ]]; then
        echo "known $builder/$name (< dockerd, > boxyard)"
        sed 's/^/      | /' <<<"$differences"
        differ=$((differ + 1))
    else
        echo "DIFF  $builder/$name (< dockerd, > boxyard)"
        sed 's/^/      | /' <<<"$differences"
        failed=$((failed + 1))
    fi
}

for folder in "$work"/dockerfiles/*/; do
    name=$(basename "$folder")
    [ "$name" != bases ] || continue
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    cd "$folder/context" || exit 1
    flags=$(cat ../flags 2>/dev/null)
    case " $flags " in *' -f '*) file=${flags##*-f } file=${file%% *} ;; *) file=Dockerfile ;; esac
    # shellcheck disable=SC2086 # flags are words
    {
        # a file that says what it is written for is not for the classic builder
        grep -qi '^# *syntax=' "$file" || compare classic ours-classic "$name" "$file" $flags
        compare buildkit ours "$name" "$file" $flags
    }
done
echo "$passed the same, $failed not, $differ known to differ, $left with what dockerd's builder does not know"
[ $failed = 0 ]
