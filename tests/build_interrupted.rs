//! Builds that are cut off: by a client that goes away, by kill -9 of the engine, by a full disk. Whatever the moment,
//! nothing is left of the attempt, what was finished stays in the cache, and the next build gives the right image.
//!
//! The kill walk takes a build once to count its steps (`kill_walk/tracer.rs`), then again for each chosen step:
//! `BOXYARD_KILL_WALK=all cargo test --test build_interrupted` takes all, `BOXYARD_KILL_WALK=every:10` each tenth, else
//! [`USUAL_STEPS`], spread evenly; `BOXYARD_KILL_WALK=17` one.

#![cfg(target_arch = "x86_64")] // the tracer knows that processor's registers
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod build_yard;
mod support;

#[path = "build_interrupted/verb.rs"]
mod verb;

#[allow(dead_code)] // no shim that runs is followed here
#[path = "kill_walk/tracer.rs"]
mod tracer;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::body_full;
use bollard::query_parameters::{BuildImageOptionsBuilder, PruneBuildOptionsBuilder, RemoveImageOptionsBuilder};
use build_yard::{Outcome, archive};
use futures_util::StreamExt;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::{PATIENCE, Yard};
use tracer::{Tracer, Victim};

/// At how many moments the usual run cuts a build off.
const USUAL_STEPS: usize = 6;

/// A build of everything that makes something: two stages, folders, files, a command, an archive, settings.
fn files(base: &str, variant: &str) -> Vec<(&'static str, String)> {
    let dockerfile = format!(
        "FROM {base} AS tool\nCOPY variant /\nRUN mkdir /out && cat /variant >/out/tool && echo built\n\
         FROM {base}\nWORKDIR /app/deep\nCOPY variant data/ ./\nCOPY --from=tool /out /out\n\
         RUN cat variant /out/tool >all && cat all\nENV done=1\nCMD [\"cat\", \"all\"]\n"
    );
    vec![
        ("Dockerfile", dockerfile),
        ("variant", format!("{variant}\n")),
        ("data/a", "a".repeat(20_000)),
        ("data/b/c", "c".repeat(20_000)),
    ]
}

fn borrowed<'a>(files: &'a [(&str, String)]) -> Vec<(&'a str, &'a str)> {
    files.iter().map(|(name, text)| (*name, text.as_str())).collect()
}

fn is_right(outcome: &Outcome, variant: &str) -> bool {
    is_right_text(&outcome.text, variant) && outcome.id.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_cancelled_at_any_moment_leaves_nothing() {
    let yard = build_yard::Yard::new().await;
    let files_of = |variant: &str| files("base", variant);
    let mut whole = yard.begin(&borrowed(&files_of("whole")), |_| {});
    let mut messages = 0;
    while whole.step().await {
        messages += 1;
    }
    for cut in 0..USUAL_STEPS {
        let variant = format!("cut{cut}");
        let files = files_of(&variant);
        let mut build = yard.begin(&borrowed(&files), |_| {});
        for _ in 0..cut * messages / USUAL_STEPS {
            build.step().await;
        }
        drop(build);
        yard.comes_to_rest().await;
        let again = yard.build(&borrowed(&files)).await.succeeded();
        let once_more = yard.build(&borrowed(&files)).await.succeeded();
        assert!(is_right(&again, &variant) || again.text.contains("Using cache"), "{}", again.text);
        assert_eq!((once_more.done().len(), &once_more.id), (0, &again.id), "the cache is kept");
    }
    yard.has_no_stray_layers().await;
}

/// A file system of its own at `path`, small enough to be filled; gone with this.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(c"size=48m")).unwrap();
        Self { at: at.to_owned() }
    }

    /// Takes all space but `left` bytes away, until the answer is dropped.
    fn with_only(&self, left: u64) -> Ballast {
        Ballast::leaving(&self.at, left)
    }
}

