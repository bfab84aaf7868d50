//! What containers cost: each figure that the engine promises, beside runc and Docker's daemon in the same run.
//!
//! `cargo bench --bench engine`, as root. Everything happens in a network namespace and folders of the bench's own,
//! which go with it. Wall time on a shared machine is noisy, so every row has minimum, median and 90th percentile of
//! `BOXYARD_BENCH_RUNS` runs (40 unless set); the budget is the median's. The Docker CLI's rows hold the CLI's own time.

mod beside;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use beside::{BOXYARD, Dockerd, IMAGE, Outcome, Serve, is_installed, milliseconds, quiet, row};
use boxyard::client::Docker;
use boxyard::client::models::{ContainerCreateBody, HostConfig};
use boxyard::engine::container::{RemoveContainer, WaitCondition};
use boxyard::engine::image::HostImage;
use boxyard::engine::instance::Instance;
use boxyard::engine::oci::CapSet;
use boxyard::engine::oci::seccomp::Filter;
use boxyard::engine::{Engine, EngineOptions};

/// How many containers run for the engine's memory and for its lists.
const CROWD: usize = 50;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // The in-process engine runs its shims from this very program.
    if words.next().is_some_and(|role| role == "shim") {
        return boxyard::engine::shim::process::main(words);
    }
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
    // Before any thread is there: bridges and rules are made in here and go with us, those of dockerd too.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let folder = tempfile::Builder::new().prefix("boxyard-bench-").tempdir_in("/tmp")?;
    let runs = std::env::var("BOXYARD_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(40);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{:<52} {:>9} {:>9} {:>9}   {:>9}", "milliseconds", "min", "p50", "p90", "budget");
    seccomp(runs)?;
    runtime.block_on(in_process(&folder.path().join("engine"), runs))?;
    bundles(&folder.path().join("bundle"), runs)?;
    let serve = Serve::start(&folder.path().join("serve"))?;
    runtime.block_on(serve.make_image())?;
    docker_run(&serve.url(), "boxyard", runs, [Some(35.0), Some(45.0)])?;
    match Dockerd::start(&folder.path().join("dockerd"))? {
        Some(dockerd) => docker_run(&dockerd.url(), "dockerd", runs.min(15), [None, None])?,
        None => println!("dockerd is not installed"),
    }
    runtime.block_on(crowd(&serve, runs))?;
    Ok(())
}

fn figure(name: &str, value: f64, unit: &str, budget: f64) {
    let verdict = if value <= budget { "met" } else { "MISSED" };
    println!("{name:<52} {value:>9.2} {unit:<19}   {budget:>9.2} {verdict}");
}

/// Loading the default filter, each time into a new thread, whose filter goes with it.
fn seccomp(runs: usize) -> Outcome<()> {
    let filter = Filter::default_for(CapSet::docker_default(), (6, 1));
    let mut samples = Vec::new();
    for _ in 0..runs {
        let instructions = filter.instructions().to_vec();
        let load = move || {
            let begun = Instant::now();
            boxyard::sys::rights::load_seccomp_filter(&instructions).map(|()| milliseconds(begun))
        };
        samples.push(std::thread::spawn(load).join().map_err(|_| "the thread broke down")??);
    }
    row(&format!("seccomp: load ({} instructions)", filter.instructions().len()), samples, Some(0.1));
    Ok(())
}

/// Create, start, wait, remove through the engine's door: no socket, no CLI.
async fn in_process(folder: &Path, runs: usize) -> Outcome<()> {
    let instance = Instance::new(&folder.join("root"), &folder.join("run"));
    let engine =
        Engine::open(EngineOptions { instance, runtimes: Default::default(), build_cache: Default::default() }).await?;
    let programs = vec!["sh".to_owned(), "true".to_owned()];
    engine.images().from_host(HostImage { reference: Some(IMAGE.parse()?), programs, ..HostImage::default() }).await?;
    for (network, budget) in [("none", 10.0), ("bridge", 15.0)] {
        let mut samples = Vec::new();
        let before = cpu_time();
        for _ in 0..runs {
            let begun = Instant::now();
            let id = engine.containers().create(None, body(network, &["/bin/true"]), None).await?.id;
            let ended = engine.containers().wait(&id, WaitCondition::NextExit).await?;
            engine.containers().start(&id).await?;
            ended.await;
            engine.containers().remove(&id, RemoveContainer::default()).await?;
            samples.push(milliseconds(begun));
        }
        let used = (cpu_time() - before).as_secs_f64() * 1e3 / runs as f64;
        row(&format!("engine: create+start+wait+remove, {network}"), samples, Some(budget));
        println!("{:<52} {used:>9.2} ms a run", "        processor time, of engine and shim");
    }
    engine.close().await;
    Ok(())
}

fn body(network: &str, cmd: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(cmd.iter().map(|word| (*word).to_owned()).collect()),
        host_config: Some(HostConfig { network_mode: Some(network.to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    }
}

/// Processor time of this process and of its children that have ended.
fn cpu_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .flat_map(|usage| [usage.user_time(), usage.system_time()])
        .map(|time| Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)))
        .sum()
}

