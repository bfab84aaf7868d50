//! What a step may use, told from inside of it: by `boxyard build` and by the API as docker's client speaks it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{PATIENCE, Yard, cgroups_named};
use crate::{build, context, end, is_in_a_cache, put_into_caches, start_with, until, yard};

/// Writes `NAME VALUE` of each of its limits, as the kernel has them.
const TELL: &str = "for f in memory.limit_in_bytes memory.max cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpu.max cpuset.cpus \
    cpuset.mems; do for p in /sys/fs/cgroup/$f /sys/fs/cgroup/*/$f; do if [ -e $p ]; then echo \"$f $(cat $p).\"; fi; done; done; \
    stat -f -c 'shm %b.' /dev/shm; echo \"files $(ulimit -n).\"; cat /etc/hosts; echo \"links $(echo $(ls /sys/class/net)).\"";

/// The same limits as `boxyard build` and as the API take them.
const FLAGS: [&str; 10] = [
    "--memory=64m",
    "--memory-swap=64m",
    "--cpu-quota=25000",
    "--cpu-period=50000",
    "--cpu-shares=512",
    "--cpuset-cpus=0",
    "--cpuset-mems=0",
    "--shm-size=4m",
    "--ulimit=nofile=123:456",
    "--add-host=db.example:10.1.2.3",
];
const QUERY: &str = "memory=67108864&memswap=67108864&cpuquota=25000&cpuperiod=50000&cpushares=512&cpusetcpus=0&cpusetmems=0\
    &shmsize=4194304&ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A123%2C%22Hard%22%3A456%7D%5D&extrahosts=db.example%3A10.1.2.3";

/// What a step with these limits tells, on this host's version of cgroups.
fn expected() -> Vec<&'static str> {
    let is_v2 = |controller: &str| {
        let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        all.split_whitespace().any(|one| one == controller)
    };
    let memory: &[&str] =
        if is_v2("memory") { &["memory.max 67108864."] } else { &["memory.limit_in_bytes 67108864."] };
    let cpu: &[&str] = if is_v2("cpu") {
        &["cpu.max 25000 50000."]
    } else {
        &["cpu.cfs_quota_us 25000.", "cpu.cfs_period_us 50000.", "cpu.shares 512."]
    };
    let rest = ["cpuset.cpus 0.", "cpuset.mems 0.", "shm 1024.", "files 123.", "10.1.2.3", "db.example", "links lo."];
    [memory, cpu, &rest].concat()
}

/// `POST /build` of a Dockerfile, as docker's classic client sends it; all that was answered.
fn post(yard: &Yard, dockerfile: &str, query: &str) -> String {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut stream = UnixStream::connect(yard.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /v1.43/build?version=1&nocache=1&{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        tar.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&tar).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_the_limits_of_its_build() {
    let yard = yard().await;
    let dockerfile = format!("FROM base\nRUN {TELL}\n");
    build(&yard, &dockerfile, &[], &FLAGS).wrote_all(&expected());
    let answer = post(&yard, &dockerfile, &format!("networkmode=none&{QUERY}"));
    for text in expected() {
        assert!(answer.contains(text), "{text:?} in {answer}");
    }
    // Without any there are none.
    let free = build(&yard, &format!("FROM base\nRUN {TELL}\n"), &[], &["--no-cache"]);
    assert!(
        free.succeeded && !free.wrote("67108864") && !free.wrote("files 123.") && !free.wrote("db.example"),
        "{}",
        free.said
    );

    // What can't be given is refused before anything runs.
    build(&yard, &dockerfile, &[], &["--no-cache", "--cpuset-cpus=4000"]).fails("4000");
    build(&yard, &dockerfile, &[], &["--no-cache", "--memory=1"]).fails("emory");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_the_network_of_its_build() {
    let yard = yard().await;
    let dockerfile = "FROM base\nRUN echo \"links $(echo $(ls /sys/class/net)).\"; cat /etc/resolv.conf\n";
    let said = post(&yard, dockerfile, "networkmode=none");
    assert!(said.contains("links lo."), "{said}");
    let said = post(&yard, dockerfile, "networkmode=host");
    let links = yard.in_network(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let here: Vec<_> = links.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert!(here.iter().all(|link| said.contains(link)) && !said.contains("eth0"), "{here:?} in {said}");
    let said = post(&yard, dockerfile, "networkmode=default");
    assert!(said.contains("eth0 lo") || said.contains("lo eth0"), "{said}");
    let said = post(&yard, dockerfile, "networkmode=no-such-network");
    assert!(said.contains("network no-such-network not found"), "{said}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_in_the_group_that_its_build_names() {
    let yard = yard().await;
    let parent = "boxyard-build-limits-test";
    let dockerfile = "FROM base\nRUN --mount=type=cache,id=p,target=/c touch /c/in; while [ ! -e /c/go ]; do sleep 0.05; done; rm /c/in /c/go\n";
    let folder = context(dockerfile, &[]);
    let flag = format!("--cgroup-parent=/{parent}");
    let child = start_with(&yard, folder.path(), &[&flag, "--network=none"]);
    until("the step runs", || is_in_a_cache(&yard, "in"));
    let groups = cgroups_named(parent);
    let has_one = |path: &String| {
        let inner = fs::read_dir(Path::new(path)).unwrap().flatten().filter(|entry| entry.path().is_dir());
        inner.count() == 1
    };
    assert!(!groups.is_empty() && groups.iter().all(has_one), "{groups:?}");
    put_into_caches(&yard, "go");
    end(child).wrote_all(&[]);
    let empty = |path: &String| !fs::read_dir(Path::new(path)).unwrap().flatten().any(|entry| entry.path().is_dir());
    assert!(cgroups_named(parent).iter().all(empty), "the step's own group is gone");
    boxyard::engine::runtime::Cgroups::detect(&boxyard::engine::runtime::HostFacts::read()).remove_if_empty(parent);
    yard.leaves_nothing_behind().await;
}
