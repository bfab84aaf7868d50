//! A usual container from inside: what it may do, what it sees, what it was left with.

use crate::attack::{Image, Outcome, exec_shell, offline, privileged, program, run, said, shell, start};
use crate::support::Yard;
use bollard::models::{ContainerCreateBody, HostConfig};

const MASKED: &str = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats \
    /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware \
    /sys/devices/system/cpu/cpu0/thermal_throttle";

const RIGHTS: &str = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status";

const USUAL_RIGHTS: &str = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2";

/// CVE-2022-24769: capabilities in the inheritable set came back by file capabilities.
#[tokio::test]
async fn it_has_dockers_capabilities_none_of_them_inheritable() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    said(run(&yard, "root", shell(&image, RIGHTS)).await, USUAL_RIGHTS);
    let nobody = ContainerCreateBody { user: Some("1000".to_owned()), ..shell(&image, RIGHTS) };
    let none = USUAL_RIGHTS.replacen("a80425fb", "00000000", 2);
    said(run(&yard, "nobody", nobody).await, &none);
    let init = HostConfig { init: Some(true), ..offline() };
    let under_init = ContainerCreateBody {
        host_config: Some(init),
        ..shell(&image, "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/1/status")
    };
    said(run(&yard, "init", under_init).await, USUAL_RIGHTS);
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", RIGHTS).await.output.trim_end(), USUAL_RIGHTS);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn new_privileges_are_given_up_where_that_is_asked_for() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let careful = HostConfig {
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        cap_drop: Some(vec!["ALL".to_owned()]),
        ..offline()
    };
    let script = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp:)' /proc/1/status; sleep 600";
    let config = ContainerCreateBody { host_config: Some(careful), ..shell(&image, script) };
    start(&yard, "up", config).await.unwrap();
    let rights = "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    yard.log_until("up", rights).await;
    let script = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp:)' /proc/self/status";
    assert_eq!(exec_shell(&yard, "up", script).await.output, rights);
    yard.leaves_nothing_behind().await;
}

/// CVE-2024-21626 began with a descriptor that was left open.
#[tokio::test]
async fn nothing_is_open_but_its_streams() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    // the one that lists opens the folder as 3
    said(run(&yard, "run", program(&image, &["ls", "/proc/self/fd"])).await, "0\n1\n2\n3");
    let init = HostConfig { init: Some(true), ..offline() };
    let under_init =
        ContainerCreateBody { host_config: Some(init), ..shell(&image, "ls /proc/1/fd; ls /proc/self/fd") };
    said(run(&yard, "init", under_init).await, "0\n1\n2\n0\n1\n2\n3");
    start(&yard, "up", program(&image, &["sleep", "600"])).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", "ls /proc/self/fd; ls /proc/1/fd").await.output, "0\n1\n2\n3\n0\n1\n2\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_tells_of_the_host_is_empty() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = format!(
        "for path in {MASKED}; do [ -e $path ] || continue; \
         if [ -d $path ]; then ls -A $path; touch $path/x 2>/dev/null && echo wrote $path; else cat $path; fi; \
         umount $path 2>/dev/null && echo took the mask off $path; done; echo done"
    );
    said(run(&yard, "run", shell(&image, &script)).await, "done");
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", &script).await.output, "done\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_kernels_settings_are_read_only() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger \
        /proc/irq/default_smp_affinity /proc/sys/vm/drop_caches /sys/kernel/uevent_helper /sys/power/state \
        /sys/kernel/rcu_expedited /sys/fs/cgroup/devices/devices.allow /sys/fs/cgroup/release_agent \
        /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids.max /sys/fs/cgroup/cgroup.procs; do \
        [ -e $path ] || continue; echo 0 2>/dev/null >> $path && echo wrote $path; done 2>/dev/null; \
        mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x 2>/dev/null && echo made a cgroup; \
        mount -o remount,rw /proc/sys 2>/dev/null && echo remounted; \
        touch /proc/bus/x /proc/fs/x 2>/dev/null && echo touched; echo done";
    said(run(&yard, "run", shell(&image, script)).await, "done");
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", script).await.output, "done\n");
    yard.leaves_nothing_behind().await;
}