/// `run` of one prepared bundle by runc and by us.
fn bundles(folder: &Path, runs: usize) -> Outcome<()> {
    if !is_installed("runc") {
        println!("runc is not installed");
        return Ok(());
    }
    fs::create_dir_all(folder.join("rootfs/bin"))?;
    fs::copy("/bin/busybox", folder.join("rootfs/bin/true"))?;
    quiet(Command::new("runc").arg("spec").current_dir(folder))?;
    let config = fs::read_to_string(folder.join("config.json"))?;
    let config = config.replace("\"terminal\": true", "\"terminal\": false").replace("\"sh\"", "\"/bin/true\"");
    fs::write(folder.join("config.json"), config)?;
    // Installed, as runc is: what a linker wrote lies in the page cache in single pages, a copied file in large pieces, and
    // an exec maps and unmaps those in a fraction of the time.
    let installed = folder.join("boxyard");
    fs::copy(BOXYARD, &installed)?;
    let measure = |program: &Path, words: &[&str], state: &str| -> Outcome<Vec<f64>> {
        let mut samples = Vec::new();
        for number in 0..runs {
            let begun = Instant::now();
            let mut command = Command::new(program);
            command.args(words).arg("--root").arg(folder.join(state)).args(["run", "--bundle"]).arg(folder);
            quiet(command.arg(format!("bench{number}")))?;
            samples.push(milliseconds(begun));
        }
        Ok(samples)
    };
    let mut runc = measure(Path::new("runc"), &[], "runc")?;
    runc.sort_by(f64::total_cmp);
    let third = runc.get(runc.len() / 2).map(|median| median / 3.0);
    row("runc run of a prepared bundle", runc, None);
    match measure(&installed, &["oci"], "oci") {
        Ok(samples) => row("boxyard oci run of the same bundle", samples, third),
        Err(error) => println!("boxyard oci run of the same bundle: {error}"),
    }
    Ok(())
}

/// `docker run --rm` by the real CLI.
fn docker_run(url: &str, engine: &str, runs: usize, budgets: [Option<f64>; 2]) -> Outcome<()> {
    if !is_installed("docker") {
        println!("the docker CLI is not installed");
        return Ok(());
    }
    for (network, budget) in ["none", "bridge"].into_iter().zip(budgets) {
        let mut samples = Vec::new();
        for _ in 0..runs {
            let begun = Instant::now();
            quiet(Command::new("docker").args(["-H", url, "run", "--rm", "--network", network, IMAGE, "/bin/true"]))?;
            samples.push(milliseconds(begun));
        }
        row(&format!("docker run --rm, {network}, on {engine}"), samples, budget);
    }
    Ok(())
}

/// Memory and lists with many containers running.
async fn crowd(serve: &Serve, runs: usize) -> Outcome<()> {
    let docker = Docker::connect_with_unix(&serve.url())?;
    let mut ids = Vec::new();
    for _ in 0..CROWD {
        let id = docker.create_container(None, body("bridge", &["/bin/sleep", "600"])).await?.id;
        docker.start_container(&id, None).await?;
        ids.push(id);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let shims: Vec<f64> =
        shims(serve).iter().filter_map(|pid| kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).collect();
    let mean = shims.iter().sum::<f64>() / shims.len().max(1) as f64;
    figure(&format!("shim: PSS, mean of {}", shims.len()), mean / 1024.0, "MiB", 1.5);
    let resident = kilobytes(&format!("/proc/{}/status", serve.child.id()), "VmRSS:").unwrap_or(f64::NAN);
    figure(&format!("engine: resident, {CROWD} containers running"), resident / 1024.0, "MiB", 30.0);
    row(&format!("GET /containers/json, {CROWD} running"), lists(&docker, runs).await?, Some(5.0));
    let busy = Docker::connect_with_unix(&serve.url())?;
    let load = tokio::spawn(async move {
        loop {
            let id = busy.create_container(None, body("bridge", &["/bin/true"])).await?.id;
            busy.start_container(&id, None).await?;
            let options =
                boxyard::client::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
            busy.remove_container(&id, Some(options)).await?;
        }
        #[allow(unreachable_code)]
        Ok::<(), boxyard::client::Error>(())
    });
    row(&format!("GET /containers/json, {CROWD} running, under load"), lists(&docker, runs).await?, Some(20.0));
    load.abort();
    let _ = load.await;
    let everybody = boxyard::client::query_parameters::ListContainersOptionsBuilder::default().all(true).build();
    for container in docker.list_containers(Some(everybody)).await? {
        let options = boxyard::client::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
        docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await?;
    }
    Ok(())
}

async fn lists(docker: &Docker, runs: usize) -> Outcome<Vec<f64>> {
    let mut samples = Vec::new();
    for _ in 0..runs {
        let begun = Instant::now();
        docker.list_containers(None).await?;
        samples.push(milliseconds(begun));
    }
    Ok(samples)
}

/// A figure in kB of a file of `/proc`.
fn kilobytes(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The process IDs of an engine's shims.
fn shims(serve: &Serve) -> Vec<u32> {
    let bundles = fs::read_dir(serve.run.join("containers")).into_iter().flatten().flatten();
    let identities = bundles.filter_map(|bundle| fs::read_to_string(bundle.path().join("shim.pid")).ok());
    let pid = |text: String| text.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok());
    identities.filter_map(pid).collect()
}
