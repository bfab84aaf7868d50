//! What builds cost, each figure beside its budget, and beside Docker's daemon where that is installed.
//!
//! `cargo bench --bench build`, as root. It works in a network namespace and folders of its own. `BOXYARD_BENCH_RUNS=50`
//! for more runs than 20. The first row is the docker CLI's own part: the same call of a server that does nothing.

mod beside;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use beside::{BOXYARD, Dockerd, Outcome, Serve, is_installed, milliseconds, quiet, row};

/// How many instructions the long Dockerfile has.
const STEPS: usize = 20;
/// How many RUNs the overhead of one is found by.
const RUNS: usize = 10;
/// How many files the large context has.
const FILES: usize = 20_000;

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    if !is_installed("docker") {
        println!("the docker CLI is not installed");
        return Ok(());
    }
    // Before any thread is there: bridges and rules are made in here and go with us, those of dockerd too.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let folder = tempfile::Builder::new().prefix("boxyard-bench-").tempdir_in("/tmp")?;
    let runs = std::env::var("BOXYARD_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(20);
    let contexts = Contexts::make(&folder.path().join("contexts"))?;
    println!("{:<52} {:>9} {:>9} {:>9}   {:>9}", "milliseconds", "min", "p50", "p90", "budget");
    let mute = mute_server(&folder.path().join("mute.sock"))?;
    row("docker build, of a server that does nothing", rebuilds(&docker(&mute), &contexts.steps, runs)?, None);

    let serve = Serve::start(&folder.path().join("serve"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve.make_image())?;
    measure("docker", &docker(&serve.url()), &contexts, runs, Some(&BUDGETS))?;
    let boxyard = vec![BOXYARD.to_owned(), "-H".to_owned(), serve.url(), "build".to_owned(), "-q".to_owned()];
    measure("boxyard", &boxyard, &contexts, runs, Some(&BUDGETS))?;
    build(&boxyard, &contexts.large, &[])?;
    row(&format!("boxyard build, {FILES} unchanged files"), rebuilds(&boxyard, &contexts.large, runs)?, Some(150.0));
    match Dockerd::start(&folder.path().join("dockerd"))? {
        Some(dockerd) => measure("dockerd", &docker(&dockerd.url()), &contexts, runs.min(10), None)?,
        None => println!("dockerd is not installed"),
    }
    Ok(())
}

/// What the rows of one engine may cost.
struct Budgets {
    unchanged: f64,
    last_copy: f64,
    stages: f64,
    run_true: f64,
}

const BUDGETS: Budgets = Budgets { unchanged: 20.0, last_copy: 60.0, stages: 1300.0, run_true: 25.0 };

fn docker(url: &str) -> Vec<String> {
    ["docker", "-H", url, "build", "-q"].map(str::to_owned).to_vec()
}

fn measure(name: &str, words: &[String], contexts: &Contexts, runs: usize, budgets: Option<&Budgets>) -> Outcome<()> {
    build(words, &contexts.steps, &["-t", "bench"])?;
    let unchanged = rebuilds(words, &contexts.steps, runs)?;
    row(&format!("{name}: {STEPS} steps, no change"), unchanged, budgets.map(|it| it.unchanged));

    let mut samples = Vec::new();
    for number in 0..runs {
        fs::write(contexts.steps.join("last"), format!("{name} {number}"))?;
        samples.push(build(words, &contexts.steps, &["-t", "bench"])?);
    }
    row(&format!("{name}: {STEPS} steps, the last COPY's file changed"), samples, budgets.map(|it| it.last_copy));

    let bare = median(times(words, &contexts.no_run, runs)?);
    let overhead = times(words, &contexts.runs, runs.min(5))?.into_iter().map(|it| (it - bare) / RUNS as f64).collect();
    row(&format!("{name}: a step of `RUN true`"), overhead, budgets.map(|it| it.run_true));
    let stages = times(words, &contexts.stages, 3)?;
    row(&format!("{name}: 4 stages of `RUN sleep 1`"), stages, budgets.map(|it| it.stages));
    Ok(())
}

/// Builds again and again without the cache.
fn times(words: &[String], context: &Path, runs: usize) -> Outcome<Vec<f64>> {
    (0..runs).map(|_| build(words, context, &["--no-cache"])).collect()
}

/// Builds again and again with it.
fn rebuilds(words: &[String], context: &Path, runs: usize) -> Outcome<Vec<f64>> {
    (0..runs).map(|_| build(words, context, &["-t", "bench"])).collect()
}

fn build(words: &[String], context: &Path, more: &[&str]) -> Outcome<f64> {
    let [program, first @ ..] = words else { return Err("no program".into()) };
    let begun = Instant::now();
    quiet(Command::new(program).args(first).args(more).arg(context).env("DOCKER_BUILDKIT", "0"))?;
    Ok(milliseconds(begun))
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The folders that are built from.
struct Contexts {
    steps: PathBuf,
    stages: PathBuf,
    runs: PathBuf,
    no_run: PathBuf,
    large: PathBuf,
}

impl Contexts {
    fn make(folder: &Path) -> Outcome<Self> {
        let of = |name: &str, dockerfile: &str| -> Outcome<PathBuf> {
            let path = folder.join(name);
            fs::create_dir_all(&path)?;
            fs::write(path.join("Dockerfile"), dockerfile)?;
            Ok(path)
        };
        let from = "FROM host:latest\n";
        let settings: String = (0..STEPS - 7).map(|number| format!("ENV NAME{number}=value{number}\n")).collect();
        let steps = format!(
            "{from}WORKDIR /app\nCOPY first /app/\nRUN cat first >second\nRUN cat second >third\n{settings}LABEL a=b\nCOPY last /app/\n"
        );
        let stages: String = (0..4).map(|n| format!("{from}RUN sleep 1; echo {n} >/x\n")).collect();
        let named = (0..4).fold(stages, |text, n| text.replacen("latest\n", &format!("latest AS s{n}\n"), 1));
        let copies: String = (0..4).map(|n| format!("COPY --from=s{n} /x /x{n}\n")).collect();
        let contexts = Self {
            steps: of("steps", &steps)?,
            stages: of("stages", &format!("{named}{from}{copies}"))?,
            runs: of("runs", &format!("{from}{}", "RUN true\n".repeat(RUNS)))?,
            no_run: of("no_run", &format!("{from}LABEL a=b\n"))?,
            large: of("large", &format!("{from}COPY . /src/\n"))?,
        };
        for name in ["first", "last"] {
            fs::write(contexts.steps.join(name), name)?;
        }
        for number in 0..FILES {
            let path = contexts.large.join(format!("d{}", number / 200));
            fs::create_dir_all(&path)?;
            fs::write(path.join(format!("f{number}")), format!("file {number}\n").repeat(40))?;
        }
        Ok(contexts)
    }
}

/// A server that takes every call and answers at once.
fn mute_server(socket: &Path) -> Outcome<String> {
    let listener = UnixListener::bind(socket)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    Ok(format!("unix://{}", socket.display()))
}

fn answer_all(mut stream: UnixStream) -> std::io::Result<()> {
    let mut taken = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        let ends = |taken: &[u8], mark: &[u8]| taken.windows(mark.len()).position(|window| window == mark);
        while let Some(head) = ends(&taken, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&taken[..head]).to_ascii_lowercase();
            if text.contains("chunked") && !taken.ends_with(b"0\r\n\r\n") {
                break;
            }
            taken.clear();
            let body = "{\"stream\":\"sha256:0\\n\"}";
            let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.43\r\nOSType: linux\r\nContent-Type: application/json\r\n";
            stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => taken.extend_from_slice(&buffer[..count]),
        }
    }
}
