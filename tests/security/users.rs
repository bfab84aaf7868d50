//! Who a process runs as, when the image or the request lies about it.

use std::time::Instant;

use bollard::exec::CreateExecOptions;
use bollard::models::ContainerCreateBody;

use crate::attack::{Image, exec, run, said, shell, start};
use crate::support::Yard;

fn as_user(image: &str, user: &str, script: &str) -> ContainerCreateBody {
    ContainerCreateBody { user: Some(user.to_owned()), ..shell(image, script) }
}

/// CVE-2024-40635, CVE-2026-46680, CVE-2026-30892: a number that is out of range became root, or a name.
#[tokio::test]
async fn a_number_out_of_range_is_nobody_least_of_all_root() {
    let yard = Yard::new();
    // names that look like the numbers, all of them root
    let numbers = ["4294967296", "4294967295", "2147483648", "-1", "99999999999999999999", "18446744073709551616"];
    let lines: String = numbers.iter().map(|number| format!("{number}:x:0:0::/:/bin/sh\n")).collect();
    let groups: String = numbers.iter().map(|number| format!("{number}:x:0:\n")).collect();
    let image = Image::bare().file("etc/passwd", lines.as_bytes(), 0o644).file("etc/group", groups.as_bytes(), 0o644);
    let image = image.import(&yard, "numbers").await;
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    for (at, number) in numbers.iter().enumerate() {
        for (form, user) in [("user", (*number).to_owned()), ("group", format!("1:{number}"))] {
            let words = run(&yard, &format!("{form}{at}"), as_user(&image, &user, "id")).await.unwrap_err();
            assert!(words.contains("uids and gids must be in range 0-2147483647"), "{user}: {words}");
            let options = CreateExecOptions { cmd: Some(vec!["id"]), user: Some(user.as_str()), ..Default::default() };
            let outcome = exec(&yard, "up", options).await;
            assert!(outcome.as_ref().map_or(true, |one| !one.output.contains("uid=")), "exec -u {user}: {outcome:?}");
        }
    }
    yard.leaves_nothing_behind().await;
}

/// The kernel reads the highest id as "leave it as it is", and it was root's.
#[tokio::test]
async fn a_passwd_line_cannot_keep_a_user_root() {
    let yard = Yard::new();
    let passwd = b"evil:x:4294967295:4294967295::/:/bin/sh\nworse:x:4294967296:0::/:/bin/sh\nneg:x:-1:-1::/:/bin/sh\n";
    let image = Image::bare().file("etc/passwd", passwd, 0o644).import(&yard, "highest").await;
    for name in ["evil", "worse", "neg"] {
        let words = run(&yard, name, as_user(&image, name, "id")).await.unwrap_err();
        assert!(words.contains("no matching entries in passwd file"), "{name}: {words}");
    }
    yard.leaves_nothing_behind().await;
}

/// CVE-2026-47262: a passwd or group file without end ate the daemon's memory; one that is a pipe held it for good.
#[tokio::test]
async fn a_passwd_file_that_is_none_is_refused_soon() {
    let yard = Yard::new();
    let endless = vec![b'a'; 9 << 20];
    let lines = "x:x:1:1::/:/bin/sh\n".repeat(600_000);
    let hostile: [(&str, Image); 9] = [
        ("line", Image::bare().file("etc/passwd", &endless, 0o644)),
        ("lines", Image::bare().file("etc/passwd", lines.as_bytes(), 0o644)),
        ("group", Image::bare().file("etc/group", &endless, 0o644)),
        ("pipe", Image::bare().pipe("etc/passwd")),
        ("device", Image::bare().device("etc/passwd", 1, 5)),
        ("zero", Image::bare().link("etc/passwd", "/dev/zero")),
        ("kmsg", Image::bare().link("etc/passwd", "/proc/kmsg")),
        ("folder", Image::bare().directory("etc/passwd")),
        ("stdin", Image::bare().link("etc/group", "/proc/self/fd/0")),
    ];
    for (name, image) in hostile {
        let image = image.import(&yard, name).await;
        let begin = Instant::now();
        let words = run(&yard, name, as_user(&image, "app", "id")).await.unwrap_err();
        assert!(begin.elapsed().as_secs() < 20, "{name} took {:?}", begin.elapsed());
        assert!(words.contains("read /etc/"), "{name}: {words}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_passwd_link_finds_the_images_file_not_the_hosts() {
    let yard = Yard::new();
    let image = Image::bare().link("etc/passwd", "../../../../../../usr/lib/users").file(
        "usr/lib/users",
        b"inside:x:77:78::/:/bin/sh\n",
        0o644,
    );
    let image = image.import(&yard, "linked").await;
    said(run(&yard, "inside", as_user(&image, "inside", "id -u; id -g")).await, "77\n78");
    yard.leaves_nothing_behind().await;
}

/// A container that changes its own files while an exec looks its user up.
#[tokio::test]
async fn a_passwd_file_turned_into_a_pipe_does_not_hold_an_exec() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    start(&yard, "up", shell(&image, "rm /etc/passwd; mknod /etc/passwd p; echo ready; sleep 600")).await.unwrap();
    yard.log_until("up", "ready").await;
    let options = CreateExecOptions { cmd: Some(vec!["id"]), user: Some("app"), ..Default::default() };
    let outcome = exec(&yard, "up", options).await;
    assert!(outcome.as_ref().map_or(true, |one| !one.output.contains("uid=")), "{outcome:?}");
    yard.leaves_nothing_behind().await;
}
