//! Two engines side by side, each on roots of its own, spoken to by the same few lines of HTTP.
//!
//! Requests are HTTP/1.0, so that an answer is whatever comes until the connection ends.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an engine may take to come or go.
const PATIENCE: Duration = Duration::from_secs(60);
pub const IMAGE: &str = "bench";

/// An engine that runs.
pub struct Engine {
    pub name: &'static str,
    root: PathBuf,
    run: PathBuf,
    socket: PathBuf,
    process: Child,
}

impl Engine {
    /// This package's, below `folder`.
    pub fn boxyard(folder: &Path) -> io::Result<Self> {
        let (root, run) = (folder.join("root"), folder.join("run"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_boxyard"));
        command.arg("serve").env("BOXYARD_ROOT", &root).env("BOXYARD_RUN", &run).env_remove("DOCKER_HOST");
        let socket = run.join("engine.sock");
        Self::start("boxyard", command, root, run, socket)
    }

    /// Docker's, if it is installed and runs here.
    pub fn dockerd(folder: &Path) -> io::Result<Self> {
        let (root, run) = (folder.join("root"), folder.join("run"));
        fs::create_dir_all(&run)?;
        let socket = run.join("d.sock");
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--bridge=none", "--host"]).arg(format!("unix://{}", socket.display()));
        command.arg("--data-root").arg(&root).arg("--exec-root").arg(run.join("exec"));
        command.arg("--pidfile").arg(run.join("pid"));
        Self::start("dockerd", command, root, run, socket)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        root: PathBuf,
        run: PathBuf,
        socket: PathBuf,
    ) -> io::Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let engine = Self { name, root, run, socket, process };
        let start = Instant::now();
        while engine.call("GET", "/_ping", None).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{name} does not serve")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        engine.import()?;
        Ok(engine)
    }

    /// An image of busybox alone.
    fn import(&self) -> io::Result<()> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_path_with_name("/bin/busybox", "bin/busybox")?;
        for name in ["sh", "cat", "yes", "head", "true", "dd", "sleep"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, format!("bin/{name}"), "busybox")?;
        }
        let path = format!("/images/create?fromSrc=-&repo={IMAGE}&tag=latest");
        self.call_with("POST", &path, "application/x-tar", &tar.into_inner()?).map(drop)
    }

    /// Sends a request and hands the connection over, of which the head of the answer is read.
    pub fn open(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Ok(stream);
        }
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Err(io::Error::other(format!("{}: {method} {path}: {head}{text}", self.name)))
    }

    fn call_with(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.open(method, path, kind, body)?.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// A request and its whole answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Vec<u8>> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.call_with(method, path, "application/json", body.as_bytes())
    }

    /// Makes a container that runs `script` in a shell, with these options of json-file; `data` is `/data` in it.
    pub fn create(&self, script: &str, options: &Value, data: Option<&Path>) -> io::Result<String> {
        let binds: Vec<String> = data.iter().map(|data| format!("{}:/data:ro", data.display())).collect();
        let body = json!({
            "Image": IMAGE, "Cmd": ["/bin/sh", "-c", script],
            "HostConfig": {
                "NetworkMode": "none", "Binds": binds, "LogConfig": { "Type": "json-file", "Config": options },
            },
        });
        let answer: Value = serde_json::from_slice(&self.call("POST", "/containers/create", Some(&body))?)?;
        Ok(answer["Id"].as_str().unwrap_or_default().to_owned())
    }

    pub fn start_container(&self, id: &str) -> io::Result<()> {
        self.call("POST", &format!("/containers/{id}/start"), None).map(drop)
    }

    /// Waits for its end.
    pub fn wait(&self, id: &str) -> io::Result<()> {
        self.call("POST", &format!("/containers/{id}/wait"), None).map(drop)
    }

    pub fn remove(&self, id: &str) -> io::Result<()> {
        self.call("DELETE", &format!("/containers/{id}?force=1"), None).map(drop)
    }

    /// Its log's current file.
    pub fn log(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id).join(format!("{id}-json.log"))
    }

    /// The process that takes its output in (its shim; for Docker the daemon).
    pub fn log_keeper(&self, id: &str) -> u32 {
        let identity = fs::read(self.run.join("containers").join(id).join("shim.pid")).unwrap_or_default();
        let identity: Value = serde_json::from_slice(&identity).unwrap_or_default();
        identity["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(self.process.id())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// What came out of a log: pieces, lines and bytes of content.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Count {
    pub lines: u64,
    pub bytes: u64,
}

impl Count {
    /// Reads Docker's frames to the end.
    pub fn of(stream: impl Read) -> io::Result<Self> {
        let mut stream = io::BufReader::with_capacity(1 << 20, stream);
        let (mut count, mut content) = (Self::default(), Vec::new());
        loop {
            let mut header = [0; 8];
            match stream.read_exact(&mut header) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(count),
                other => other?,
            }
            let [_, _, _, _, length @ ..] = header;
            content.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut content)?;
            count.lines += memchr::memchr_iter(b'\n', &content).count() as u64;
            count.bytes += content.len() as u64;
        }
    }
}

/// Watches the memory of a process: the most it ever had.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    pub fn of(pid: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !seen.load(Ordering::Relaxed) {
                most = most.max(pss_kb(pid));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Self { is_over, thread }
    }

    /// In kB.
    pub fn most(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// The share of a process in the machine's memory, in kB.
pub fn pss_kb(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
