//! What must be true inside.

use bollard_stubs::models::{DeviceMapping, HostConfig, ResourcesUlimits};
use boxyard::engine::oci::{ConsoleSize, IpcNs, Limits, MountKind, MountPlan, NetNs, PidNs, ProcessPlan};
use boxyard::engine::runtime::cgroup::Controller;
use boxyard::engine::runtime::{self, ExecTarget, Stdio};

use super::yard::{Yard, line, read_until, type_into, wait};

/// Every story, by its name.
pub const ALL: &[(&str, fn())] = &[
    ("a_shell_runs", a_shell_runs),
    ("it_is_alone_in_its_namespaces", it_is_alone_in_its_namespaces),
    ("the_parents_oddities_stay_outside", the_parents_oddities_stay_outside),
    ("binds_show_what_they_should", binds_show_what_they_should),
    ("links_of_the_image_lead_nowhere_else", links_of_the_image_lead_nowhere_else),
    ("paths_are_masked_and_read_only", paths_are_masked_and_read_only),
    ("a_read_only_root", a_read_only_root),
    ("rights_are_dockers", rights_are_dockers),
    ("privileged_is_privileged", privileged_is_privileged),
    ("users_are_looked_up_inside", users_are_looked_up_inside),
    ("programs_that_cannot_run", programs_that_cannot_run),
    ("the_working_directory_is_made", the_working_directory_is_made),
    ("a_terminal", a_terminal),
    ("an_init_of_ours", an_init_of_ours),
    ("an_exec_joins", an_exec_joins),
    ("an_exec_with_a_terminal", an_exec_with_a_terminal),
    ("limits_hold", limits_hold),
    ("limits_change_live", limits_change_live),
    ("out_of_memory_is_told", out_of_memory_is_told),
    ("freezing_and_killing", freezing_and_killing),
    ("the_version_2_tree_alone", the_version_2_tree_alone),
    ("devices_are_ruled", devices_are_ruled),
    ("sysctls_and_rlimits", sysctls_and_rlimits),
    ("namespaces_are_shared", namespaces_are_shared),
    ("a_failed_step_is_named_and_leaves_nothing", a_failed_step_is_named_and_leaves_nothing),
    ("starting_is_quick", starting_is_quick),
];

#[track_caller]
fn says(yard: &Yard, script: &str, expected: &str) {
    let outcome = yard.sh(script);
    assert_eq!(outcome.output.trim_end(), expected, "{script} ended with {}", outcome.code);
}

