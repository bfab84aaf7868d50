//! A yard of one's own: an engine with private roots in a private network namespace, driven from outside.
//!
//! Each test makes its own [`Yard`]; any number of them live side by side. A yard ends by proving that the engine left
//! nothing behind: no process, mount, cgroup, link or file.

#![allow(dead_code)] // each test file uses a part of it

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tempfile::TempDir;

/// How long anything may take before a test gives up: long, since eight of them may share two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// A thread that lives in a network namespace of its own; what it starts lives there too.
struct NetworkThread {
    jobs: mpsc::Sender<Job>,
}

impl NetworkThread {
    fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("a network namespace of its own; the engine's tests need root: run `cargo test` as root");
            raise_loopback();
            ready.send(()).unwrap();
            for job in queue {
                job();
            }
        });
        is_ready.recv_timeout(PATIENCE).expect("the network namespace is made");
        Self { jobs }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, answer) = mpsc::channel();
        self.jobs.send(Box::new(move || drop(sender.send(job())))).unwrap();
        answer.recv_timeout(PATIENCE).expect("an answer from the network namespace")
    }
}

/// `ip link set lo up`, as one netlink message: carried out before `sendto` returns.
fn raise_loopback() {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, netlink, sendto, socket_with};
    const LENGTH: u32 = 32;
    const RTM_SETLINK_REQUEST: u32 = 19 | 1 << 16;
    const LOOPBACK: u32 = 1;
    const UP: u32 = 1;
    let words = [LENGTH, RTM_SETLINK_REQUEST, 1, 0, 0, LOOPBACK, UP, UP];
    let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0)).unwrap();
}

/// An engine of its own.
pub struct Yard {
    network: NetworkThread,
    folder: TempDir,
    engine: Option<Child>,
    serve: Vec<&'static str>,
}

impl Yard {
    /// A yard with a running engine.
    pub fn new() -> Self {
        Self::serving(&[])
    }

    /// A yard whose engine runs with these flags.
    pub fn serving(serve: &[&'static str]) -> Self {
        let folder = tempfile::Builder::new().prefix("yard-").tempdir_in("/tmp").unwrap();
        let mut yard = Self { network: NetworkThread::new(), folder, engine: None, serve: serve.to_vec() };
        yard.start_engine();
        yard
    }

    /// The state root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The run root.
    pub fn run_root(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_root().join("engine.sock")
    }

    /// A boxyard command line on this yard's roots, not started yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boxyard"));
        command.env("BOXYARD_ROOT", self.root()).env("BOXYARD_RUN", self.run_root()).env_remove("DOCKER_HOST");
        command
    }