impl Ballast {
    fn leaving(disk: &Path, left: u64) -> Self {
        let path = disk.join("ballast");
        let state = rustix::fs::statvfs(disk).unwrap();
        let free = state.f_bavail * state.f_frsize;
        let file = fs::File::create(&path).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free.saturating_sub(left).max(1)).unwrap();
        Self { path }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

struct Ballast {
    path: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_build_and_nothing_is_left_of_it() {
    let folder = tempfile::Builder::new().prefix("build-").tempdir_in("/tmp").unwrap();
    let disk = SmallDisk::mount(&folder.path().join("root"));
    let yard = build_yard::Yard::within(folder).await;
    let mut failures = 0;
    // From "not even the context" over "the context, but not the first layer" to "enough".
    for (attempt, kilobytes) in [0, 8, 64, 96, 112, 128, 144, 160, 192, 256, 1024].into_iter().enumerate() {
        let variant = format!("attempt{attempt}");
        let files = files("base", &variant);
        let full = disk.with_only(kilobytes * 1024);
        let outcome = yard.begin(&borrowed(&files), |_| {}).ended().await;
        let is_whole = outcome.failure.is_none();
        if let Some(failure) = &outcome.failure {
            let text = format!("{}{}", failure.message, outcome.log);
            assert!(text.to_lowercase().contains("no space left on device"), "{failure:?}\n{}", outcome.text);
            failures += 1;
        }
        drop(full);
        yard.leaves_nothing_half_made();
        let again = yard.build(&borrowed(&files)).await.succeeded();
        assert!(again.done().is_empty() || !is_whole, "what was built is in the cache");
        let once_more = yard.build(&borrowed(&files)).await.succeeded();
        assert_eq!((once_more.done().len(), &once_more.id), (0, &again.id), "the cache is kept");
    }
    assert!(failures >= 2, "the disk was too large to be full");
    yard.has_no_stray_layers().await;
    // The yard's folder can only be removed where nothing is mounted in it.
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_at_any_step_of_a_build_leaves_nothing() {
    let mut yard = Yard::new();
    yard.image_of_programs("host:latest", &["sh", "cat", "mkdir", "echo"]).await;
    let count = killed_at(&mut yard, None).await;
    for step in chosen(count) {
        eprintln!("build:{step} of {count}");
        killed_at(&mut yard, Some(step)).await;
    }
    yard.leaves_nothing_behind().await;
}

/// The steps to be killed at, of `count`.
fn chosen(count: usize) -> Vec<usize> {
    match std::env::var("BOXYARD_KILL_WALK") {
        Ok(all) if all == "all" => (1..=count).collect(),
        Ok(some) => match some.strip_prefix("every:").and_then(|every| every.parse().ok()) {
            Some(every) => (1..=count).step_by(every).collect(),
            None => some.parse().into_iter().collect(),
        },
        Err(_) => (0..USUAL_STEPS).map(|index| 1 + index * (count - 1) / (USUAL_STEPS - 1)).collect(),
    }
}

/// One build with the engine killed before its step `at`, and all that must be so afterwards. Answers how many steps there
/// were.
async fn killed_at(yard: &mut Yard, at: Option<usize>) -> usize {
    let variant = format!("at{}", at.unwrap_or(0));
    let tracer = Tracer::follow(yard.engine_pid(), Victim::Engine, at);
    let first = tokio::time::timeout(PATIENCE, build(yard, &variant)).await.expect("it is answered or cut off");
    let steps = tracer.end().len();
    yard.kill_engine();
    yard.start_engine();
    is_bare(yard).await;
    let again = build(yard, &variant).await.expect("it is built");
    if let Ok(first) = first {
        assert_eq!(again.id, first.id, "what was answered is in the cache");
    }
    let once_more = build(yard, &variant).await.expect("it is built again");
    assert_eq!(once_more.id, again.id, "the cache is kept");
    assert!(!once_more.text.contains("Running in"), "{}", once_more.text);

    let docker = yard.docker();
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    docker.remove_image("made", Some(options), None).await.expect("the image is whole");
    docker
        .prune_build(Some(PruneBuildOptionsBuilder::default().all(true).build()))
        .await
        .expect("the cache is emptied");
    is_bare(yard).await;
    let layers = entries(&yard.root().join("layers"));
    assert_eq!(layers.len(), 1, "only the base's layer stays: {layers:?}");
    steps
}

/// A power loss in the fifth of a second in which a build's layers may not be on the disk yet: their mark holds the ID of the
/// boot that wrote them, and what they hold is anybody's guess.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_power_loss_left_half_written_is_known_and_goes() {
    let mut yard = Yard::new();
    yard.image_of_programs("host:latest", &["sh", "cat", "mkdir", "echo"]).await;
    let layers = yard.root().join("layers");
    let base = entries(&layers);
    let first = build(&yard, "power").await.expect("it is built");
    yard.stop_engine();
    let new: Vec<String> = entries(&layers).into_iter().filter(|path| !base.contains(path)).collect();
    assert!(new.len() >= 4, "{new:?}");
    let marks = |text: &str| new.iter().for_each(|layer| fs::write(Path::new(layer).join("unsynced"), text).unwrap());

    // The engine alone was gone: all is there, and settled later.
    marks(&fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap());
    yard.start_engine();
    let again = build(&yard, "power").await.expect("it is built again");
    assert!(again.id == first.id && !again.text.contains("Running in"), "{}", again.text);
    let is_settled = || new.iter().all(|layer| !Path::new(layer).join("unsynced").exists());
    let until = Instant::now() + PATIENCE;
    while !is_settled() {
        assert!(Instant::now() < until, "the marks stay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // The power was gone: files are cut off, records as well, and a mark may have lost its text.
    for text in ["00000000-0000-0000-0000-000000000000\n", ""] {
        yard.stop_engine();
        let new: Vec<String> = entries(&layers).into_iter().filter(|path| !base.contains(path)).collect();
        for (at, layer) in new.iter().enumerate() {
            let layer = Path::new(layer);
            fs::write(layer.join("unsynced"), text).unwrap();
            truncate_all(&layer.join("diff"));
            if at % 2 == 0 {
                fs::write(layer.join("layer.json"), "").unwrap();
            }
        }
        yard.start_engine();
        is_bare(&yard).await;
        assert_eq!(entries(&layers), base, "what was cut off is gone, what was whole stays");
        let docker = yard.docker();
        docker.inspect_image("made").await.expect_err("its image is gone, too");
        docker.inspect_image("host").await.expect("the base stays");
        let again = build(&yard, "power").await.expect("it is built anew");
        assert!(is_right_text(&again.text, "power"), "{}", again.text);
        let once_more = build(&yard, "power").await.expect("and is in the cache");
        assert!(once_more.id == again.id && !once_more.text.contains("Running in"), "{}", once_more.text);
    }
    yard.leaves_nothing_behind().await;
}

fn is_right_text(text: &str, variant: &str) -> bool {
    text.contains(&format!("\n{variant}\n{variant}\n"))
}

/// Takes their content from all files below `folder`.
fn truncate_all(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => truncate_all(&entry.path()),
            kind if kind.is_file() => fs::write(entry.path(), "").unwrap(),
            _ => {}
        }
    }
}

struct Built {
    id: String,
    text: String,
}

async fn build(yard: &Yard, variant: &str) -> Result<Built, String> {
    let files = files("host", variant);
    let context = body_full(archive(&borrowed(&files)).into());
    let docker = yard.docker();
    let options = BuildImageOptionsBuilder::default().t("made").build();
    let mut messages = Box::pin(docker.build_image(options, None, Some(context)));
    let mut built = Built { id: String::new(), text: String::new() };
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| error.to_string())?;
        built.text.push_str(&message.stream.unwrap_or_default());
        if let Some(error) = message.error_detail {
            return Err(format!("{error:?}\n{}", built.text));
        }
        built.id = message.aux.and_then(|image| image.id).unwrap_or(built.id);
    }
    if built.id.is_empty() { Err(format!("cut off: {}", built.text)) } else { Ok(built) }
}