/// The settings that the engine itself writes, while the host's are in sight.
#[tokio::test]
async fn a_setting_of_the_hosts_is_no_option() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let with = |name: &str, network: &str| ContainerCreateBody {
        host_config: Some(HostConfig {
            sysctls: Some(std::collections::HashMap::from([(name.to_owned(), "1".to_owned())])),
            network_mode: Some(network.to_owned()),
            ..HostConfig::default()
        }),
        ..shell(&image, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
    };
    let host = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let before = host();
    for (at, (name, network)) in [
        ("kernel.core_pattern", "none"),
        ("kernel/panic_on_oops", "none"),
        ("vm.panic_on_oom", "none"),
        ("net/../kernel/panic", "none"),
        ("net.ipv4.ip_unprivileged_port_start", "host"),
    ]
    .into_iter()
    .enumerate()
    {
        let words = run(&yard, &format!("c{at}"), with(name, network)).await.unwrap_err();
        assert!(words.contains("sysctl") && words.contains(name), "{words}");
    }
    said(run(&yard, "own", with("net.ipv4.ip_unprivileged_port_start", "none")).await, "1");
    assert_eq!(host(), before);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn it_has_no_mount_of_the_host() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    // fields 4, 5 and the type after the hyphen: what of which file system is where
    let outcome = run(&yard, "run", shell(&image, "cat /proc/self/mountinfo")).await.unwrap();
    for line in outcome.output.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = words[words.iter().position(|word| *word == "-").unwrap() + 1];
        let (of, at) = (words[3], words[4]);
        let is_own = match kind {
            "overlay" => at == "/",
            "proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" => true,
            _ => ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&at) && of.contains("/containers/"),
        };
        assert!(is_own, "a mount of the host: {line}");
        assert!(!words.iter().any(|word| word.starts_with("shared:") || word.starts_with("master:")), "{line}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn its_mounts_carry_the_usual_restrictions() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "for at in /proc /sys /sys/fs/cgroup /dev/shm /dev/mqueue; do \
        grep \" $at \" /proc/mounts | grep nosuid | grep nodev | grep -q noexec || echo $at is lax; done; \
        grep ' /dev ' /proc/mounts | grep -q nosuid || echo /dev is lax; \
        grep ' /dev/pts ' /proc/mounts | grep nosuid | grep -q noexec || echo /dev/pts is lax; \
        cp /bin/busybox /dev/shm/x; /dev/shm/x true 2>/dev/null && echo ran; echo done";
    said(run(&yard, "run", shell(&image, script)).await, "done");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn devices_of_the_host_stay_closed_whatever_node_is_made() {
    let yard = Yard::new();
    let image = Image::new().device("mem", 1, 1).device("kmsg", 1, 11).import(&yard, "nodes").await;
    // disks, memory, the kernel's log, a tun and a loop device; nodes of the image and nodes made
    let script = "cd /tmp; n=0; for number in 'b 8 0' 'b 254 0' 'b 7 0' 'b 259 0' 'c 1 1' 'c 1 11' 'c 10 200' 'c 10 237' \
        'c 10 229' 'c 4 1'; do n=$((n + 1)); mknod node$n $number; \
        dd if=node$n of=/dev/null bs=1 count=1 2>&1 | grep -q 'not permitted' || echo opened $number; done; \
        for node in /mem /kmsg; do cat $node 2>&1 | grep -q 'not permitted' || echo opened $node; done; echo done";
    said(run(&yard, "run", shell(&image, script)).await, "done");
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", script).await.output, "done\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_hosts_processes_are_neither_seen_nor_reached() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let script = format!(
        "kill -9 {pid} 2>/dev/null && echo killed; [ -e /proc/{pid} ] && echo seen; kill -9 -1 2>/dev/null; \
         ls /proc > /tmp/list; grep -c '^[0-9]' /tmp/list",
        pid = bystander.id()
    );
    // the shell and ls
    said(run(&yard, "run", shell(&image, &script)).await, "2");
    let is_alive = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(is_alive, "a process of the host was killed from a container");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn it_can_neither_mount_nor_make_namespaces() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "mount -t tmpfs x /tmp 2>/dev/null && echo mounted; mount -o bind / /tmp 2>/dev/null && echo bound; \
        mount -o remount,rw /sys 2>/dev/null && echo remounted; mount -t proc x /tmp 2>/dev/null && echo proc; \
        umount /etc/hosts 2>/dev/null && echo unmounted; \
        for kind in -U -m -n -p -i -u -C; do unshare $kind true 2>/dev/null && echo unshared $kind; done; \
        umount /proc/sys 2>/dev/null && echo bared; echo done";
    said(run(&yard, "run", shell(&image, script)).await, "done");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn its_environment_is_its_own() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    // whoever runs this test gives it, and so the engine, more variables than these
    assert!(std::env::vars().count() > 3);
    let outcome = run(&yard, "run", program(&image, &["env"])).await.unwrap();
    let names: Vec<&str> = outcome.output.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["PATH", "HOSTNAME", "HOME"]);
    start(&yard, "up", program(&image, &["sleep", "600"])).await.unwrap();
    let Outcome { output, .. } = exec_shell(&yard, "up", "env | grep -c -i -E 'cargo|boxyard'").await;
    assert_eq!(output, "0\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn without_a_terminal_there_is_none_to_type_into() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "cat /dev/tty 2>&1 | grep -c 'No such device'; ls /dev/pts";
    said(run(&yard, "run", shell(&image, script)).await, "1\nptmx");
    yard.leaves_nothing_behind().await;
}

/// CVE-2021-41091: the layers of images lay open to the host's users, and set-user-id programs are among them.
#[tokio::test]
async fn the_hosts_users_cannot_reach_into_layers() {
    use std::os::unix::fs::PermissionsExt;
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    run(&yard, "run", program(&image, &["true"])).await.unwrap();
    for room in ["layers", "containers", "images", "build", "networks"] {
        let Ok(found) = std::fs::metadata(yard.root().join(room)) else { continue };
        assert_eq!(found.permissions().mode() & 0o077, 0, "{room}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn privileged_is_what_it_says_and_nothing_else_is() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let open = ContainerCreateBody {
        host_config: Some(privileged()),
        ..shell(&image, "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status")
    };
    said(run(&yard, "privileged", open).await, "mounted\nSeccomp:\t0");
    // an exec that asks for it gets all capabilities, its container's other programs do not
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(
        exec_shell(&yard, "up", "mount -t tmpfs x /tmp || echo refused").await.output.lines().last(),
        Some("refused")
    );
    yard.leaves_nothing_behind().await;
}
