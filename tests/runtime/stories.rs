//! What must be true inside.

use boxyard::engine::oci::{Limits, MountPlan, ProcessPlan};
use boxyard::engine::runtime::{self, Stdio};

use super::yard::{Yard, finish, line, type_into};

/// Every story, by its name.
pub const ALL: &[(&str, fn())] = &[
    ("a_shell_runs", a_shell_runs),
    ("it_is_alone_in_its_namespaces", it_is_alone_in_its_namespaces),
    ("binds_and_tmpfs", binds_and_tmpfs),
];

fn a_shell_runs() {
    let yard = Yard::new("shell");
    let outcome = yard.sh("echo hello; exit 7");
    assert_eq!((outcome.output.as_str(), outcome.code), ("hello\n", 7));
}

fn it_is_alone_in_its_namespaces() {
    let yard = Yard::new("alone");
    let outcome =
        yard.sh("echo $$; hostname; ls -1 /sys/class/net; ls / ; cat /proc/self/cgroup; mount; ls -l /dev; ps");
    println!("{}", outcome.output);
    assert!(outcome.output.starts_with("1\nyard\nlo\n"), "{}", outcome.output);
}

fn binds_and_tmpfs() {
    let mut yard = Yard::new("binds");
    std::fs::write(yard.path("file"), "from the host").expect("a file");
    let file = yard.path("file");
    yard.plan.mounts.push(MountPlan::bind(file, "/etc/made/here").read_only());
    let outcome = yard.sh("cat /etc/made/here; echo x > /etc/made/here");
    println!("{}", outcome.output);
}
