//! Our own program as the way out: CVE-2019-5736 and its kin.

use std::io::Read;

use bollard::exec::CreateExecOptions;
use bollard::models::{ContainerCreateBody, HostConfig};

use crate::attack::{Image, exec, exec_shell, privileged, program, run, said, shell, start};
use crate::images::{Outside, SECRET};
use crate::support::Yard;

/// Looks for processes that are on their way into the container, holds on to their program, and writes to it, while it
/// runs and after it went.
const CATCHER: &str = r#"
    $| = 1; my $own = (stat "/proc/self/exe")[1]; my $caught = 0; my %errors;
    $SIG{TERM} = sub { print "caught ", $caught ? "some" : "none", " ", join(",", sort keys %errors), "\n"; exit };
    print "ready\n";
    while (1) { opendir my $all, "/proc"; for my $pid (readdir $all) {
        next unless $pid =~ /^\d+$/ && $pid != 1 && $pid != $$;
        open(my $held, "<", "/proc/$pid/exe") or next; my $inode = (stat $held)[1];
        next if $inode == $own || -s $held < 5_000_000; $caught++;
        for my $path ("/proc/$pid/exe", "/proc/self/fd/" . fileno($held)) {
            for (1 .. 50) { if (open my $file, "+<", $path) { print "OPENED $path\n" } else { $errors{$!+0} = 1 } }
        } } }
"#;

fn our_program() -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open(env!("CARGO_BIN_EXE_boxyard")).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// CVE-2024-21626 again, from further away: what whoever started the engine had left open.
#[tokio::test]
async fn a_descriptor_that_the_engine_was_started_with_is_no_way_out() {
    use rustix::fs::{Mode, OFlags};
    let outside = Outside::new();
    // without close-on-exec: the engine has it, and so had all that it starts, would nobody close it
    let leaked = rustix::fs::open(outside.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let yard = Yard::new();
    let number = std::os::fd::AsRawFd::as_raw_fd(&leaked);
    let held = std::fs::read_link(format!("/proc/{}/fd/{number}", yard.engine_pid())).unwrap();
    assert_eq!(held, outside.path(), "the engine was started with it");
    let image = Image::new().import(&yard, "usual").await;
    let search = "for fd in /proc/self/fd/* /proc/1/fd/*; do cat $fd/secret 2>/dev/null; cat $fd/../*/secret 2>/dev/null; \
        done; ls -l /proc/self/fd /proc/1/fd 2>/dev/null | grep outside; echo done";
    said(run(&yard, "run", shell(&image, search)).await, "done");
    let init = HostConfig { init: Some(true), ..crate::attack::offline() };
    said(run(&yard, "init", ContainerCreateBody { host_config: Some(init), ..shell(&image, search) }).await, "done");
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", search).await.output, "done\n");
    let cwd = format!("/proc/self/fd/{number}");
    let config = ContainerCreateBody { working_dir: Some(cwd.clone()), ..shell(&image, "cat secret") };
    assert!(run(&yard, "cwd", config).await.is_err());
    let options =
        CreateExecOptions { cmd: Some(vec!["cat", "secret"]), working_dir: Some(&*cwd), ..Default::default() };
    let outcome = exec(&yard, "up", options).await;
    assert!(outcome.as_ref().map_or(true, |one| !one.output.contains(SECRET)), "{outcome:?}");
    drop(leaked);
    yard.leaves_nothing_behind().await;
}

/// CVE-2019-5736 with every right a container can have.
#[tokio::test]
async fn the_program_of_an_exec_cannot_be_written_to() {
    let yard = Yard::new();
    let image = yard.image_of_programs("perl:latest", &["perl", "sh", "cat", "sleep", "true"]).await;
    let before = our_program();
    let config = ContainerCreateBody { host_config: Some(privileged()), ..program(&image, &["perl", "-e", CATCHER]) };
    start(&yard, "catcher", config).await.unwrap();
    yard.log_until("catcher", "ready").await;
    for _ in 0..40 {
        let options = CreateExecOptions { cmd: Some(vec!["true"]), ..Default::default() };
        exec(&yard, "catcher", options).await.unwrap();
    }
    let stop = bollard::query_parameters::StopContainerOptionsBuilder::default().t(20).build();
    yard.docker().stop_container("catcher", Some(stop)).await.unwrap();
    let log = yard.log("catcher").await;
    assert!(!log.contains("OPENED"), "{log}");
    println!("{log}"); // whether one was caught at all is a matter of luck
    assert!(before == our_program(), "the engine's program was changed from within a container");
    yard.leaves_nothing_behind().await;
}

/// The init that `--init` leaves in the container is our program as well.
#[tokio::test]
async fn the_program_of_our_init_cannot_be_written_to() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let mode = || std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(env!("CARGO_BIN_EXE_boxyard")).unwrap());
    let (before, mode_before) = (our_program(), mode());
    let script = "[ $(stat -L -c %s /proc/1/exe) -gt 5000000 ] && echo ours; \
        exec 9< /proc/1/exe; for path in /proc/1/exe /proc/self/fd/9; do \
        dd if=/bin/busybox of=$path bs=1 count=1 conv=notrunc 2>/dev/null && echo wrote; chmod 777 $path 2>/dev/null; \
        mount -o remount,rw $path 2>/dev/null && echo remounted; done; echo done";
    let mut host_config = privileged();
    host_config.init = Some(true);
    let config = ContainerCreateBody { host_config: Some(host_config), ..shell(&image, script) };
    said(run(&yard, "privileged", config).await, "ours\ndone");
    let mut host_config = crate::attack::offline();
    host_config.init = Some(true);
    let config = ContainerCreateBody {
        host_config: Some(host_config),
        ..shell(&image, "cat /proc/1/exe 2>/dev/null | wc -c; ls /proc/1/root /proc/1/cwd 2>/dev/null | wc -l")
    };
    let output = run(&yard, "usual", config).await.unwrap().output;
    assert!(output.ends_with('\n'), "{output}");
    assert!(before == our_program(), "the engine's program was changed from within a container");
    assert_eq!(mode(), mode_before, "its mode was changed from within a container");
    yard.leaves_nothing_behind().await;
}

