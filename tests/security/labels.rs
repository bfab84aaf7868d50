//! AppArmor: where the kernel has it, a profile asked for by name holds for all programs of a container; where it has
//! not, nobody is told that it does.

use std::path::Path;
use std::process::{Command, Stdio};

use bollard::models::{ContainerCreateBody, HostConfig};

use crate::attack::{Image, exec_shell, offline, program, run, said, shell, start};
use crate::support::Yard;

fn confined(profile: &str, config: ContainerCreateBody) -> ContainerCreateBody {
    let host_config = HostConfig { security_opt: Some(vec![format!("apparmor={profile}")]), ..offline() };
    ContainerCreateBody { host_config: Some(host_config), ..config }
}

fn kernel_has_it() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.trim() == "Y")
}

/// What the kernel says of a process's profile, in the container.
const LABEL: &str = "cat /proc/self/attr/current";

#[tokio::test]
async fn a_profile_that_cannot_hold_is_refused_by_its_name() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let words = run(&yard, "absent", confined("no-such-profile", shell(&image, LABEL))).await.unwrap_err();
    assert!(words.contains("no-such-profile") && words.contains("AppArmor"), "{words}");
    said(run(&yard, "open", confined("unconfined", shell(&image, "echo ran"))).await, "ran");
    yard.leaves_nothing_behind().await;
}

/// Needs a kernel with AppArmor and, to load a profile, apparmor_parser; elsewhere it says so and ends.
#[tokio::test]
async fn a_loaded_profile_holds_for_run_and_exec() {
    let parser =
        ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"].into_iter().find(|path| Path::new(path).exists());
    let (true, Some(parser)) = (kernel_has_it(), parser) else {
        return println!("this kernel has no AppArmor, or there is no apparmor_parser: not tried");
    };
    let name = format!("boxyard-test-{}", std::process::id());
    let profile = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{ file, capability, network, signal, ptrace, mount, \
         deny /forbidden/** rw, deny /forbidden w, }}\n"
    );
    let load = |flag: &str| {
        let mut child = Command::new(parser).args([flag, "-K", "-q"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), profile.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{parser} {flag}");
    };
    load("-a");
    let yard = Yard::new();
    let image = Image::new().directory("forbidden").file("forbidden/x", b"secret", 0o644).import(&yard, "usual").await;
    let attempt = format!(
        "{LABEL}; cat /forbidden/x 2>/dev/null || echo refused; touch /forbidden/y 2>/dev/null || echo refused"
    );
    let expected = format!("{name} (enforce)\nrefused\nrefused");
    said(run(&yard, "run", confined(&name, shell(&image, &attempt))).await, &expected);
    start(&yard, "up", confined(&name, program(&image, &["sleep", "600"]))).await.unwrap();
    assert_eq!(exec_shell(&yard, "up", &attempt).await.output.trim_end(), expected);
    // under our init, too: that one is the first to be confined
    let mut under_init = confined(&name, shell(&image, &format!("cat /proc/1/attr/current; {attempt}")));
    under_init.host_config.as_mut().unwrap().init = Some(true);
    said(run(&yard, "init", under_init).await, &format!("{name} (enforce)\n{expected}"));
    // and by whoever is not root, without new privileges
    let mut careful = confined(&name, shell(&image, &attempt));
    careful.host_config.as_mut().unwrap().security_opt.as_mut().unwrap().push("no-new-privileges".to_owned());
    said(run(&yard, "careful", ContainerCreateBody { user: Some("1000".to_owned()), ..careful }).await, &expected);
    // it is not what a container leaves by itself
    let leave = "{ echo unconfined > /proc/self/attr/current && echo left; \
                 echo exec unconfined > /proc/self/attr/exec && echo left; } 2>/dev/null; cat /proc/self/attr/current";
    said(run(&yard, "leave", confined(&name, shell(&image, leave))).await, &format!("{name} (enforce)"));
    said(run(&yard, "open", confined("unconfined", shell(&image, "cat /forbidden/x"))).await, "secret");
    yard.leaves_nothing_behind().await;
    load("-R");
}
