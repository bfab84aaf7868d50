//! What a RUN has for its time only: mounts of all types, secrets and agents of the client, networks, rights, limits.
//!
//! Built by `boxyard build` against an engine of the test's own, so everything goes the way a person's build goes. What a
//! RUN sees it prints; what is left is looked for in the image, in the state root and among mounts and groups.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

#[path = "build_mounts/limits.rs"]
mod limits;
#[path = "build_mounts/userns.rs"]
mod userns;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{PATIENCE, Yard};
use tempfile::TempDir;

const PROGRAMS: [&str; 13] =
    ["sh", "cat", "ls", "stat", "sleep", "rm", "mkdir", "id", "env", "touch", "df", "mount", "hostname"];

/// An engine with an image `base`.
async fn yard() -> Yard {
    let yard = Yard::new();
    yard.image_of_programs("base", &PROGRAMS).await;
    yard
}

/// A folder with a Dockerfile and `files`.
fn context(dockerfile: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files.iter().chain([&("Dockerfile", dockerfile)]) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn command(yard: &Yard, context: &Path, flags: &[&str]) -> Command {
    let mut command = yard.command();
    command.args(["build", "--progress=plain"]).args(flags).arg(context).stdin(Stdio::null());
    command
}

/// What a build said.
struct Built {
    said: String,
    /// What its steps wrote, line by line.
    log: Vec<String>,
    succeeded: bool,
}

impl Built {
    fn of(output: &std::process::Output) -> Self {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // `#5 0.123 text`
        let written = |line: &str| {
            let (seconds, text) = line.strip_prefix('#')?.split_once(' ')?.1.split_once(' ')?;
            seconds.parse::<f64>().is_ok().then(|| text.to_owned())
        };
        let log = said.lines().filter_map(written).collect();
        Self { said, log, succeeded: output.status.success() }
    }

    fn wrote(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }

    /// It succeeded, and its steps wrote all of `texts`.
    fn wrote_all(self, texts: &[&str]) -> Self {
        assert!(self.succeeded, "{}", self.said);
        for text in texts {
            assert!(self.wrote(text), "{text:?} in\n{}", self.said);
        }
        self
    }

    /// It succeeded, and every step was cached.
    fn was_cached(self) -> Self {
        assert!(self.succeeded && self.log.is_empty() && self.said.contains("CACHED"), "{}", self.said);
        self
    }

    /// It failed, and said `text`.
    fn fails(self, text: &str) {
        assert!(!self.succeeded && self.said.contains(text), "a failure with {text:?}:\n{}", self.said);
    }
}

/// Builds with `flags`; RUN has no network unless they say so.
fn build(yard: &Yard, dockerfile: &str, files: &[(&str, &str)], flags: &[&str]) -> Built {
    let context = context(dockerfile, files);
    let mut all = vec!["--network=none"];
    all.extend(flags);
    Built::of(&command(yard, context.path(), &all).output().unwrap())
}

async fn layers(yard: &Yard, image: &str) -> usize {
    let image = yard.docker().inspect_image(image).await.unwrap();
    image.root_fs.unwrap().layers.unwrap().len()
}

/// Waits until `is_so`.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether any file below `folder` holds `needle`.
fn is_anywhere_below(folder: &Path, needle: &[u8]) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if let Some(found) = is_anywhere_below(&path, needle) {
                return Some(found);
            }
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            if content.windows(needle.len()).any(|window| window == needle) {
                return Some(path);
            }
        }
    }
    None
}

/// The data folders of all cache mounts.
fn caches(yard: &Yard) -> Vec<PathBuf> {
    let folders = fs::read_dir(yard.root().join("build/mounts")).into_iter().flatten().flatten();
    folders.map(|entry| entry.path().join("data")).collect()
}

fn is_in_a_cache(yard: &Yard, name: &str) -> bool {
    caches(yard).iter().any(|data| data.join(name).exists())
}

