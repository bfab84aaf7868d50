//! The same under `--userns-remap`: the ids that a step sees are its own, and those on the disk are the same ones.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::support::Yard;
use crate::{PROGRAMS, build, caches, command, context};

#[tokio::test(flavor = "multi_thread")]
async fn remapped_steps_see_every_mount_with_its_owner_and_mode() {
    let yard = Yard::serving(&["--userns-remap", "300000+65536"]);
    yard.image_of_programs("base", &[&PROGRAMS[..], &["chown", "chmod"]].concat()).await;
    let tell = "stat -L -c '%n %a %u:%g'";
    let dockerfile = format!(
        "FROM base AS tools\n\
         RUN mkdir /t && echo tool >/t/f && chown 5:6 /t/f && chmod 640 /t/f\n\
         FROM base\n\
         COPY conf /copied/\nCOPY --chown=11:12 --chmod=750 conf /owned/\nCOPY --from=tools /t /staged\n\
         COPY --link --chown=9:9 conf /linked/\nADD --chown=3:4 sub /added/\n\
         RUN cat /proc/self/uid_map; id -u; {tell} /copied/conf /owned /owned/conf /staged/f /linked/conf /added /added/x\n\
         RUN --mount=target=/src {tell} /src /src/conf; ! touch /src/y && echo read-only\n\
         RUN --mount=target=/src,rw touch /src/y && rm /src/conf && chown 4:4 /src/sub && {tell} /src/y /src/sub\n\
         RUN --mount=from=tools,source=/t,target=/part,rw chown 44:45 /part/f && touch /part/g && {tell} /part /part/f /part/g\n\
         RUN --mount=type=cache,id=a,target=/k --mount=type=cache,id=o,target=/o,uid=13,gid=14,mode=0700 \
             touch /k/f && chown 21:22 /k/f && {tell} /k /o /k/f\n\
         RUN --mount=type=cache,id=s,from=tools,source=/t,target=/seeded {tell} /seeded/f && touch /seeded/g\n\
         RUN --mount=type=tmpfs,target=/m {tell} /m && touch /m/x\n\
         RUN --mount=type=secret,id=s --mount=type=secret,id=s,target=/x,uid=7,gid=8,mode=0440 --mount=type=secret,id=s,env=S \
             {tell} /run/secrets/s /x && [ \"$(cat /x)$(cat /run/secrets/s)\" = \"$S$S\" ] && echo same ${{#S}}\n\
         RUN --mount=type=ssh,uid=6,gid=7,mode=0660 {tell} $SSH_AUTH_SOCK\n\
         USER 1000:1001\n\
         RUN --mount=type=cache,id=u,target=/mine,uid=1000,gid=1001 --mount=type=secret,id=s,target=/mysecret,uid=1000 \
             --mount=type=tmpfs,target=/mytmp touch /mine/z /mytmp/z && cat /mysecret >/dev/null && {tell} /mine/z /mytmp/z && \
             ! touch /copied/z && ! touch /run/z && echo held\n"
    );
    let folder = context(&dockerfile, &[("conf", "1"), ("sub/x", "2")]);
    let places = tempfile::tempdir().unwrap();
    let (secret, agent) = (places.path().join("secret"), places.path().join("agent"));
    fs::write(&secret, "hush").unwrap();
    let _agent = UnixListener::bind(&agent).unwrap();
    let by_file = format!("id=s,src={}", secret.display());
    let flags = ["--network=none", "--secret", &by_file, "--ssh", "default", "-t", "made"];
    let output = command(&yard, folder.path(), &flags).env("SSH_AUTH_SOCK", &agent).output().unwrap();
    crate::Built::of(&output).wrote_all(&[
        "0     300000      65536",
        "/copied/conf 644 0:0",
        "/owned 750 11:12",
        "/owned/conf 750 11:12",
        "/staged/f 640 5:6",
        "/linked/conf 644 9:9",
        "/added 755 3:4",
        "/added/x 644 3:4",
        "/src 755 0:0",
        "/src/conf 644 0:0",
        "read-only",
        "/src/y 644 0:0",
        "/src/sub 755 4:4",
        "/part 755 0:0",
        "/part/f 640 44:45",
        "/part/g 644 0:0",
        "/k 755 0:0",
        "/o 700 13:14",
        "/k/f 644 21:22",
        "/seeded/f 640 5:6",
        "/m 1777 0:0",
        "/run/secrets/s 400 0:0",
        "/x 440 7:8",
        "same 4",
        "/run/buildkit/ssh_agent.0 660 6:7",
        "/mine/z 644 1000:1001",
        "/mytmp/z 644 1000:1001",
        "held",
    ]);
    // On the disk the ids are the containers' own, so that the same cache serves with and without.
    let cache = caches(&yard).into_iter().find(|data| data.join("f").exists() && !data.join("t").exists()).unwrap();
    let owner = fs::metadata(cache.join("f")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (21, 22));

    let host = "FROM base\nRUN --network=host true\n";
    build(&yard, host, &[], &["--allow", "network.host"])
        .fails("cannot share the host's network namespace when user namespaces are enabled");
    yard.leaves_nothing_behind().await;
}
