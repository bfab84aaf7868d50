//! Shims driven as an engine drives them: real processes around real containers, seen from outside.

#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "shim/yard.rs"]
mod yard;

use std::time::Duration;

use boxyard::engine::shim::{Attach, Shim, ShimError, ShimEvent, StdinMode, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use yard::{Yard, frames, within};

const BOTH: Attach = Attach { stdin: false, stdout: true, stderr: true, replay: false };
const ALL: Attach = Attach { stdin: true, ..BOTH };

#[tokio::test]
async fn output_exit_code_and_log_arrive_and_nothing_is_left() {
    let yard = Yard::new("echo out; echo err >&2; exit 7");
    let shim = yard.spawn().await;
    let attached = shim.attach(BOTH).await.unwrap();
    let started = shim.start().await.unwrap();
    assert_eq!(started.pid, shim.init_pid());

    let exit = within(shim.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.error), (7, None, false, None));
    let output = frames(attached).await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(yard.exit_record().unwrap().code, 7);
    let log = yard.log_text();
    assert!(log.contains(r#"{"log":"out\n","stream":"stdout","time":""#), "{log}");
    assert!(log.contains(r#"{"log":"err\n","stream":"stderr","time":""#), "{log}");
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn the_end_of_input_reaches_the_program() {
    let mut yard = Yard::new("cat; echo end");
    yard.spec.stdin = StdinMode::Once;
    let shim = yard.spawn().await;
    let mut attached = shim.attach(ALL).await.unwrap();
    attached.write_all(b"before the start\n").await.unwrap();
    shim.start().await.unwrap();
    attached.write_all(b"after it\n").await.unwrap();
    attached.shutdown().await.unwrap();
    assert_eq!(frames(attached).await.stdout, "before the start\nafter it\nend\n");
    assert_eq!(within(shim.wait()).await.unwrap().code, 0);
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn input_that_stays_open_outlives_its_attachers() {
    let mut yard = Yard::new("read a; read b; echo $a $b");
    yard.spec.stdin = StdinMode::Open;
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    for line in ["one\n", "two\n"] {
        let mut attached = shim.attach(Attach { stdin: true, ..Attach::default() }).await.unwrap();
        attached.write_all(line.as_bytes()).await.unwrap();
        // Gone at once: what it sent counts all the same.
        drop(attached);
    }
    assert_eq!(within(shim.wait()).await.unwrap().code, 0);
    let log = yard.log_text();
    assert!(log.contains("one two") || log.contains("two one"), "{log}");
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn execs_have_streams_and_codes_of_their_own() {
    let yard = Yard::new("exec sleep 1000");
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    let mut events = shim.subscribe();

    let mut exec = shim.exec(yard.exec("a", "cat; echo err >&2; exit 3")).await.unwrap();
    let mut io = exec.io.take().unwrap();
    io.write_all(b"through the pipe").await.unwrap();
    io.shutdown().await.unwrap();
    let output = frames(io).await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("through the pipe", "err\n"));
    assert_eq!(within(exec.exit).await.unwrap(), 3);
    assert_eq!(within(events.next()).await, Some(ShimEvent::ExecExited { exec_id: "a".into(), code: 3 }));

    let missing = shim.exec(yard.exec_args("b", &["/no/such/program"])).await.unwrap_err();
    assert!(matches!(missing, ShimError::Start { code: 127, .. }), "{missing:?}");
    assert!(missing.to_string().starts_with("OCI runtime exec failed: exec failed: "), "{missing}");

    shim.signal(Target::Init, libc::SIGKILL).await.unwrap();
    let exit = within(shim.wait()).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn an_exec_that_leaves_a_child_behind_ends_all_the_same() {
    let yard = Yard::new("exec sleep 1000");
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    let mut exec = shim.exec(yard.exec("a", "echo done; sleep 1000 &")).await.unwrap();
    assert_eq!(within(frames(exec.io.take().unwrap())).await.stdout, "done\n");
    assert_eq!(within(exec.exit).await.unwrap(), 0);
    shim.signal(Target::Init, libc::SIGKILL).await.unwrap();
    within(shim.wait()).await.unwrap();
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_terminal_is_raw_and_knows_its_size() {
    let mut yard = Yard::new("stty size; read line; stty size; echo got $line");
    yard.spec.plan.process.tty = true;
    yard.spec.stdin = StdinMode::Once;
    let shim = yard.spawn().await;
    let size = |rows, cols| boxyard::engine::oci::ConsoleSize { rows, cols };
    shim.resize(Target::Init, size(30, 90)).await.unwrap();
    let mut attached = shim.attach(ALL).await.unwrap();
    shim.start().await.unwrap();
    let mut first = [0; 7];
    within(attached.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"30 90\r\n");
    shim.resize(Target::Init, size(40, 100)).await.unwrap();
    attached.write_all(b"hello\n").await.unwrap();
    let mut rest = String::new();
    within(attached.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.ends_with("40 100\r\ngot hello\r\n"), "{rest:?}");
    assert_eq!(within(shim.wait()).await.unwrap().code, 0);
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_missing_program_is_code_127_and_leaves_nothing() {
    let mut yard = Yard::new("");
    yard.spec.plan.process.args = vec!["/no/such/program".to_owned()];
    let shim = yard.spawn().await;
    let error = shim.start().await.unwrap_err();
    assert!(matches!(error, ShimError::Start { code: 127, .. }), "{error:?}");
    assert!(error.to_string().contains("no such file or directory"), "{error}");
    assert_eq!(yard.exit_record(), None);
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_container_that_can_not_be_made_says_which_step_failed() {
    let mut yard = Yard::new("true");
    yard.spec.plan.root = boxyard::engine::oci::RootPlan::Directory("/no/such/root".into());
    let error = yard.try_spawn().await.unwrap_err();
    assert!(matches!(&error, ShimError::Create { message, .. } if message.contains("/no/such/root")), "{error:?}");
}

#[tokio::test]
async fn a_container_outlives_its_engine_and_is_found_again() {
    let yard = Yard::new("read x; exit 5");
    let mut yard = yard;
    yard.spec.stdin = StdinMode::Open;
    let first = yard.spawn().await;
    first.start().await.unwrap();
    let pids = (first.pid(), first.init_pid());
    drop(first);

    let second = Shim::connect(yard.bundle()).await.unwrap().expect("it lives");
    assert_eq!((second.pid(), second.init_pid()), pids);
    assert!(second.hello().started_at.is_some());
    let mut attached = second.attach(Attach { stdin: true, ..Attach::default() }).await.unwrap();
    attached.write_all(b"go\n").await.unwrap();
    assert_eq!(within(second.wait()).await.unwrap().code, 5);
    yard.leaves_nothing_behind(&second).await;
    assert!(Shim::connect(yard.bundle()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_shim_that_dies_is_told_as_gone() {
    let yard = Yard::new("exec sleep 1000");
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    let mut events = shim.subscribe();
    yard::kill(shim.pid());
    assert_eq!(within(events.next()).await, Some(ShimEvent::Gone));
    assert_eq!(within(events.next()).await, None);
    assert!(matches!(shim.signal(Target::Init, 9).await, Err(ShimError::Gone { .. })));
    assert_eq!(within(shim.subscribe().next()).await, Some(ShimEvent::Gone));
    assert!(Shim::connect(yard.bundle()).await.unwrap().is_none());
    yard.clean_up_as_an_engine().await;
}

#[tokio::test]
async fn a_discarded_container_leaves_nothing() {
    let yard = Yard::new("true");
    let shim = yard.spawn().await;
    shim.discard().await.unwrap();
    yard.leaves_nothing_behind(&shim).await;
    assert_eq!(within(shim.subscribe().next()).await, None);
}

#[tokio::test]
async fn a_container_that_no_engine_starts_ends_by_itself() {
    let yard = Yard::new("true");
    let shim = yard.spawn().await;
    let pid = shim.pid();
    drop(shim);
    tokio::time::timeout(Duration::from_secs(30), yard::ended(pid)).await.expect("it does not wait for ever");
    yard.is_clean().await;
}

#[tokio::test]
async fn who_attaches_first_loses_nothing_and_does_not_stall_it_by_standing_still() {
    let yard = Yard::new("head -c 3000000 /dev/zero; echo end >&2");
    let shim = yard.spawn().await;
    let attached = shim.attach(BOTH).await.unwrap();
    shim.start().await.unwrap();
    assert_eq!(within(shim.wait()).await.unwrap().code, 0, "it ends while nobody reads");
    let output = frames(attached).await;
    assert_eq!((output.stdout.len(), output.stderr.as_str()), (3_000_000, "end\n"));
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn who_attaches_later_loses_nothing_and_can_not_stall_it() {
    let mut yard = Yard::new("read x; head -c 5000000 /dev/zero; exit 4");
    yard.spec.stdin = StdinMode::Open;
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    let mut lazy = shim.attach(ALL).await.unwrap();
    lazy.write_all(b"go\n").await.unwrap();
    assert_eq!(within(shim.wait()).await.unwrap().code, 4);
    assert_eq!(frames(lazy).await.stdout.len(), 5_000_000);
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_long_log_is_rotated_and_compressed_beside_the_container() {
    let mut yard = Yard::new("i=0; while [ $i -lt 3000 ]; do echo line number $i; i=$((i+1)); done; exec sleep 1000");
    yard.spec.log.max_size = Some(100_000);
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    yard.file_appears("it-json.log.1.gz").await;
    shim.signal(Target::Init, libc::SIGKILL).await.unwrap();
    within(shim.wait()).await.unwrap();
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_hard_end_for_want_of_memory_is_told() {
    let mut yard = Yard::new("head -c 100000000 /dev/zero | tail");
    yard.spec.plan.cgroup.limits.memory = Some(16 << 20);
    yard.spec.plan.cgroup.limits.memory_swap = Some(16 << 20);
    let shim = yard.spawn().await;
    shim.start().await.unwrap();
    let exit = within(shim.wait()).await.unwrap();
    assert!(exit.oom_killed && exit.code == 137, "{exit:?}");
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn a_polite_end_asked_of_the_shim_goes_to_the_container() {
    let yard = Yard::new("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    let shim = yard.spawn().await;
    let mut attached = shim.attach(BOTH).await.unwrap();
    shim.start().await.unwrap();
    let mut ready = [0; 14];
    within(attached.read_exact(&mut ready)).await.unwrap();
    yard::signal(shim.pid(), libc::SIGHUP);
    yard::signal(shim.pid(), libc::SIGTERM);
    assert_eq!(within(shim.wait()).await.unwrap().code, 9);
    yard.leaves_nothing_behind(&shim).await;
}

#[tokio::test]
async fn an_unstarted_shim_that_dies_is_told_as_gone() {
    let yard = Yard::new("true");
    let shim = yard.spawn().await;
    yard::kill(shim.pid());
    assert_eq!(within(shim.subscribe().next()).await, Some(ShimEvent::Gone));
    within(yard::ended(shim.init_pid())).await;
    yard.clean_up_as_an_engine().await;
}
