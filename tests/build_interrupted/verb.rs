//! The same for all that `boxyard build` brings in and takes out: a synced folder, downloads, a repository, mounts of every
//! kind, an exported folder, a cache that travels.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bollard::query_parameters::{PruneBuildOptionsBuilder, RemoveImageOptionsBuilder};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::Yard;
use crate::tracer::{Tracer, Victim};
use crate::{Ballast, USUAL_STEPS, chosen, entries, is_bare};

/// What no file of the engine's may ever hold.
const SECRET: &str = "hush-7c1e90-nobody-may-find-this";

/// What a build like this takes and gives.
struct Works {
    folder: tempfile::TempDir,
    url: String,
    has_git: bool,
}

impl Works {
    fn new(yard: &Yard) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["context/data", "served"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("secret"), SECRET).unwrap();
        fs::write(at("context/data/a"), "a".repeat(20_000)).unwrap();
        fs::write(at("served/fetched"), "f".repeat(20_000)).unwrap();
        let has_git = publish(&folder.path().join("served/it.git"));
        let url = serve(yard, at("served"));
        Self { folder, url, has_git }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Builds `variant`, and takes image, files and cache.
    fn build(&self, yard: &Yard, variant: &str) -> Output {
        self.command(yard, variant).output().unwrap()
    }

    fn command(&self, yard: &Yard, variant: &str) -> Command {
        let repository =
            if self.has_git { format!("ADD {}/it.git#main /repository\n", self.url) } else { String::new() };
        let dockerfile = format!(
            "FROM host AS tool\nADD {}/fetched /fetched\n{repository}\
             RUN --mount=type=cache,target=/cache --mount=type=secret,id=s --mount=type=tmpfs,target=/mem \
                 --mount=type=bind,source=data,target=/data \
                 cat /run/secrets/s >/mem/x && cat /data/a /fetched >/cache/x && cat /cache/x >/tool && echo it ran\n\
             FROM host\nCOPY --link variant /v\nCOPY --from=tool /tool /out/\n\
             RUN --mount=from=tool,target=/t,rw --mount=type=cache,id=l,sharing=locked,target=/cache \
                 cat /v >/t/scratch && cat /v /t/scratch >/all && cat /t/tool >>/all && echo it ran\n\
             CMD [\"cat\", \"/all\"]\n",
            self.url
        );
        fs::write(self.at("context/Dockerfile"), dockerfile).unwrap();
        fs::write(self.at("context/variant"), format!("{variant}\n")).unwrap();
        let mut command: Command = yard.command();
        command.args(["build", "--network=none", "--progress=plain", "--secret"]);
        command.arg(format!("id=s,src={}", self.at("secret").display()));
        command.args(["--output", "type=image,name=made", "--output"]);
        command.arg(format!("type=local,dest={}", self.at("out").display())).arg("--cache-to");
        command.arg(format!("type=local,dest={},mode=max", self.at("cache").display()));
        command.arg(self.at("context")).stdin(Stdio::null());
        command
    }

    /// What was exported is whole, or not there.
    fn exported(&self, variant: &str) -> bool {
        let Ok(all) = fs::read_to_string(self.at("out/all")) else {
            assert!(!self.at("out").exists() || entries(&self.at("out")).is_empty(), "a half-made folder");
            return false;
        };
        assert_eq!(all.len(), 2 * (variant.len() + 1) + 40_000, "a half-made file");
        all.starts_with(&format!("{variant}\n{variant}\na"))
    }

    fn forget(&self) {
        for path in ["out", "cache"] {
            let _ = fs::remove_dir_all(self.at(path));
        }
    }

    /// All that must be so after an attempt that was cut off.
    async fn goes_well(&self, yard: &Yard, variant: &str) {
        let again = self.build(yard, variant);
        assert!(again.status.success(), "{}", said(&again));
        assert!(self.exported(variant));
        let once_more = self.build(yard, variant);
        assert!(once_more.status.success() && !said(&once_more).contains(" it ran"), "{}", said(&once_more));
        let docker = yard.docker();
        let by_force = RemoveImageOptionsBuilder::default().force(true).build();
        docker.remove_image("made", Some(by_force), None).await.expect("the image is whole");
        let all = PruneBuildOptionsBuilder::default().all(true).build();
        docker.prune_build(Some(all)).await.expect("the cache is emptied");
        is_bare(yard).await;
        let layers = entries(&yard.root().join("layers"));
        assert_eq!(layers.len(), 1, "only the base's layer stays: {layers:?}");
        self.forget();
    }
}

/// What was said, without the Dockerfile's own lines.
fn said(output: &Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| !line.contains("RUN --mount")).map(|line| format!("{line}\n")).collect()
}