fn put_into_caches(yard: &Yard, name: &str) {
    caches(yard).iter().for_each(|data| fs::write(data.join(name), "").unwrap());
}

fn start(yard: &Yard, context: &Path) -> Child {
    start_with(yard, context, &["--network=none"])
}

fn start_with(yard: &Yard, context: &Path, flags: &[&str]) -> Child {
    let mut command = command(yard, context, flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Built {
    Built::of(&child.wait_with_output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_seen_by_their_step_and_by_nothing_else() {
    const SECRET: &str = "hush-5f1c9a7e-nobody-may-find-this";
    let yard = yard().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), SECRET).unwrap();
    let by_file = format!("id=token,src={}", file.path().display());
    let dockerfile = "FROM base\n\
        RUN --mount=type=secret,id=token --mount=type=secret,id=token,target=/etc/deep/key,mode=0440,uid=7,gid=8 \
            --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=nothing \
            [ \"$(cat /run/secrets/token)\" = \"$TOKEN\" ] && [ \"$(cat /etc/deep/key)\" = \"$TOKEN\" ] && echo same && \
            [ ! -e /run/secrets/nothing ] && stat -L -c 'key %a %u:%g' /run/secrets/token /etc/deep/key && \
            ! touch /run/secrets/token && echo ${#TOKEN} long\n\
        RUN [ ! -e /run/secrets ] && [ ! -e /etc/deep ] && [ -z \"$TOKEN\" ] && echo gone\n";
    let length = format!("{} long", SECRET.len());
    let flags = ["--secret", by_file.as_str(), "-t", "first"];
    let first =
        build(&yard, dockerfile, &[], &flags).wrote_all(&["same", "key 400 0:0", "key 440 7:8", &length, "gone"]);
    assert_eq!(layers(&yard, "first").await, layers(&yard, "base").await, "neither step changed a file");

    // From the environment; another content is no reason to run again.
    let context = context(dockerfile, &[]);
    let mut again =
        command(&yard, context.path(), &["--network=none", "--secret", "id=token,env=ITS_NAME", "-t", "second"]);
    Built::of(&again.env("ITS_NAME", "something else").output().unwrap()).was_cached();

    let history = yard.docker().image_history("first").await.unwrap();
    assert!(!format!("{history:?}").contains(SECRET) && !first.said.contains(SECRET));
    for place in [yard.root(), yard.run_root()] {
        assert_eq!(is_anywhere_below(&place, SECRET.as_bytes()), None);
    }

    let required = "FROM base\nRUN --mount=type=secret,id=token,required true\n";
    build(&yard, required, &[], &[])
        .fails("secret token: not found; give it with `boxyard build --secret id=token,src=FILE`");
    build(&yard, required, &[], &["--secret", "id=token,src=/nowhere"]).fails("/nowhere: no such file");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_outlives_its_builds_and_is_no_part_of_the_image() {
    let mut yard = yard().await;
    let dockerfile = |step: &str| {
        format!(
            "FROM base\nARG d=/root/.cache\n\
             RUN --mount=type=cache,target=$d/pip --mount=type=cache,id=owned,target=/owned,mode=0750,uid=3,gid=4 \
               [ -e /root/.cache/pip/wheel ] && echo there || echo fresh; echo w > /root/.cache/pip/wheel; \
               stat -c '%n %a %u:%g' /owned; : {step}\n\
             RUN --mount=type=cache,id=/root/.cache/pip,target=/ro,readonly cat /ro/wheel; ! touch /ro/x && echo unwritten; : {step}\n\
             RUN [ ! -e /root/.cache ] && [ ! -e /owned ] && [ ! -e /ro ] && echo gone\n"
        )
    };
    build(&yard, &dockerfile("1"), &[], &["-t", "one"]).wrote_all(&["fresh", "/owned 750 3:4", "unwritten", "gone"]);
    assert_eq!(layers(&yard, "one").await, layers(&yard, "base").await);
    yard.stop_engine();
    yard.start_engine();
    build(&yard, &dockerfile("2"), &[], &[]).wrote_all(&["there"]);

    // What it begins with comes from elsewhere; what it is, is then another cache.
    let seeded = "FROM base AS seed\nRUN mkdir -p /seed/in && echo sown > /seed/in/corn\n\
        FROM base\nRUN --mount=type=cache,target=/c,from=seed,source=/seed/in cat /c/corn && echo more > /c/more\n\
        RUN --mount=type=cache,target=/c,from=seed,source=/seed ls /c/in && echo end\n\
        RUN --mount=type=cache,target=/c [ ! -e /c/more ] && echo apart\n";
    build(&yard, seeded, &[], &[]).wrote_all(&["sown", "more", "apart"]);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uses_a_cache_at_the_same_time() {
    let yard = yard().await;
    // The first one is in its cache until somebody says go.
    let holder = |sharing: &str, id: &str| {
        context(
            &format!(
                "FROM base\nRUN --mount=type=cache,id={id},target=/c,sharing={sharing} \
                 touch /c/in-{id}; while [ ! -e /c/go-{id} ]; do sleep 0.05; done; rm /c/in-{id} /c/go-{id}\n"
            ),
            &[],
        )
    };

    let shared = holder("shared", "s");
    let first = start(&yard, shared.path());
    until("the first is in", || is_in_a_cache(&yard, "in-s"));
    build(&yard, "FROM base\nRUN --mount=type=cache,id=s,target=/c touch /c/go-s\n", &[], &[]).wrote_all(&[]);
    end(first).wrote_all(&[]);

    let private = holder("private", "p");
    let first = start(&yard, private.path());
    until("the first is in", || is_in_a_cache(&yard, "in-p"));
    let other = "FROM base\nRUN --mount=type=cache,id=p,target=/c,sharing=private [ ! -e /c/in-p ] && echo mine\n";
    build(&yard, other, &[], &[]).wrote_all(&["mine"]);
    put_into_caches(&yard, "go-p");
    end(first).wrote_all(&[]);

    let locked = holder("locked", "l");
    let first = start(&yard, locked.path());
    until("the first is in", || is_in_a_cache(&yard, "in-l"));
    let waiter =
        context("FROM base\nRUN --mount=type=cache,id=l,target=/c,sharing=locked [ ! -e /c/in-l ] && echo mine\n", &[]);
    let second = start(&yard, waiter.path());
    // A third one is told to stop while it waits.
    let mut third = start(&yard, waiter.path());
    let mut seen = String::new();
    let mut progress = third.stderr.take().unwrap();
    while !seen.contains("RUN --mount") {
        let mut piece = [0; 512];
        let count = progress.read(&mut piece).unwrap();
        assert!(count > 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(third.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(!third.wait().unwrap().success());
    put_into_caches(&yard, "go-l");
    end(first).wrote_all(&[]);
    end(second).wrote_all(&["mine"]);
    until("all builds have ended", || fs::read_dir(yard.root().join("tmp")).unwrap().next().is_none());
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binds_show_files_and_drop_what_is_written() {
    let yard = yard().await;
    let dockerfile = "FROM base AS tools\nRUN mkdir -p /opt/bin && echo tool > /opt/bin/t && echo top > /opt/top\nRUN rm /opt/top\n\
        FROM base\nWORKDIR /w\n\
        RUN --mount=target=/src --mount=type=bind,source=conf/a.txt,target=a.txt cat /src/conf/a.txt a.txt; \
            ! touch /src/x && echo read-only; stat -c 'owner %u' /src/conf/a.txt\n\
        RUN --mount=target=/src,rw rm /src/conf/a.txt && echo new > /src/conf/b.txt && ls /src/conf\n\
        RUN --mount=target=/src ls /src/conf && echo restored\n\
        RUN --mount=from=tools,target=/t --mount=from=tools,source=/opt/bin,target=/b --mount=from=tools,source=opt/bin/t,target=/one \
            cat /t/opt/bin/t /b/t /one; [ ! -e /t/opt/top ] && echo merged\n\
        RUN --mount=from=base,target=/i,rw --mount=type=tmpfs,target=/i/mem touch /i/file /i/mem/file && echo written\n\
        RUN --mount=from=tools,source=/opt,target=/o,rw touch /o/bin/x && ls /o/bin\n\
        RUN [ ! -e /src ] && [ ! -e /t ] && [ ! -e /i ] && [ ! -e a.txt ] && [ -z \"$(ls /w)\" ] && echo gone\n";
    let files = [("conf/a.txt", "content-a"), ("other", "1")];
    let said = build(&yard, dockerfile, &files, &["-t", "bound"]);
    said.wrote_all(&[
        "content-acontent-a",
        "read-only",
        "owner 0",
        "b.txt",
        "restored",
        "tool",
        "merged",
        "written",
        "gone",
    ]);
    // Only WORKDIR made a layer.
    assert_eq!(layers(&yard, "bound").await, layers(&yard, "base").await + 1);

    let small =
        "FROM base\nRUN --mount=source=conf,target=/c echo ran\nRUN --mount=type=bind,source=nope,target=/c true\n";
    build(&yard, small, &files, &[]).fails("\"/nope\": not found in the build context, where RUN --mount wants it");
    let small = "FROM base\nRUN --mount=source=conf,target=/c echo ran\n";
    build(&yard, small, &files, &[]).was_cached();
    build(&yard, small, &[files[0], ("other", "2")], &[]).was_cached();
    build(&yard, small, &[("conf/a.txt", "changed"), files[1]], &[]).wrote_all(&["ran"]);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_places_that_were_not_there() {
    let yard = yard().await;
    let dockerfile = "FROM base\n\
        RUN mkdir -p /gone/a /var/x\nRUN rm -r /gone && mkdir /gone && touch /var/x/keep\n\
        RUN --mount=type=tmpfs,target=/mem,size=8m --mount=type=tmpfs,target=/gone/a --mount=type=cache,target=/var/x/c \
            --mount=type=tmpfs,target=/ro,ro \
            stat -f -c 'blocks %b %S' /mem; touch /mem/x; ! touch /ro/x && echo read-only; stat -c 'mode %a' /mem; ls /var/x\n\
        RUN [ ! -e /mem ] && [ ! -e /gone/a ] && [ \"$(ls /var/x)\" = keep ] && echo gone\n\
        RUN --mount=type=tmpfs,target=/out/in echo kept > /out/file\n\
        RUN ls -A /out\n";
    let said = build(&yard, dockerfile, &[], &["-t", "memory"]);
    said.wrote_all(&["blocks 2048 4096", "read-only", "mode 1777", "keep", "gone", "file"]);
    // One for each step that changes files, and one in which /gone stands again as it was: a place had to be made in it.
    assert!(layers(&yard, "memory").await <= layers(&yard, "base").await + 4);
    build(&yard, "FROM base\nRUN --mount=type=tmpfs,target=/ true\n", &[], &[]).fails("invalid mount target \"/\"");
    build(&yard, "FROM base\nRUN --mount=type=tmpfs,target=/a,mode=0700 true\n", &[], &[])
        .fails("mode not allowed for \"tmpfs\" type mounts");
    yard.leaves_nothing_behind().await;
}

/// Answers every conversation with what it was told, in capitals.
fn agent(folder: &Path) -> PathBuf {
    let path = folder.join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut told = String::new();
                let _ = stream.read_to_string(&mut told);
                let _ = stream.write_all(told.to_uppercase().as_bytes());
            });
        }
    });
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_the_client_is_talked_to() {
    let yard = Yard::new();
    let has_perl = Command::new("perl").arg("-v").output().is_ok();
    let programs = PROGRAMS.iter().copied().chain(has_perl.then_some("perl"));
    yard.image_of_programs("base", &programs.collect::<Vec<_>>()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = agent(folder.path());
    let look = "FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=git,target=/tmp/git.sock,mode=0666,uid=5,gid=6 \
        stat -c '%n %F %a %u:%g' /run/buildkit/ssh_agent.0 /tmp/git.sock; echo at $SSH_AUTH_SOCK\n\
        RUN [ ! -e /run/buildkit ] && [ ! -e /tmp/git.sock ] && [ -z \"$SSH_AUTH_SOCK\" ] && echo gone\n";
    let both = [format!("default={}", socket.display()), format!("git={}", socket.display())];
    build(&yard, look, &[], &["--ssh", &both[0], "--ssh", &both[1], "-t", "looked"]).wrote_all(&[
        "/run/buildkit/ssh_agent.0 socket 600 0:0",
        "/tmp/git.sock socket 666 5:6",
        "at /run/buildkit/ssh_agent.0",
        "gone",
    ]);
    assert_eq!(layers(&yard, "looked").await, layers(&yard, "base").await);

    // Where perl is missing, nothing in the sandbox can connect to a socket.
    if has_perl {
        let talk = "FROM base\nRUN --mount=type=ssh,required <<EOF\n\
            perl -e 'for (1..3) { socket(S,1,1,0) or die; connect(S, pack(\"Sa*\",1,$ENV{SSH_AUTH_SOCK}.\"\\0\")) or die \"$!\";\
            syswrite S,\"sign $_\"; shutdown(S,1); print <S>, \"\\n\"; }'\nEOF\n";
        build(&yard, talk, &[], &["--ssh", &both[0]]).wrote_all(&["SIGN 1", "SIGN 2", "SIGN 3"]);
    }
    let required = "FROM base\nRUN --mount=type=ssh,required true\n";
    build(&yard, required, &[], &[])
        .fails("unset ssh forward key default; forward one with `boxyard build --ssh default`");
    build(&yard, "FROM base\nRUN --mount=type=ssh [ -z \"$SSH_AUTH_SOCK\" ] && echo none\n", &[], &[])
        .wrote_all(&["none"]);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_and_rights_are_asked_for_and_granted() {
    let yard = yard().await;
    let links = "FROM base\nRUN ls /sys/class/net | cat; echo\nRUN --network=none [ \"$(echo $(ls /sys/class/net))\" = lo ] && echo lonely\n";
    let context = context(links, &[]);
    let run = |flags: &[&str]| Built::of(&command(&yard, context.path(), flags).output().unwrap());
    run(&[]).wrote_all(&["eth0", "lonely"]);

    let host = "FROM base\nRUN --network=host echo on-host\n";
    build(&yard, host, &[], &[])
        .fails("RUN --network=host is not allowed: grant it with `boxyard build --allow network.host`");
    build(&yard, host, &[], &["--allow", "network.host"]).wrote_all(&["on-host"]);
    build(&yard, "FROM base\nRUN --network=bridge true\n", &[], &[]).fails("unsupported network mode \"bridge\"");

    let insecure = "FROM base\nRUN --security=insecure mkdir /m && mount -t tmpfs none /m && echo mounted\n";
    build(&yard, insecure, &[], &[]).fails("grant it with `boxyard build --allow security.insecure`");
    build(&yard, insecure, &[], &["--allow", "security.insecure"]).wrote_all(&["mounted"]);
    build(&yard, "FROM base\nRUN --security=sandbox mkdir /m && ! mount -t tmpfs none /m && echo held\n", &[], &[])
        .wrote_all(&["held"]);
    build(&yard, "FROM base\nRUN --device=vendor/gpu=all true\n", &[], &[])
        .fails("RUN --device=vendor/gpu=all is not supported");
    build(&yard, host, &[], &["--allow", "everything"]).fails("--allow everything is not supported");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hosts_and_proxies_reach_the_step() {
    let yard = yard().await;
    let dockerfile = "FROM base\n\
        RUN cat /etc/hosts; stat -f -c 'shm %b' /dev/shm; ulimit -n; echo groups; cat /proc/self/cgroup; env\n";
    let flags = [
        "--add-host=db.example:10.1.2.3",
        "--add-host=gateway.example:host-gateway",
        "--shm-size=4m",
        "--ulimit=nofile=123:456",
        "--memory=64m",
        "--cpu-shares=512",
        "--cgroup-parent=/boxyard-build-mounts-test",
        "--build-arg=HTTP_PROXY=http://proxy.example:3128",
        "-t=limited",
    ];
    build(&yard, dockerfile, &[], &flags).wrote_all(&[
        "10.1.2.3\tdb.example",
        "\tgateway.example",
        "shm 1024",
        "123",
        "HTTP_PROXY=http://proxy.example:3128",
        "http_proxy=http://proxy.example:3128",
    ]);
    let image = yard.docker().inspect_image("limited").await.unwrap();
    assert!(!format!("{image:?}").contains("proxy.example"));
    let history = yard.docker().image_history("limited").await.unwrap();
    assert!(!format!("{history:?}").contains("proxy.example"));
    // Limits, addresses and proxies are no reason to run again.
    build(&yard, dockerfile, &[], &["--memory=128m", "--build-arg=HTTP_PROXY=http://other.example"]).was_cached();

    // Declared, it is an argument like any other.
    let declared = "FROM base\nARG HTTP_PROXY\nRUN true\n";
    build(&yard, declared, &[], &["--build-arg=HTTP_PROXY=http://p.example", "-t=declared"]).wrote_all(&[]);
    let history = yard.docker().image_history("declared").await.unwrap();
    assert!(format!("{history:?}").contains("HTTP_PROXY=http://p.example"));

    let small = "FROM base\nRUN a=x; while true; do a=$a$a; done\n";
    build(&yard, small, &[], &["--memory=16m"]).fails("(the kernel killed it for want of memory)");
    boxyard::engine::runtime::Cgroups::detect(&boxyard::engine::runtime::HostFacts::read())
        .remove_if_empty("boxyard-build-mounts-test");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_a_base_mount_run_and_ask_for_leave_in_its_child() {
    let yard = yard().await;
    let base = "FROM base AS parts\nRUN echo part > /part\nFROM base\nONBUILD ARG who=nobody\nONBUILD ENV WHO=$who\n\
        ONBUILD COPY --chown=3:4 given /got/\nONBUILD RUN --mount=type=cache,id=t,target=/c --mount=type=secret,id=s,env=S \
            --mount=target=/src --network=none echo \"$WHO $S $(cat /src/given) $(echo $(ls /sys/class/net))\" && \
            stat -c '%u:%g' /got/given\n\
        ONBUILD RUN <<EOT\necho from a heredoc\nEOT\nONBUILD WORKDIR /in\nONBUILD USER 5\nRUN echo not yet\n";
    build(&yard, base, &[], &["-t", "trigger"]).wrote_all(&["not yet"]);
    let flags = ["--secret", "id=s,env=ITS_NAME", "--build-arg", "who=me", "-t", "child"];
    let folder = context("FROM trigger\nRUN id -u; echo \"in $PWD\"\n", &[("given", "gift")]);
    let child = command(&yard, folder.path(), &flags).env("ITS_NAME", "told").output().unwrap();
    Built::of(&child).wrote_all(&["me told gift lo", "3:4", "from a heredoc", "5", "in /in"]);
    // They are carried out once: the child's own children have none.
    build(&yard, "FROM child\nRUN echo free\n", &[], &[]).wrote_all(&["free"]);
    let image = yard.docker().inspect_image("child").await.unwrap();
    assert_eq!(image.config.unwrap().on_build.unwrap_or_default(), Vec::<String>::new());
    build(&yard, "FROM trigger\n", &[], &[]).fails("given");
    yard.leaves_nothing_behind().await;
}
