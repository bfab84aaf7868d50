//! System calls that a container must not make, made by number.

use bollard::models::{ContainerCreateBody, HostConfig};

use crate::attack::{exec, offline, program, run, said, start};
use crate::support::Yard;
use bollard::exec::CreateExecOptions;

/// Prints the errno of each call of `calls`, "name number argument ..", arguments being numbers or 0.
const CALLER: &str = r#"for (split /;/, $ARGV[0]) { my ($name, $number, @args) = split; $_ = oct($_) for @args;
    $! = 0; my $got = syscall($number, map { $_ + 0 } (@args, (0) x (5 - @args)));
    printf "%s %s\n", $name, $got == -1 ? $! + 0 : "done"; }"#;

async fn perl(yard: &Yard) -> String {
    yard.image_of_programs("perl:latest", &["perl", "sh", "cat", "sleep", "ls", "id"]).await
}

fn calls(image: &str, list: &str) -> ContainerCreateBody {
    program(image, &["perl", "-e", CALLER, list])
}

/// What the filter refuses: EPERM is 1, ENOSYS 38. Unfiltered, each would succeed or fail with another errno.
#[cfg(target_arch = "x86_64")]
const REFUSED: [(&str, &str, u32); 26] = [
    ("add_key", "248", 1),
    ("request_key", "249", 1),
    ("keyctl", "250 0 0xfffffffffffffffd", 1),
    ("bpf", "321 0xffff", 1),
    ("userfaultfd", "323", 1),
    ("io_uring_setup", "425 1", 1),
    ("io_uring_enter", "426", 1),
    ("perf_event_open", "298", 1),
    ("kexec_load", "246 1 1 1", 1),
    ("open_by_handle_at", "304", 1),
    ("move_pages", "279", 1),
    ("unshare_user", "272 0x10000000", 1),
    ("setns", "308", 1),
    ("clone_new_user", "56 0x10000000", 1),
    ("clone_new_ns", "56 0x20000", 1),
    ("clone3", "435 0 0", 38),
    ("fsopen", "430", 1),
    ("open_tree", "428", 1),
    ("move_mount", "429", 1),
    ("mount_setattr", "442", 1),
    ("pidfd_getfd", "438", 1),
    ("quotactl", "179", 1),
    ("swapon", "167", 1),
    ("personality_read_implies_exec", "135 0x400000", 1),
    ("vsock", "41 0x28 0x1 0x0", 1),
    ("alg", "41 0x26 0x5 0x0", 1),
];

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn what_the_filter_forbids_is_forbidden_in_run_and_exec() {
    let yard = Yard::new();
    let image = perl(&yard).await;
    let list: Vec<String> = REFUSED.iter().map(|(name, call, _)| format!("{name} {call}")).collect();
    let expected: Vec<String> = REFUSED.iter().map(|(name, _, errno)| format!("{name} {errno}")).collect();
    said(run(&yard, "run", calls(&image, &list.join(";"))).await, &expected.join("\n"));
    start(&yard, "up", program(&image, &["sleep", "600"])).await.unwrap();
    let list = list.join(";");
    let options = CreateExecOptions { cmd: Some(vec!["perl", "-e", CALLER, &list]), ..Default::default() };
    said(exec(&yard, "up", options).await, &expected.join("\n"));
    yard.leaves_nothing_behind().await;
}

/// The upper half of an int is nothing to the kernel: a filter that compares all 64 bits lets these through.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_socket_family_cannot_hide_behind_upper_bits() {
    let yard = Yard::new();
    let image = perl(&yard).await;
    let list = "vsock 41 0x100000028 0x1;alg 41 0x100000026 0x5;inet 41 0x2 0x2;packet 41 0x11 0x3";
    said(run(&yard, "run", calls(&image, list)).await, "vsock 1\nalg 1\ninet done\npacket done");
    yard.leaves_nothing_behind().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn numbers_nobody_knows_and_the_x32_abi_do_not_exist() {
    let yard = Yard::new();
    let image = perl(&yard).await;
    let list = "newer 700;far 1000000;x32_read 0x40000000;x32_mount 1073741989";
    // perl reads the numbers as they stand
    let list = list.replace("0x40000000", "1073741824");
    said(run(&yard, "run", calls(&image, &list)).await, "newer 38\nfar 38\nx32_read 38\nx32_mount 38");
    yard.leaves_nothing_behind().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_capability_opens_its_own_calls_only() {
    let yard = Yard::new();
    let image = perl(&yard).await;
    let with = |capability: &str| ContainerCreateBody {
        host_config: Some(HostConfig { cap_add: Some(vec![capability.to_owned()]), ..offline() }),
        ..calls(&image, "handle 304 0xffffffff;unshare_uts 272 0x4000000;iopl 172")
    };
    said(run(&yard, "admin", with("SYS_ADMIN")).await, "handle 1\nunshare_uts done\niopl 1");
    let read = run(&yard, "search", with("DAC_READ_SEARCH")).await.unwrap().output;
    assert!(!read.starts_with("handle 1\n") && read.contains("unshare_uts 1\niopl 1"), "{read}");
    yard.leaves_nothing_behind().await;
}

/// Keys of the one who started the engine, seen without the filter that hides them anyway.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn its_session_keyring_is_its_own() {
    let yard = Yard::new();
    let image = perl(&yard).await;
    let serial = "print syscall(250, 0, -3, 0), \"\\n\"";
    let open = HostConfig { security_opt: Some(vec!["seccomp=unconfined".to_owned()]), ..offline() };
    let config = |script: &str| ContainerCreateBody {
        host_config: Some(open.clone()),
        ..program(&image, &["perl", "-e", script])
    };
    let own = std::process::Command::new("perl").args(["-e", serial]).output().unwrap().stdout;
    let first = run(&yard, "first", config(serial)).await.unwrap().output;
    let second = run(&yard, "second", config(serial)).await.unwrap().output;
    assert!(first.trim() != "-1" && first != second, "{first} {second}");
    assert_ne!(String::from_utf8_lossy(&own), first);
    yard.leaves_nothing_behind().await;
}