/// CVE-2016-9962: a process on its way in was open to the container's tracers.
#[tokio::test]
async fn a_process_on_its_way_in_shows_nothing_to_the_container() {
    let yard = Yard::new();
    let image = yard.image_of_programs("perl:latest", &["perl", "sh", "cat", "sleep", "true"]).await;
    let watcher = r#"$| = 1; my $own = (stat "/proc/self/exe")[1]; print "ready\n"; my $end = time + 600;
        while (time < $end) { opendir my $all, "/proc"; for my $pid (readdir $all) {
            next unless $pid =~ /^\d+$/ && $pid != 1 && $pid != $$;
            if (open(my $held, "<", "/proc/$pid/exe")) { print "SAW ours\n" if -s $held > 5_000_000 }
            if (opendir my $root, "/proc/$pid/root/var/lib/dpkg") { print "SAW the host\n" }
            if (open(my $memory, "+<", "/proc/$pid/mem")) { my $exe = readlink "/proc/$pid/exe";
                print "HELD memory of $exe\n" if defined $exe && $exe =~ /boxyard/ } } }"#;
    start(&yard, "watcher", program(&image, &["perl", "-e", watcher])).await.unwrap();
    yard.log_until("watcher", "ready").await;
    for _ in 0..40 {
        let options = CreateExecOptions { cmd: Some(vec!["true"]), ..Default::default() };
        exec(&yard, "watcher", options).await.unwrap();
    }
    assert_eq!(yard.log("watcher").await, "ready\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_cgroup_files_of_version_1_start_no_program_of_the_host() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "for group in /sys/fs/cgroup /sys/fs/cgroup/*; do \
        echo /tmp/x 2>/dev/null > $group/release_agent && echo wrote; \
        echo 1 2>/dev/null > $group/notify_on_release && echo notified; done 2>/dev/null; \
        mkdir /tmp/g; mount -t cgroup -o rdma x /tmp/g 2>/dev/null && echo mounted; echo done";
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", script).await.output, "done\n");
    yard.leaves_nothing_behind().await;
}