    /// The same in a session of its own, as service managers start it, where `setsid` is installed.
    fn in_own_session(&self) -> Command {
        let command = self.command();
        let Some(setsid) = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| Path::new(path).exists()) else {
            return command;
        };
        let mut own = Command::new(setsid); // it runs the program in its own place: no process is between us
        own.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => own.env(name, value),
                None => own.env_remove(name),
            };
        }
        own
    }

    /// Runs a boxyard command line to its end, in the yard's network: it may be an engine of its own.
    pub fn cli(&self, words: &[&str]) -> std::process::Output {
        let mut command = self.command();
        command.args(words).stdin(Stdio::null());
        self.network.run(move || command.output().expect("boxyard runs"))
    }

    /// Starts the engine and waits until it says that it serves.
    pub fn start_engine(&mut self) {
        let mut command = self.in_own_session();
        command.arg("serve").args(&self.serve).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut engine = self.network.run(move || command.spawn().expect("boxyard serve starts"));
        let lines = BufReader::new(engine.stderr.take().unwrap());
        let (sender, answer) = mpsc::channel();
        std::thread::spawn(move || {
            let mut said = Vec::new();
            for line in lines.lines().map_while(Result::ok) {
                if line.contains("listening on") {
                    let _ = sender.send(Ok(()));
                }
                said.push(line);
            }
            let _ = sender.send(Err(said.join("\n")));
        });
        answer.recv_timeout(PATIENCE).expect("the engine serves in time").expect("the engine serves");
        self.engine = Some(engine);
    }

    /// The engine's process ID.
    pub fn engine_pid(&self) -> u32 {
        self.engine.as_ref().expect("an engine runs").id()
    }

    /// The network links of the yard but its loopback.
    pub fn links(&self) -> Vec<String> {
        let links = self.network.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let names = links.lines().skip(2).filter_map(|line| line.split(':').next());
        names.map(|name| name.trim().to_owned()).filter(|name| name != "lo").collect()
    }

    /// Ends the engine and starts it again with these flags.
    pub fn serve_with(&mut self, serve: &[&'static str]) {
        self.stop_engine();
        self.serve = serve.to_vec();
        self.start_engine();
    }

    /// SIGKILL, no goodbye.
    pub fn kill_engine(&mut self) {
        let mut engine = self.engine.take().expect("an engine runs");
        // A tracer in this process may have killed it and waited for it already.
        let _ = engine.kill();
        assert!(engine.wait().is_ok() || !Path::new(&format!("/proc/{}", engine.id())).exists());
    }

    /// SIGTERM, and waits for its end.
    pub fn stop_engine(&mut self) {
        let mut engine = self.engine.take().expect("an engine runs");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(engine.id()).unwrap()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        assert!(engine.wait().unwrap().success(), "the engine ends well");
    }

    /// bollard, the library most Rust programs use, on this yard's socket.
    pub fn docker(&self) -> Docker {
        Docker::connect_with_unix(self.socket().to_str().unwrap(), 120, bollard::API_DEFAULT_VERSION).unwrap()
    }

    /// Does `job` in the yard's network.
    pub fn in_network<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.network.run(job)
    }

    /// Connects to a port on the yard's loopback and hands the stream to `talk`.
    pub fn on_port<T: Send + 'static>(
        &self,
        port: u16,
        talk: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> std::io::Result<T> {
        self.network.run(move || {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(talk(stream))
        })
    }

    /// A socket that listens on a port of the yard's loopback.
    pub fn listen(&self) -> std::net::TcpListener {
        self.network.run(|| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    /// Makes the image `host:latest` of this machine's own programs.
    pub async fn host_image(&self) -> String {
        let programs = ["sh", "echo", "cat", "sleep", "ls", "id", "hostname", "env", "stat", "true", "false", "mkdir"];
        self.image_of_programs("host:latest", &programs).await
    }

    /// Makes an image of programs of this machine.
    pub async fn image_of_programs(&self, reference: &str, programs: &[&str]) -> String {
        let request = boxyard::client::HostImageRequest {
            reference: reference.to_owned(),
            programs: programs.iter().map(|program| (*program).to_owned()).collect(),
            cmd: vec!["sh".to_owned()],
        };
        let boxyard = boxyard::client::Docker::connect_with_unix(self.socket().to_str().unwrap()).unwrap();
        boxyard.image_from_host(&request).await.expect("an image from this host");
        reference.to_owned()
    }

    /// Creates and starts a container of the host image that runs `script` in a shell.
    pub async fn run(&self, name: &str, script: &str) -> String {
        self.run_with(name, script, HostConfig::default()).await
    }

    /// The same with a host config.
    pub async fn run_with(&self, name: &str, script: &str, host_config: HostConfig) -> String {
        let id = self.create_with(name, script, host_config).await;
        self.docker().start_container(&id, None).await.expect("it starts");
        id
    }

    /// Creates it without starting it.
    pub async fn create_with(&self, name: &str, script: &str, host_config: HostConfig) -> String {
        let image = self.host_image().await;
        let config = ContainerCreateBody {
            image: Some(image),
            cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            host_config: Some(host_config),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        self.docker().create_container(Some(options), config).await.expect("it is created").id
    }

    /// Waits for its end and gives its exit code.
    pub async fn exit_code(&self, name: &str) -> i64 {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let docker = self.docker();
        let mut waiting = docker.wait_container(name, Some(options));
        let answer = tokio::time::timeout(PATIENCE, waiting.next()).await.expect("it ends in time");
        match answer.expect("an answer") {
            Ok(response) => response.status_code,
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => code,
            Err(error) => panic!("wait for {name}: {error}"),
        }
    }

    /// Its whole log so far, both streams.
    pub async fn log(&self, name: &str) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let docker = self.docker();
        let pieces: Vec<LogOutput> = docker.logs(name, Some(options)).map(|piece| piece.unwrap()).collect().await;
        pieces.iter().map(ToString::to_string).collect()
    }

    /// Follows its log until `text` comes.
    pub async fn log_until(&self, name: &str, text: &str) {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(true).build();
        let docker = self.docker();
        let mut log = docker.logs(name, Some(options));
        let mut seen = String::new();
        let found = async {
            while let Some(piece) = log.next().await {
                seen.push_str(&piece.unwrap().to_string());
                if seen.contains(text) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        assert_eq!(found.ok(), Some(true), "{text:?} in the log of {name}, which has {seen:?}");
    }

    /// Looks at a container, and again after each of its events, until it is as wanted.
    pub async fn until(
        &self,
        name: &str,
        is_so: impl Fn(&ContainerInspectResponse) -> bool,
    ) -> ContainerInspectResponse {
        let docker = self.docker();
        // Those of before come too: whatever changes after a look is told after it.
        let mut events = Box::pin(docker.events(Some(EventsOptionsBuilder::default().since("1").build())));
        let looking = async {
            loop {
                let found = docker.inspect_container(name, None).await.unwrap();
                if is_so(&found) {
                    return found;
                }
                events.next().await.expect("the engine serves").expect("an event");
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{name} never came to be as wanted"))
    }

    /// The actions of container `id`'s events that are `wanted`, from its beginning until they are `enough`.
    pub async fn actions(
        &self,
        id: &str,
        wanted: impl Fn(&str) -> bool,
        enough: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let docker = self.docker();
        let mut events = Box::pin(docker.events(Some(EventsOptionsBuilder::default().since("1").build())));
        let mut seen = Vec::new();
        let hearing = async {
            while !enough(&seen) {
                let event = events.next().await.expect("the engine serves").expect("an event");
                let action = event.action.unwrap_or_default();
                if event.actor.and_then(|actor| actor.id).as_deref() == Some(id) && wanted(&action) {
                    seen.push(action);
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        assert!(heard.is_ok(), "of {id} only these were told: {seen:?}");
        seen
    }

    /// Waits until a file beside the container's record is as wanted: what its shim does needs no engine to be seen.
    pub fn file_until(&self, id: &str, file: &str, is_so: impl Fn(&str) -> bool) -> String {
        use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
        let folder = self.root().join("containers").join(id);
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        add_watch(&watch, &folder, WatchFlags::MODIFY | WatchFlags::MOVED_TO).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            if is_so(&text) {
                return text;
            }
            let left = until.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{file} never came to be as wanted: {text}"));
            let limit = rustix::event::Timespec::try_from(left).unwrap();
            let mut ready = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut ready, Some(&limit)).unwrap();
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut news = Reader::new(&watch, &mut buffer);
            while news.next().is_ok() {}
        }
    }

    /// Removes every container by force.
    pub async fn remove_all_containers(&self) {
        let docker = self.docker();
        let options = ListContainersOptionsBuilder::default().all(true).build();
        for container in docker.list_containers(Some(options)).await.unwrap() {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            docker.remove_container(&container.id.unwrap(), Some(options)).await.unwrap();
        }
    }

    /// Removes all containers, stops the engine and looks for litter.
    pub async fn leaves_nothing_behind(mut self) {
        self.remove_all_containers().await;
        self.stop_engine();
        let litter = self.litter();
        assert!(litter.is_empty(), "the engine left behind:\n{}", litter.join("\n"));
    }

    fn litter(&self) -> Vec<String> {
        let mut litter = Vec::new();
        let here = self.folder.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        litter.extend(mounts.lines().filter(|line| line.contains(&here)).map(|line| format!("mount: {line}")));
        litter.extend(processes_naming(&here).into_iter().map(|line| format!("process: {line}")));
        litter.extend(self.links().into_iter().map(|link| format!("link: {link}")));
        let instance = boxyard::engine::instance::Instance::new(&self.root(), &self.run_root());
        litter.extend(cgroups_named(&instance.cgroup_parent()).into_iter().map(|path| format!("cgroup: {path}")));
        for folder in ["root/containers", "root/tmp", "root/trash", "run/containers"] {
            let entries = fs::read_dir(self.folder.path().join(folder)).into_iter().flatten();
            litter.extend(entries.map(|entry| format!("file: {}", entry.unwrap().path().display())));
        }
        litter
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        // A failed test still ends what it started: its engine, and its containers by their cgroup and shims.
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.kill();
            let _ = engine.wait();
        }
        for line in processes_naming(&self.folder.path().to_string_lossy()) {
            if let Some(pid) = line.split(' ').next().and_then(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
        // Nothing of this is there after a test that went well.
        let instance = boxyard::engine::instance::Instance::new(&self.root(), &self.run_root());
        if !cgroups_named(&instance.cgroup_parent()).is_empty() {
            let cgroups = boxyard::engine::runtime::Cgroups::detect(&boxyard::engine::runtime::HostFacts::read());
            let _ = cgroups.kill_all(&instance.cgroup_parent());
            let _ = cgroups.remove(&instance.cgroup_parent());
        }
        let here = self.folder.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.contains(&here));
        for point in points {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The processes, but for this one, that have `text` in their command lines.
pub fn processes_naming(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if pid != std::process::id() && command.contains(text) {
            found.push(format!("{pid} {command}"));
        }
    }
    found
}

/// The folders called `name` at the top of any cgroup hierarchy.
pub fn cgroups_named(name: &str) -> Vec<String> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().map_while(Result::ok).map(|e| e.path());
    hierarchies
        .chain([Path::new("/sys/fs/cgroup").to_owned()])
        .map(|hierarchy| hierarchy.join(name))
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect()
}

/// A host config that publishes `container_port` on `host_port` of the loopback.
pub fn published(host_port: u16, container_port: u16) -> HostConfig {
    let binding =
        bollard::models::PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host_port.to_string()) };
    HostConfig {
        port_bindings: Some(HashMap::from([(format!("{container_port}/tcp"), Some(vec![binding]))])),
        ..Default::default()
    }
}
