//! Hostile images: links where the runtime mounts, makes files, or looks.

use std::path::{Path, PathBuf};

use bollard::exec::CreateExecOptions;
use bollard::models::{ContainerCreateBody, HostConfig};

use crate::attack::{Image, exec, exec_shell, offline, privileged, program, run, said, shell, start, volume};
use crate::support::Yard;

/// A folder of the host with a file in it, which no container must read or write.
pub struct Outside {
    folder: tempfile::TempDir,
}

pub const SECRET: &str = "secret of the host";

impl Outside {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("outside-").tempdir_in("/tmp").unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// An image whose links lead here, by the ways there are.
    pub fn image_of_links(&self) -> Image {
        let path = self.path().display().to_string();
        Image::new()
            .link("out", &path)
            .link("climb", &format!("../../../../../../..{path}"))
            .link("magic", "/proc/self/root")
            .link("file", &format!("{path}/secret"))
    }

    #[track_caller]
    pub fn is_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(std::fs::read_to_string(self.file()).unwrap(), SECRET);
    }
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-52881: masks and writes that go by /proc land where the image wants.
#[tokio::test]
async fn links_in_place_of_the_kernels_folders_are_refused() {
    let yard = Yard::new();
    for (at, (name, target)) in
        [("proc", "/tmp/p"), ("sys", "/tmp/s"), ("dev", "/tmp/d"), ("proc", "/dev/shm")].into_iter().enumerate()
    {
        let image = Image::new().directory("tmp/p").directory("tmp/s").directory("tmp/d").link(name, target);
        let image = image.import(&yard, &format!("linked-{name}{at}")).await;
        let words = run(&yard, &format!("c{at}"), shell(&image, "true")).await.unwrap_err();
        assert!(words.contains(&format!("/{name} must be mounted on ordinary directory")), "{words}");
    }
    let image = Image::new().file("proc", b"a file", 0o644).import(&yard, "filed").await;
    let words = run(&yard, "filed", shell(&image, "true")).await.unwrap_err();
    assert!(words.contains("/proc must be mounted on ordinary directory"), "{words}");
    yard.leaves_nothing_behind().await;
}

/// CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, CVE-2026-47766: what the image put at /dev took part in the masking.
#[tokio::test]
async fn what_the_image_has_in_dev_has_no_part_in_it() {
    let yard = Yard::new();
    let image = Image::new()
        .directory("dev")
        .link("dev/null", "/proc/sys/kernel/core_pattern")
        .link("dev/console", "/proc/sysrq-trigger")
        .link("dev/pts", "/proc/sys/kernel")
        .link("dev/ptmx", "/proc/sysrq-trigger")
        .link("dev/shm", "/proc/sys")
        .link("dev/mqueue", "/sys")
        .link("dev/kcore", "/proc/kcore");
    let image = image.import(&yard, "dev").await;
    let script = "stat -c %t:%T /dev/null; [ -L /dev/console ] && echo link; \
        echo x 2>/dev/null > /proc/sys/kernel/core_pattern && echo wrote; [ -e /dev/kcore ] && echo there; echo done";
    said(run(&yard, "plain", shell(&image, script)).await, "1:3\ndone");
    let terminal = ContainerCreateBody { tty: Some(true), ..shell(&image, script) };
    let text = run(&yard, "terminal", terminal).await.unwrap().output.replace('\r', "");
    assert_eq!(text, "1:3\ndone\n");
    yard.leaves_nothing_behind().await;
}