/// Nothing is left of any step.
async fn is_bare(yard: &Yard) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = litter(yard);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "a step left behind: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn litter(yard: &Yard) -> Vec<String> {
    let here = yard.root().parent().unwrap().to_owned();
    let mut found = Vec::new();
    for folder in ["root/tmp", "root/trash", "root/containers", "run/builds"] {
        found.extend(entries(&here.join(folder)));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    // A test may have put the state root on a disk of its own.
    let disk = format!(" {} ", yard.root().display());
    let is_ours = |line: &&str| line.contains(&*here.to_string_lossy()) && !line.contains(&disk);
    found.extend(mounts.lines().filter(is_ours).map(str::to_owned));
    let parent = boxyard::engine::instance::Instance::new(&yard.root(), &yard.run_root()).cgroup_parent();
    let is_folder = |path: &String| Path::new(path).is_dir();
    found.extend(support::cgroups_named(&parent).iter().flat_map(|path| entries(Path::new(path))).filter(is_folder));
    found.extend(yard.links().into_iter().filter(|link| !link.starts_with("bx")));
    found.extend(support::processes_naming(&format!("{}/run/builds", here.display())));
    let records = ["images", "layers", "build/cache"].map(|room| entries(&yard.root().join(room)));
    found.extend(records.into_iter().flatten().filter(|path| path.contains("/.record-")));
    found
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()).collect()
}
