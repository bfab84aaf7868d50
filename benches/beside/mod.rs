//! Engines that a bench puts beside each other: `boxyard serve` and Docker's daemon, each on roots of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boxyard::client::{Docker, HostImageRequest};

pub const BOXYARD: &str = env!("CARGO_BIN_EXE_boxyard");
/// The image that is measured with, on each engine.
pub const IMAGE: &str = "host:latest";
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One row: `samples` in milliseconds.
pub fn row(name: &str, mut samples: Vec<f64>, budget: Option<f64>) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples.get((samples.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let verdict = match budget {
        Some(budget) => format!("{budget:>9.2} {}", if at(0.5) <= budget { "met" } else { "MISSED" }),
        None => String::new(),
    };
    println!("{name:<52} {:>9.2} {:>9.2} {:>9.2}   {verdict}", at(0.0), at(0.5), at(0.9));
}

pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

pub fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

pub fn quiet(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into())
}

/// `boxyard serve` on roots of its own; ends with this.
pub struct Serve {
    pub child: Child,
    /// Its run root.
    pub run: PathBuf,
}

impl Serve {
    pub fn start(folder: &Path) -> Outcome<Self> {
        let run = folder.join("run");
        // in a session of its own, as service managers start it
        let mut command = Command::new("setsid");
        command.arg(BOXYARD).env("BOXYARD_ROOT", folder.join("root")).env("BOXYARD_RUN", &run).arg("serve");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        lines
            .find(|line| line.as_ref().map_or(true, |line| line.contains("listening on")))
            .ok_or("it did not start")??;
        // What it says later is nobody's, but it must not find the pipe closed.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, run })
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.run.join("engine.sock").display())
    }

    pub async fn make_image(&self) -> Outcome<()> {
        let programs = ["sh", "true", "sleep", "cat"].map(str::to_owned).to_vec();
        let request = HostImageRequest { reference: IMAGE.to_owned(), programs, cmd: vec!["sh".to_owned()] };
        Docker::connect_with_unix(&self.url())?.image_from_host(&request).await?;
        Ok(())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Docker's daemon with roots of its own, in our network namespace.
pub struct Dockerd {
    child: Child,
    socket: PathBuf,
}

impl Dockerd {
    pub fn start(folder: &Path) -> Outcome<Option<Self>> {
        if !is_installed("dockerd") || !is_installed("docker") {
            return Ok(None);
        }
        fs::create_dir_all(folder.join("tree/bin"))?;
        for program in ["sh", "true", "sleep", "cat"] {
            fs::copy("/bin/busybox", folder.join("tree/bin").join(program))?;
        }
        let socket = folder.join("d.sock");
        let mut command = Command::new("dockerd");
        let option = |name: &str, value: &str| format!("--{name}={}", folder.join(value).display());
        command.arg("-H").arg(format!("unix://{}", socket.display()));
        command.args([option("data-root", "data"), option("exec-root", "exec"), option("pidfile", "d.pid")]);
        // A group of its own, so that its containerd ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let dockerd = Self { child: command.spawn()?, socket };
        let until = Instant::now() + Duration::from_secs(60);
        while quiet(Command::new("docker").args(["-H", &dockerd.url(), "version"])).is_err() {
            if Instant::now() > until {
                println!("dockerd did not start");
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let archive = folder.join("tree.tar");
        let mut builder = tar::Builder::new(fs::File::create(&archive)?);
        builder.append_dir_all(".", folder.join("tree"))?;
        builder.finish()?;
        quiet(Command::new("docker").args(["-H", &dockerd.url(), "import"]).arg(archive).arg(IMAGE))?;
        Ok(Some(dockerd))
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).map(nix::unistd::Pid::from_raw);
    if let Ok(pid) = pid {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    let _ = child.wait();
}
