#!/usr/bin/env python3
"""Tells all of one image, as text to be compared: reads what `docker save IMAGE` writes.

    docker save IMAGE | tell-image.py [--since SECONDS] [--instructions]

Configuration, history, what each step put into its layer, and the files that come of it: kind, mode, owner, size, time,
links, extended attributes, whiteouts and a digest of the content. A time that is not before SECONDS (of the epoch) is told
as `new`: it is that of the build. The history is told without what BuildKit words differently today; with --instructions,
by the names of its instructions alone, as the classic builder has other words for all of it.

Left out is what differs without a meaning: who built the image and when (`created`, `container`, `docker_version` ...);
fields that are empty, since some write those and some don't; whether a step that changed nothing has an empty layer; the
times of folders, as whatever is made in one changes it; mode and time of whiteouts.
"""

import argparse
import hashlib
import io
import json
import re
import sys
import tarfile

KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.LNKTYPE: "file", tarfile.SYMTYPE: "link",
         tarfile.DIRTYPE: "folder", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "pipe"}


def instruction(created_by):
    """The name of the instruction that a history entry is of."""
    for pattern in (r"^.*#\(nop\) *([A-Z]+) ", r"^([A-Z]+) "):
        if found := re.match(pattern, created_by):
            return found.group(1)
    return "RUN" if re.match(r"^(\|\d+ .*)?/", created_by) else created_by


def as_today(created_by):
    """An entry of the history without what BuildKit words differently since 2021: EXPOSE is told as a list and not as Go's
    map, HEALTHCHECK with the names of its fields, ARG with its value, COPY and ADD with their flags."""
    name = instruction(created_by)
    if name == "EXPOSE":
        return " ".join(["EXPOSE", *sorted(re.findall(r"\d+/[a-z]+", created_by))])
    if name == "HEALTHCHECK":
        return name
    if name == "ARG":
        return " ".join(re.sub(r"=.*?(?= \w+=|$)", "", created_by).split())
    if name in ("COPY", "ADD"):
        return re.sub(r" --(parents|chown=\S+|chmod=\S+)", "", created_by)
    return created_by


def is_told(field, value, instructions):
    """Whether a field of the configuration counts."""
    # what BuildKit always writes, without a meaning: the classic builder does not
    if instructions and (field == "ArgsEscaped" or (field, value) == ("WorkingDir", "/")):
        return False
    # Image: a cache's note. Hostname: of the container that the classic builder committed.
    return value not in (None, "", [], {}, False) and field not in ("Image", "Hostname")


def entries_of(data):
    """The entries of a layer: path, entry, digest of its content, and the other names it has in this layer."""
    names, origins, found = {}, {}, {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            path = entry.name.removeprefix("./").strip("/")
            origin = path
            if entry.type == tarfile.LNKTYPE:
                linked = entry.linkname.removeprefix("./").strip("/")
                origin = origins.get(linked, linked)
            origins[path] = origin
            names.setdefault(origin, []).append(path)
            if origin == path:
                content = tar.extractfile(entry).read() if entry.isreg() else b""
                found[path] = (entry, hashlib.sha256(content).hexdigest()[:12])
    for origin, (entry, digest) in found.items():
        for path in names[origin]:
            yield path, entry, digest, sorted(set(names[origin]) - {path})


def told(entry, digest, others, since):
    """One entry in words."""
    words = [KINDS.get(entry.type, repr(entry.type)), f"{entry.mode & 0o7777:04o}", f"{entry.uid}:{entry.gid}"]
    if entry.isreg():
        words += [str(entry.size), digest]
    if entry.issym():
        words.append(f"-> {entry.linkname}")
    if entry.ischr() or entry.isblk():
        words.append(f"{entry.devmajor}:{entry.devminor}")
    if not entry.isdir():
        words.append("new" if entry.mtime >= since else f"at {int(entry.mtime)}")
    words += [f"{name.removeprefix('SCHILY.xattr.')}={value!r}" for name, value in sorted(entry.pax_headers.items())
              if name.startswith("SCHILY.xattr.")]
    return " ".join(words + (["also", *others] if others else []))


def apply(tree, path):
    """Takes a whiteout out of the tree. Answers whether it was one."""
    folder, _, name = path.rpartition("/")
    if not name.startswith(".wh."):
        return False
    gone = folder if name == ".wh..wh..opq" else f"{folder}/{name.removeprefix('.wh.')}".strip("/")
    for known in list(tree):
        if known.startswith(gone + "/") or (known == gone and name != ".wh..wh..opq"):
            del tree[known]
    return True


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--since", type=float, default=float("inf"))
    options.add_argument("--instructions", action="store_true")
    options = options.parse_args()
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as archive:
        def read(name):
            entry = archive.getmember(name)
            # one layer may be stored as a link to another's
            while entry.issym():
                name = "/".join(name.split("/")[:-1] + [entry.linkname])
                parts = []
                for part in name.split("/"):
                    parts = parts[:-1] if part == ".." else parts + [part]
                name = "/".join(parts)
                entry = archive.getmember(name)
            return archive.extractfile(entry).read()

        manifest = json.loads(read("manifest.json"))[0]
        image = json.loads(read(manifest["Config"]))
        config = image.get("config") or {}
        for name in sorted(config):
            if is_told(name, config[name], options.instructions):
                print("config", name, json.dumps(config[name], sort_keys=True, ensure_ascii=False))
        print("platform", *(image.get(name) or "-" for name in ("os", "architecture", "variant")))
        print("author", image.get("author") or "-")
        steps = []
        for step in image.get("history") or []:
            words = step.get("created_by", "")
            if options.instructions:
                words = instruction(words)
                # only the classic builder's history has it
                if words == "ONBUILD":
                    continue
                print("history", words)
            else:
                words = as_today(words)
                print("history", step.get("comment") or "-", step.get("author") or "-", words)
            if not step.get("empty_layer"):
                steps.append(words)
        tree, seen = {}, {}
        for words, name in zip(steps, manifest["Layers"], strict=True):
            seen[words] = seen.get(words, 0) + 1
            again = f" ({seen[words]})" if seen[words] > 1 else ""
            for path, entry, digest, others in sorted(entries_of(read(name)), key=lambda found: found[0]):
                if apply(tree, path):
                    print(f"step {words}{again}: gone {path}")
                    continue
                tree[path] = told(entry, digest, others, options.since)
                if not entry.isdir():
                    print(f"step {words}{again}: {path} {tree[path]}")
        # the engines put these into a step's root for its time, and some leave them there
        for path in ("etc", "dev", "proc", "sys"):
            tree.pop(path, None)
        for path in sorted(tree):
            print("file", path, tree[path])


main()