/// The file below `folder` that holds `needle`.
fn holder_of(folder: &Path, needle: &[u8]) -> Option<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().find_map(|entry| {
        let path = entry.path();
        match entry.file_type().ok()? {
            kind if kind.is_dir() => holder_of(&path, needle),
            kind if kind.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                memchr::memmem::find(&content, needle).map(|_| path)
            }
            _ => None,
        }
    })
}

/// A repository as a plain file server has it; false where there is no git.
fn publish(at: &Path) -> bool {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("file"), "from the repository").unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]);
        command.current_dir(work.path()).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.output().is_ok_and(|output| output.status.success())
    };
    let is_made = git(&["init", "--quiet", "--initial-branch=main"])
        && git(&["add", "--all"])
        && git(&["commit", "--quiet", "--message", "one"])
        && git(&["update-server-info"]);
    is_made && fs::rename(work.path().join(".git"), at).is_ok()
}

/// A server of the files in `folder`, for as long as the test's program lives.
fn serve(yard: &Yard, folder: PathBuf) -> String {
    let listener = yard.listen();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that was killed hears no answer.
            std::thread::spawn(move || drop(answer(stream, &folder)));
        }
    });
    url
}

fn answer(mut stream: std::net::TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_while_it_brings_in_and_takes_out_leaves_nothing() {
    let mut yard = Yard::new();
    yard.image_of_programs("host:latest", &["sh", "cat", "mkdir", "echo"]).await;
    let works = Works::new(&yard);
    let count = killed_at(&mut yard, &works, None).await;
    for step in chosen(count) {
        eprintln!("verb:{step} of {count}");
        killed_at(&mut yard, &works, Some(step)).await;
    }
    yard.leaves_nothing_behind().await;
}

async fn killed_at(yard: &mut Yard, works: &Works, at: Option<usize>) -> usize {
    let variant = format!("at{}", at.unwrap_or(0));
    let tracer = Tracer::follow(yard.engine_pid(), Victim::Engine, at);
    let first = works.build(yard, &variant);
    let steps = tracer.end().len();
    if first.status.success() {
        assert!(works.exported(&variant));
    } else {
        works.exported(&variant);
    }
    yard.kill_engine();
    for room in [yard.root(), yard.run_root()] {
        assert_eq!(holder_of(&room, SECRET.as_bytes()), None, "the secret is on the disk");
    }
    yard.start_engine();
    is_bare(yard).await;
    works.goes_well(yard, &variant).await;
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_interrupted_while_it_brings_in_and_takes_out_leaves_nothing() {
    let yard = Yard::new();
    yard.image_of_programs("host:latest", &["sh", "cat", "mkdir", "echo"]).await;
    let works = Works::new(&yard);
    let lines = said(&works.build(&yard, "whole")).lines().count();
    works.goes_well(&yard, "whole").await;
    for cut in 0..USUAL_STEPS {
        let variant = format!("cut{cut}");
        let mut command = works.command(&yard, &variant);
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut progress = BufReader::new(build.stderr.take().unwrap());
        for _ in 0..=cut * lines / USUAL_STEPS {
            progress.read_line(&mut String::new()).unwrap();
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(build.id()).unwrap());
        // It may have ended by itself meanwhile.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let mut rest = String::new();
        progress.read_to_string(&mut rest).unwrap();
        let status = build.wait().unwrap();
        assert!(status.success() || status.code() == Some(130), "{status}: {rest}");
        works.exported(&variant);
        is_bare(&yard).await;
        works.goes_well(&yard, &variant).await;
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_while_it_brings_in_and_takes_out_leaves_nothing() {
    let mut yard = Yard::new();
    yard.stop_engine();
    let root = yard.root();
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"size=64m")).unwrap();
    yard.start_engine();
    yard.image_of_programs("host:latest", &["sh", "cat", "mkdir", "echo"]).await;
    let works = Works::new(&yard);
    // Once as it goes well, so that the room for everything is known to be there.
    works.goes_well(&yard, "well").await;
    let mut failures = 0;
    for (attempt, kilobytes) in [0, 16, 64, 128, 256, 512, 2048].into_iter().enumerate() {
        let variant = format!("attempt{attempt}");
        let full = Ballast::leaving(&root, kilobytes * 1024);
        let output = works.build(&yard, &variant);
        drop(full);
        works.exported(&variant);
        if !output.status.success() {
            let text = said(&output).to_lowercase();
            // The second is git's way to say it.
            assert!(text.contains("no space left on device") || text.contains("out of diskspace"), "{text}");
            failures += 1;
        }
        is_bare(&yard).await;
        works.goes_well(&yard, &variant).await;
    }
    assert!(failures >= 2, "the disk was too large to be full");
    yard.stop_engine();
    unmount(&root, UnmountFlags::DETACH).unwrap();
    yard.start_engine();
    yard.leaves_nothing_behind().await;
}