/// The same where the attacker's files are really used: a volume, filled from the image, is mounted at /dev.
#[tokio::test]
async fn a_null_device_that_is_none_masks_nothing() {
    let yard = Yard::new();
    let null = Image::new().directory("dev").link("dev/null", "/proc/uptime").import(&yard, "null").await;
    let config = ContainerCreateBody { host_config: Some(volume("null", "/dev")), ..shell(&null, "echo ran") };
    let words = run(&yard, "null", config).await.unwrap_err();
    assert!(words.contains("it is not the null device"), "{words}");
    let console = Image::new().directory("dev").link("dev/console", "/proc/uptime").device("dev/null", 1, 3);
    let console = console.import(&yard, "console").await;
    // a /dev of one's own brings no terminals along, unless they are bound as well
    let mut host_config = volume("console", "/dev");
    host_config.binds = Some(vec!["/dev/pts:/dev/pts".to_owned()]);
    let config = ContainerCreateBody { host_config: Some(host_config), tty: Some(true), ..shell(&console, "echo ran") };
    let words = run(&yard, "console", config).await.unwrap_err();
    assert!(words.contains("/dev/console: it is a link"), "{words}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_volume_lands_inside_whatever_links_the_image_has() {
    let yard = Yard::new();
    let outside = Outside::new();
    let path = outside.path().display().to_string();
    let image = Image::new()
        .link("absolute", &path)
        .link("climbing", &format!("../../../../../../../..{path}"))
        .directory("data")
        .link("data/inner", &path);
    let image = image.import(&yard, "links").await;
    for (at, target) in ["/absolute/new", "/climbing/new", "/data/inner", "/absolute"].into_iter().enumerate() {
        let config = ContainerCreateBody {
            host_config: Some(volume(&format!("v{at}"), target)),
            ..shell(
                &image,
                &format!(
                    "cat {target}/secret {path}/secret 2>/dev/null; echo written > {target}/file; cat {target}/file"
                ),
            )
        };
        let output = run(&yard, &format!("c{at}"), config).await.unwrap().output;
        assert!(output.lines().any(|line| line == "written") && !output.contains(SECRET), "{target}: {output}");
        outside.is_untouched();
    }
    yard.leaves_nothing_behind().await;
}

/// CVE-2019-16884: a volume over /proc, by its name or by a link.
#[tokio::test]
async fn nothing_is_mounted_into_proc() {
    let yard = Yard::new();
    let image = Image::new().link("data", "/proc").link("deep", "/data/sys").import(&yard, "links").await;
    let refused = [
        "/proc/sys",
        "/proc/self/attr",
        "/proc/1/root",
        "/proc/../proc/sys",
        "/data",
        "/data/sys/kernel",
        "/deep/net",
        "/deep",
    ];
    for (at, target) in refused.into_iter().enumerate() {
        let config =
            ContainerCreateBody { host_config: Some(volume(&format!("v{at}"), target)), ..shell(&image, "echo ran") };
        let words = run(&yard, &format!("c{at}"), config).await.expect_err(target);
        assert!(words.contains("because it is inside /proc"), "{target}: {words}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_files_of_the_network_are_never_written_through_links() {
    let yard = Yard::new();
    let outside = Outside::new();
    let secret = outside.file().display().to_string();
    let mut image = Image::new();
    for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        image = image.link(name, &secret);
    }
    let image = image.import(&yard, "linked").await;
    let output = run(&yard, "linked", shell(&image, "cat /etc/hosts")).await;
    assert!(output.as_ref().map_or(true, |one| !one.output.contains(SECRET)), "{output:?}");
    outside.is_untouched();
    let image = Image::new().directory("etc/hosts").directory("etc/resolv.conf").import(&yard, "folders").await;
    let output = run(&yard, "folders", shell(&image, "true")).await;
    assert!(output.is_err(), "a file cannot stand on a folder: {output:?}");
    yard.leaves_nothing_behind().await;
}

/// CVE-2024-21626: the working directory is a descriptor of the runtime's that still leads to the host.
#[tokio::test]
async fn no_working_directory_leads_out() {
    let yard = Yard::new();
    let outside = Outside::new();
    let image = Image::new()
        .link("leaked", "/proc/self/fd/7")
        .link("parent", "/proc/self/cwd/../../..")
        .link("host", &outside.path().display().to_string())
        .import(&yard, "links")
        .await;
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    let descriptors = (0..24).map(|fd| format!("/proc/self/fd/{fd}"));
    let more = ["/leaked", "/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/parent", "/proc/1/cwd/.."];
    for (at, cwd) in descriptors.chain(more.map(str::to_owned)).enumerate() {
        if !(10..=20).contains(&at) {
            let config = ContainerCreateBody { working_dir: Some(cwd.clone()), ..shell(&image, "pwd; ls ../../..") };
            let outcome = run(&yard, &format!("c{at}"), config).await;
            assert!(outcome.is_err(), "{cwd}: {outcome:?}");
        }
        let options = CreateExecOptions { cmd: Some(vec!["pwd"]), working_dir: Some(&*cwd), ..Default::default() };
        let outcome = exec(&yard, "up", options).await;
        assert!(outcome.as_ref().map_or(true, |one| one.code != 0), "exec in {cwd}: {outcome:?}");
    }
    // a link to a folder of the host's name is a folder of the container
    let config = ContainerCreateBody { working_dir: Some("/host/new".to_owned()), ..shell(&image, "pwd; ls ..") };
    said(run(&yard, "made", config).await, &format!("{}/new\nnew", outside.path().display()));
    outside.is_untouched();
    yard.leaves_nothing_behind().await;
}

/// The program itself may be a link: it must be one of the container's.
#[tokio::test]
async fn the_program_is_the_containers() {
    let yard = Yard::new();
    let image = Image::new()
        .link("self", "/proc/self/exe")
        .file("script", b"#!/proc/self/exe\n", 0o755)
        .link("host-true", "../../../../../../../bin/dd");
    let image = image.import(&yard, "programs").await;
    // at the moment of exec /proc/self/exe is our own binary, whose libraries this image does not have
    for (name, path) in [("self", "/self"), ("script", "/script"), ("by-path", "/proc/self/exe")] {
        let outcome = run(&yard, name, program(&image, &[path, "version"])).await;
        assert!(outcome.as_ref().map_or(true, |one| one.code != 0), "{path}: {outcome:?}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_read_only_root_is_read_only_after_all_the_mounting() {
    let yard = Yard::new();
    let image = Image::new().link("data", "/etc").import(&yard, "links").await;
    let host_config = HostConfig { readonly_rootfs: Some(true), ..offline() };
    let script = "touch /x /data/x /etc/hosts /bin/x 2>/dev/null && echo wrote; \
        rm /bin/busybox 2>/dev/null && echo removed; echo done";
    let config = ContainerCreateBody { host_config: Some(host_config), ..shell(&image, script) };
    said(run(&yard, "run", config).await, "done");
    yard.leaves_nothing_behind().await;
}

/// What one container leaves in a shared volume is a hostile image to the next.
#[tokio::test]
async fn a_shared_volume_cannot_lead_the_next_container_astray() {
    let yard = Yard::new();
    let outside = Outside::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = format!("ln -s {} /shared/x; ln -s /proc/sys /shared/y; echo done", outside.path().display());
    let config = ContainerCreateBody { host_config: Some(volume("shared", "/shared")), ..shell(&image, &script) };
    said(run(&yard, "first", config).await, "done");
    let mut both = volume("shared", "/shared");
    both.mounts.as_mut().unwrap().extend(volume("other", "/shared/x/inner").mounts.unwrap());
    let config = ContainerCreateBody { host_config: Some(both), ..shell(&image, "touch /shared/x/inner/f; echo done") };
    said(run(&yard, "second", config).await, "done");
    outside.is_untouched();
    let mut both = volume("shared", "/shared");
    both.mounts.as_mut().unwrap().extend(volume("third", "/shared/y/kernel").mounts.unwrap());
    let config = ContainerCreateBody { host_config: Some(both), ..shell(&image, "echo ran") };
    let words = run(&yard, "third", config).await.unwrap_err();
    assert!(words.contains("because it is inside /proc"), "{words}");
    yard.leaves_nothing_behind().await;
}

/// An exec into a container that has rearranged its own files.
#[tokio::test]
async fn an_exec_trusts_nothing_of_a_running_container() {
    let yard = Yard::new();
    let image = Image::new().import(&yard, "usual").await;
    let script = "mount -t tmpfs x /dev/pts; rm -f /dev/pts/ptmx; mknod /dev/pts/ptmx p; echo ready; sleep 600";
    let config = ContainerCreateBody { host_config: Some(privileged()), ..shell(&image, script) };
    start(&yard, "up", config).await.unwrap();
    yard.log_until("up", "ready").await;
    let options = CreateExecOptions { cmd: Some(vec!["tty"]), tty: Some(true), ..Default::default() };
    let outcome = exec(&yard, "up", options).await;
    assert!(outcome.as_ref().map_or(true, |one| !one.output.contains("/dev/pts/0")), "{outcome:?}");
    assert_eq!(exec_shell(&yard, "up", "echo still here").await.output, "still here\n");
    yard.leaves_nothing_behind().await;
}