fn strings(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Where a container finds the groups of `controller`.
fn groups_of(yard: &Yard, controller: &str) -> String {
    match yard.plan.cgroup.layout.controller(controller) {
        Controller::V1(mount) => mount.display().to_string(),
        _ => "/sys/fs/cgroup".to_owned(),
    }
}

fn a_shell_runs() {
    let yard = Yard::new("shell");
    let outcome = yard.sh("echo hello; exit 7");
    assert_eq!((outcome.output.as_str(), outcome.code), ("hello\n", 7));
}

fn it_is_alone_in_its_namespaces() {
    let yard = Yard::new("alone");
    says(&yard, "echo $$; hostname; ls /sys/class/net; ps | wc -l", "1\nyard\nlo\n4");
    says(&yard, "cat /proc/self/cgroup | grep -v ':/$'", "");
    let groups = groups_of(&yard, "memory");
    says(
        &yard,
        &format!("grep -c ' {groups} ' /proc/mounts; ls -d {groups}/boxyard*"),
        &format!("1\nls: {groups}/boxyard*: No such file or directory"),
    );
    // some kernels add that its inodes have 64 bits
    let shm = yard.sh("grep ' /dev/shm ' /proc/mounts").output.replace(",inode64", "");
    assert_eq!(shm, "tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k 0 0\n");
    // some kernels have no image of their memory
    let core = if std::path::Path::new("/proc/kcore").exists() { "core\n" } else { "" };
    let others = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    says(&yard, "ls /dev", &format!("{core}{others}"));
}

fn the_parents_oddities_stay_outside() {
    let yard = Yard::new("clean");
    // Rust ignores SIGPIPE; descriptors of the parent must not be seen
    let held = std::fs::File::open("/").expect("the host's root");
    let mut plan = yard.plan.clone(); // no shell in between, which has signals of its own
    plan.process.args = ["/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"].map(str::to_owned).to_vec();
    let outcome = yard.run(&plan).expect("it runs");
    assert_eq!(outcome.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    says(&yard, "ls /proc/self/fd", "0\n1\n2\n3");
    says(&yard, "umask; readlink /proc/self/cwd", "0022\n/");
    drop(held);
}

fn binds_show_what_they_should() {
    let mut yard = Yard::new("binds");
    let data = yard.path("data");
    std::fs::create_dir_all(data.join("sub")).expect("directories");
    std::fs::write(data.join("file"), "from the host\n").expect("a file");
    let mut subpath = MountPlan::bind(&data, "/subpath");
    if let MountKind::Bind { subpath, .. } = &mut subpath.kind {
        *subpath = Some("sub".into());
    }
    yard.plan.mounts.extend([
        MountPlan::bind(data.join("file"), "/etc/made/here").read_only(),
        MountPlan::bind(&data, "/data"),
        MountPlan::tmpfs("/scratch", ["size=1m", "mode=700"]),
        subpath,
    ]);
    says(
        &yard,
        "cat /etc/made/here; echo x > /etc/made/here",
        "from the host\n/bin/sh: can't create /etc/made/here: Read-only file system",
    );
    says(&yard, "echo inside > /data/sub/written; cat /subpath/written", "inside");
    says(&yard, "stat -c %a /scratch; dd if=/dev/zero of=/scratch/x bs=1M count=2 2>&1 | grep -c 'No space'", "700\n1");
    assert_eq!(std::fs::read_to_string(data.join("sub/written")).expect("written"), "inside\n");
}

fn links_of_the_image_lead_nowhere_else() {
    let mut yard = Yard::new("links");
    let outside = yard.path("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::os::unix::fs::symlink(&outside, yard.path("lower/out")).expect("a link");
    std::os::unix::fs::symlink("/run", yard.path("lower/var-run")).expect("a link");
    let file = yard.path("lower/etc/passwd");
    yard.plan.mounts.push(MountPlan::bind(&file, "/out/deep/file"));
    yard.plan.mounts.push(MountPlan::bind(&file, "/var-run/x"));
    says(&yard, "test -s /out/deep/file && test -s /run/x && echo both", "both");
    assert_eq!(std::fs::read_dir(&outside).expect("outside").count(), 0);
}

fn paths_are_masked_and_read_only() {
    let yard = Yard::new("masks");
    says(&yard, "ls -A /sys/firmware; wc -c < /proc/keys", "0");
    says(
        &yard,
        "echo 1 > /proc/sys/kernel/panic",
        "/bin/sh: can't create /proc/sys/kernel/panic: Read-only file system",
    );
    says(&yard, "grep -c '^proc /proc/irq proc ro' /proc/mounts", "1");
    let groups = groups_of(&yard, "pids");
    says(&yard, &format!("mkdir {groups}/x 2>&1 | grep -c 'Read-only'"), "1");
}

fn a_read_only_root() {
    let yard = Yard::with("readonly", &HostConfig { readonly_rootfs: Some(true), ..HostConfig::default() });
    says(&yard, "touch /x; touch /dev/shm/y && echo shm", "touch: /x: Read-only file system\nshm");
}

fn rights_are_dockers() {
    let yard = Yard::new("rights");
    says(
        &yard,
        "grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status",
        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2",
    );
    says(&yard, "unshare -m true 2>&1", "unshare: unshare(0x20000): Operation not permitted");
    says(&yard, "mount -t tmpfs x /tmp 2>&1 | grep -c -i 'permission denied\\|not permitted'", "1");
    let careful = HostConfig {
        cap_drop: strings(&["ALL"]),
        security_opt: strings(&["no-new-privileges"]),
        ..HostConfig::default()
    };
    let yard = Yard::with("careful", &careful);
    says(
        &yard,
        "grep -E '^(CapEff|CapBnd|Seccomp:|NoNew)' /proc/self/status",
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2",
    );
}

fn privileged_is_privileged() {
    let yard = Yard::with("privileged", &HostConfig { privileged: Some(true), ..HostConfig::default() });
    says(&yard, "grep Seccomp: /proc/self/status; test -c /dev/kmsg && echo kmsg", "Seccomp:\t0\nkmsg");
    let groups = groups_of(&yard, "pids");
    says(&yard, &format!("mount -t tmpfs x /tmp && echo mounted; mkdir {groups}/x && echo made"), "mounted\nmade");
}

fn users_are_looked_up_inside() {
    let mut yard = Yard::new("users");
    yard.plan.process.user = "app".to_owned();
    yard.plan.process.additional_groups = vec!["77".to_owned()];
    says(
        &yard,
        "id; echo $HOME; grep CapEff /proc/self/status",
        "uid=1000(app) gid=1000(app) groups=29(audio),77,1000(app)\n/home/app\nCapEff:\t0000000000000000",
    );
    says(&yard, "echo x > /dev/stdout", "x");
    yard.plan.process.user = "bob".to_owned();
    let error = yard.run(&yard.plan).expect_err("no bob");
    assert_eq!(error.to_string(), "unable to find user bob: no matching entries in passwd file");
    yard.plan.process.user = "4294967296".to_owned();
    let error = yard.run(&yard.plan).expect_err("out of range");
    assert_eq!(error.to_string(), "uids and gids must be in range 0-2147483647: 4294967296");
}

fn programs_that_cannot_run() {
    let yard = Yard::new("programs");
    std::fs::write(yard.path("lower/bin/noformat"), "what is this").expect("a file");
    std::fs::write(yard.path("lower/bin/nointerpreter"), "#!/bin/missing\n").expect("a file");
    for name in ["noformat", "nointerpreter"] {
        let path = yard.path("lower/bin").join(name);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    }
    for (program, code, words) in [
        ("foo", 127, "exec: \"foo\": executable file not found in $PATH"),
        ("/bin/foo", 127, "exec: \"/bin/foo\": stat /bin/foo: no such file or directory"),
        ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        ("noformat", 126, "exec /bin/noformat: exec format error"),
        ("nointerpreter", 127, "exec /bin/nointerpreter: no such file or directory"),
    ] {
        let mut plan = yard.plan.clone();
        plan.process.args = vec![program.to_owned()];
        let error = yard.run(&plan).expect_err(program);
        assert_eq!((error.exit_code(), error.to_string().as_str()), (code, words));
    }
}

fn the_working_directory_is_made() {
    let mut yard = Yard::new("cwd");
    yard.plan.process.cwd = "/srv/app/here".to_owned();
    says(&yard, "pwd", "/srv/app/here");
    yard.plan.process.cwd = "/etc/passwd".to_owned();
    let error = yard.run(&yard.plan).expect_err("a file");
    assert_eq!(error.to_string(), "chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory");
    yard.plan.process.cwd = "/proc/self/root".to_owned();
    let error = yard.run(&yard.plan).expect_err("no way out by a link of /proc");
    assert!(error.to_string().ends_with("too many levels of symbolic links"), "{error}");
}

fn a_terminal() {
    let mut yard = Yard::new("terminal");
    let script = "tty; stty size; test -c /dev/console && echo console; read line; echo got $line";
    yard.plan.process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    yard.plan.process.tty = true;
    let size = Some(ConsoleSize { rows: 31, cols: 97 });
    let created = runtime::create(&yard.plan, Stdio::Terminal(size), None).expect("created");
    let running = created.start().expect("started");
    let master = running.pty_master.as_ref().expect("a terminal");
    let text = read_until(master, "console");
    assert_eq!(text.replace('\r', ""), "/dev/pts/0\n31 97\nconsole");
    type_into(master, "typed\n");
    read_until(master, "got typed");
    assert_eq!(wait(&running), 0);
    yard.cgroups().remove(&yard.plan.cgroup.path).expect("removed");
}

fn an_init_of_ours() {
    let yard = Yard::with("init", &HostConfig { init: Some(true), ..HostConfig::default() });
    let outcome = yard.sh("echo $$; sh -c 'sleep 0.01 &'; exit 9");
    assert_eq!((outcome.output.as_str(), outcome.code), ("2\n", 9));
    let missing = yard.run(&{
        let mut plan = yard.plan.clone();
        plan.process.args = vec!["foo".to_owned()];
        plan
    });
    assert_eq!(missing.expect_err("missing").exit_code(), 127);
    let (running, output) = yard.start("trap 'echo told; exit 4' TERM; echo up; while true; do sleep 0.01; done");
    assert_eq!(line(&output), "up");
    rustix::process::pidfd_send_signal(&running.pidfd, rustix::process::Signal::TERM).expect("sent");
    assert_eq!((line(&output).as_str(), wait(&running)), ("told", 4));
    yard.cgroups().remove(&yard.plan.cgroup.path).expect("removed");
}

fn an_exec_joins() {
    let yard = Yard::new("exec");
    let (running, output) = yard.start("echo up; exec sleep 1000");
    assert_eq!(line(&output), "up");
    let outcome = yard.exec(&running, "hostname; ps | grep -c '[s]leep 1000'; exit 3").expect("ran");
    assert_eq!((outcome.output.as_str(), outcome.code), ("yard\n1\n", 3));
    let outcome = yard
        .exec(&running, "grep -vc ':/$' /proc/self/cgroup; grep -E '^(CapEff|Seccomp:)' /proc/self/status")
        .expect("ran");
    assert_eq!(outcome.output, "0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    let missing = ProcessPlan { args: vec!["foo".to_owned()], ..yard.plan.process.clone() };
    let error = yard.exec_plan(&running, &missing).expect_err("missing");
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (127, "exec: \"foo\": executable file not found in $PATH")
    );
    let nowhere = ProcessPlan { cwd: "/no/such".to_owned(), args: vec!["pwd".to_owned()], ..yard.plan.process.clone() };
    let error = yard.exec_plan(&running, &nowhere).expect_err("nowhere");
    assert_eq!((error.exit_code(), error.errno), (126, 2));
    assert_eq!(yard.cgroups().pids(&yard.plan.cgroup.path).expect("pids"), [running.pid]);
    assert_eq!(yard.end(&running), 137);
}

fn an_exec_with_a_terminal() {
    let yard = Yard::new("exec-terminal");
    let (running, output) = yard.start("echo up; exec sleep 1000");
    assert_eq!(line(&output), "up");
    let args = ["/bin/sh", "-c", "tty; stty size; echo end"].map(str::to_owned).to_vec();
    let plan = ProcessPlan { args, tty: true, ..yard.plan.process.clone() };
    let target = ExecTarget { pid: running.pid, cgroup: &yard.plan.cgroup };
    let size = Some(ConsoleSize { rows: 10, cols: 20 });
    let shell = runtime::exec(target, &plan, Stdio::Terminal(size)).expect("ran");
    let text = read_until(shell.pty_master.as_ref().expect("a terminal"), "end");
    assert_eq!(text.replace('\r', ""), "/dev/pts/0\n10 20\nend");
    assert_eq!(wait(&shell), 0);
    yard.end(&running);
}

fn limits_hold() {
    let host_config = HostConfig {
        memory: Some(64 << 20),
        pids_limit: Some(20),
        cpu_shares: Some(512),
        nano_cpus: Some(500_000_000),
        cpuset_cpus: Some("0".to_owned()),
        ..HostConfig::default()
    };
    let yard = Yard::with("limits", &host_config);
    says(&yard, "grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0");
    says(
        &yard,
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 1 & done 2>&1 | grep -c fork",
        "1",
    );
    let (running, output) = yard.start("echo up; exec sleep 1000");
    assert_eq!(line(&output), "up");
    let stats = yard.cgroups().stats(&yard.plan.cgroup.path).expect("stats");
    assert_eq!((stats.memory.limit, stats.pids.limit, stats.pids.current), (Some(64 << 20), Some(20), 1));
    assert!(stats.memory.usage > 0 && stats.cpu.usage_ns > 0, "{stats:?}");
    yard.end(&running);
}

fn limits_change_live() {
    let yard = Yard::with("update", &HostConfig { memory: Some(64 << 20), ..HostConfig::default() });
    let (running, output) = yard.start("echo up; exec sleep 1000");
    assert_eq!(line(&output), "up");
    let path = &yard.plan.cgroup.path;
    for (memory, swap) in [(512 << 20, 1 << 30), (32 << 20, 48 << 20)] {
        let limits = Limits { memory: Some(memory), memory_swap: Some(swap), ..Limits::default() };
        yard.cgroups().update(path, &limits).expect("updated");
        let limit = yard.cgroups().stats(path).expect("stats").memory.limit;
        assert_eq!(limit, Some(memory.unsigned_abs()));
    }
    yard.end(&running);
}

fn out_of_memory_is_told() {
    let yard =
        Yard::with("oom", &HostConfig { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..HostConfig::default() });
    let (running, _output) = yard.start("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert_eq!(wait(&running), 137);
    assert_eq!(yard.cgroups().oom_kills(&yard.plan.cgroup.path).expect("count"), 1);
    yard.cgroups().remove(&yard.plan.cgroup.path).expect("removed");
}

fn freezing_and_killing() {
    let yard = Yard::new("freeze");
    let (running, output) = yard.start("echo up; sleep 1000 & exec sleep 1000");
    assert_eq!(line(&output), "up");
    let (cgroups, path) = (yard.cgroups(), &yard.plan.cgroup.path);
    cgroups.freeze(path).expect("frozen");
    cgroups.thaw(path).expect("thawed");
    cgroups.freeze(path).expect("frozen again");
    cgroups.kill_all(path).expect("killed");
    assert_eq!(wait(&running), 137);
    cgroups.remove(path).expect("removed");
    cgroups.remove(path).expect("gone is as good");
}

fn the_version_2_tree_alone() {
    let mut yard = Yard::new("v2");
    let layout = &mut yard.plan.cgroup.layout;
    if layout.v2.is_none() {
        return println!("no version 2 tree is mounted on this host");
    }
    // whatever else is mounted: nothing but it
    layout.v1.clear();
    says(
        &yard,
        "grep -c '^cgroup2 /sys/fs/cgroup cgroup2 ro' /proc/mounts; grep -c cgroup /proc/mounts; grep 0:: /proc/self/cgroup",
        "1\n1\n0::/",
    );
    says(&yard, "mknod /dev/mem c 1 1 && cat /dev/mem", "cat: can't open '/dev/mem': Operation not permitted");
    says(&yard, "head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo null", "3\nnull");
    let (running, output) = yard.start("echo up; sleep 1000 & exec sleep 1000");
    assert_eq!(line(&output), "up");
    let (cgroups, path) = (yard.cgroups(), &yard.plan.cgroup.path);
    assert!(yard.exec(&running, "cat /proc/self/cgroup").expect("ran").output.contains("0::/\n"));
    assert_eq!(cgroups.pids(path).expect("pids").len(), 2);
    cgroups.update(path, &Limits { devices: Some(Vec::new()), ..Limits::default() }).expect("replaced");
    let outcome = yard.exec(&running, "cat /dev/zero | head -c 1 | wc -c").expect("ran");
    assert!(outcome.output.contains("Operation not permitted"), "no rule allows anything now: {outcome:?}");
    cgroups.freeze(path).expect("frozen");
    cgroups.kill_all(path).expect("killed");
    assert_eq!(wait(&running), 137);
    cgroups.remove(path).expect("removed");
}

fn devices_are_ruled() {
    let yard = Yard::new("devices");
    says(&yard, "mknod /dev/mem c 1 1 && cat /dev/mem", "cat: can't open '/dev/mem': Operation not permitted");
    says(&yard, "head -c 3 /dev/zero | wc -c", "3");
    let fuse = DeviceMapping {
        path_on_host: Some("/dev/kmsg".to_owned()),
        path_in_container: Some("/dev/given".to_owned()),
        cgroup_permissions: Some("r".to_owned()),
    };
    let yard = Yard::with("device", &HostConfig { devices: Some(vec![fuse]), ..HostConfig::default() });
    says(
        &yard,
        "stat -c %t:%T /dev/given; echo x > /dev/given",
        "1:b\n/bin/sh: can't create /dev/given: Operation not permitted",
    );
}

fn sysctls_and_rlimits() {
    let sysctls = [("net.ipv4.ip_unprivileged_port_start", "99"), ("kernel.shmmni", "77")];
    let sysctls = sysctls.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let nofile = |soft, hard| {
        Some(vec![ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(soft), hard: Some(hard) }])
    };
    let host_config = HostConfig { sysctls: Some(sysctls), ulimits: nofile(100, 200), ..HostConfig::default() };
    let yard = Yard::with("sysctls", &host_config);
    says(
        &yard,
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni; ulimit -n; ulimit -Hn",
        "99\n77\n100\n200",
    );
    let yard = Yard::with("greedy", &HostConfig { ulimits: nofile(1 << 30, 1 << 31), ..HostConfig::default() });
    let words = yard.run(&yard.plan).expect_err("beyond fs.nr_open").to_string();
    assert!(words.starts_with("set rlimit nofile=1073741824:2147483648: operation not permitted"), "{words}");
}

fn namespaces_are_shared() {
    let yard = Yard::new("first");
    let (running, output) = yard.start("echo here > /dev/shm/file; echo up; exec sleep 1000");
    assert_eq!(line(&output), "up");
    let mut second = Yard::new("second");
    second.plan.namespaces.pid = PidNs::JoinPid(running.pid);
    second.plan.namespaces.ipc = IpcNs::JoinPid(running.pid);
    second.plan.namespaces.net = NetNs::JoinPid(running.pid);
    let shm = second.plan.mounts.iter_mut().find(|mount| mount.target.ends_with("shm")).expect("/dev/shm");
    shm.kind = MountKind::OfProcess { pid: running.pid, path: "/dev/shm".into() };
    says(&second, "cat /dev/shm/file; ps | grep -c '[s]leep 1000'", "here\n1");
    says(&second, "readlink /proc/1/ns/net | grep -c $(readlink /proc/self/ns/net | grep -o '[0-9]*')", "1");
    yard.end(&running);
}

fn a_failed_step_is_named_and_leaves_nothing() {
    let mut yard = Yard::new("failed");
    yard.plan.mounts.push(MountPlan::bind("/no/such/thing", "/x"));
    let error = yard.run(&yard.plan).expect_err("no source");
    assert_eq!(error.to_string(), "bind source /no/such/thing: no such file or directory");
    assert!(yard.cgroups().pids(&yard.plan.cgroup.path).is_err(), "the cgroup is gone");
}

fn starting_is_quick() {
    let yard = Yard::new("quick");
    let mut plan = yard.plan.clone();
    plan.process.args = vec!["/bin/true".to_owned()];
    let mut times: Vec<_> = (0..30)
        .map(|_| {
            let start = std::time::Instant::now();
            yard.run(&plan).expect("ran");
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("create, start, wait, remove: least {:?}, median {:?}", times[0], times[15]);
    // a processor that is a program itself says so by its name
    let is_emulated = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU TCG"));
    assert!(times[0].as_millis() < if is_emulated { 1000 } else { 50 }, "{times:?}");
}
