//! For which platform a build is, and whether this machine can carry it out.
//!
//! Programs of another processor run where the kernel hands them to an emulator (`binfmt_misc`, see the kernel's
//! admin-guide/binfmt-misc.rst). Without one, such a build is refused before anything is done: it would fail at its first
//! RUN with nothing but "exec format error".

use std::fs;
use std::path::Path;

use crate::dockerfile::nearest;
use crate::engine::EngineError;
use crate::engine::image::ImageConfig;
use crate::engine::registry::Platform;

/// Where the kernel lists its emulators.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// The platforms of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platforms {
    /// This machine's.
    pub host: Platform,
    /// The image's.
    pub target: Platform,
}

impl Platforms {
    /// This machine's platform.
    pub(super) fn host() -> Platform {
        let config = ImageConfig::for_host(jiff::Timestamp::UNIX_EPOCH);
        Platform { architecture: config.architecture, os: config.os, variant: config.variant }
    }

    /// The platforms of a build for `asked` (`os[/arch[/variant]]`; this machine's where `None`).
    ///
    /// # Errors
    /// `InvalidParameter` for what is no platform, or none that programs run on here.
    pub(super) fn of(asked: Option<&str>, emulators: &Emulators) -> Result<Self, EngineError> {
        let host = Self::host();
        let target = match asked {
            None => host.clone(),
            Some(text) => runnable(text, &host, emulators)?,
        };
        Ok(Self { host, target })
    }

    /// The platform that a FROM's `--platform` means.
    ///
    /// # Errors
    /// As [`Platforms::of`].
    pub(super) fn of_stage(&self, asked: &str, emulators: &Emulators) -> Result<Platform, EngineError> {
        runnable(asked, &self.host, emulators)
    }

    /// The variables that tell a Dockerfile of them.
    pub(super) fn args(&self) -> impl Iterator<Item = (String, String)> {
        [("TARGET", &self.target), ("BUILD", &self.host)].into_iter().flat_map(|(side, platform)| {
            let variant = platform.variant.clone().unwrap_or_default();
            [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", variant),
            ]
            .map(|(part, value)| (format!("{side}{part}"), value))
        })
    }
}

/// Whether two platforms have the same system and processor.
pub(super) fn is_same(a: &Platform, b: &Platform) -> bool {
    a.os == b.os && a.architecture == b.architecture
}

fn runnable(text: &str, host: &Platform, emulators: &Emulators) -> Result<Platform, EngineError> {
    let platform = Platform::parse(&text.to_lowercase(), host).ok_or_else(|| {
        EngineError::invalid(format!("\"{text}\" is an invalid platform: expected os[/arch[/variant]]"))
    })?;
    let has_emulator = machine(&platform.architecture).is_some_and(|machine| emulators.run(machine));
    // A 64-bit x86 kernel runs 32-bit programs itself.
    let is_own =
        platform.architecture == host.architecture || (platform.architecture == "386" && host.architecture == "amd64");
    if platform.os == host.os && (is_own || has_emulator) {
        return Ok(platform);
    }
    let way_out = if machine(&platform.architecture).is_none() && platform.os == host.os {
        let near = nearest(&platform.architecture, ARCHITECTURES);
        let near =
            near.map_or_else(|| format!("known are {}", ARCHITECTURES.join(", ")), |it| format!("did you mean {it}?"));
        format!("no processor is called {} ({near})", platform.architecture)
    } else if platform.os == host.os {
        format!("register an emulator for {} with binfmt_misc, for example by qemu-user-static", platform.architecture)
    } else {
        format!("only {} images can be built here", host.os)
    };
    Err(EngineError::invalid(format!("platform {platform} can't be built on {host}: {way_out}")))
}

/// Every processor that [`machine`] knows.
const ARCHITECTURES: [&str; 10] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"];

/// The number of a processor in an ELF file's head (`e_machine`), and whether it writes its lowest byte first.
fn machine(architecture: &str) -> Option<(u16, bool)> {
    Some(match architecture {
        "386" => (3, true),
        "mips64le" => (8, true),
        "mips64" => (8, false),
        "ppc64le" => (21, true),
        "s390x" => (22, false),
        "arm" => (40, true),
        "amd64" => (62, true),
        "arm64" => (183, true),
        "riscv64" => (243, true),
        "loong64" => (258, true),
        _ => return None,
    })
}

/// The processors whose programs the kernel hands to an emulator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Emulators {
    machines: Vec<(u16, bool)>,
}

impl Emulators {
    /// Asks the kernel; none where the list is not mounted.
    pub(super) fn read() -> Self {
        Self::read_from(Path::new(BINFMT))
    }

    fn read_from(folder: &Path) -> Self {
        let is_on = |name: &str| fs::read_to_string(folder.join(name)).is_ok_and(|text| text.starts_with("enabled"));
        if !is_on("status") {
            return Self::default();
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let machines = entries.filter_map(|entry| emulated(&fs::read_to_string(entry.path()).ok()?));
        Self { machines: machines.collect() }
    }

    fn run(&self, machine: (u16, bool)) -> bool {
        self.machines.contains(&machine)
    }
}

/// The processor that an entry of the list is for: its magic bytes are the beginning of an ELF file.
fn emulated(entry: &str) -> Option<(u16, bool)> {
    let mut lines = entry.lines();
    if lines.next()? != "enabled" {
        return None;
    }
    let magic = hex::decode(lines.find_map(|line| line.strip_prefix("magic "))?.trim()).ok()?;
    let is_little = *magic.get(5)? == 1;
    let number = [*magic.get(18)?, *magic.get(19)?];
    let number = if is_little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
    magic.starts_with(b"\x7fELF").then_some((number, is_little))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARM64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
    const S390X: &str =
        "enabled\ninterpreter /usr/bin/q\nflags: \noffset 0\nmagic 7f454c4602020100000000000000000000020016\n";

    fn host() -> Platform {
        Platform { architecture: "amd64".into(), os: "linux".into(), variant: None }
    }

    #[test]
    fn other_processors_need_an_emulator() {
        let none = Emulators::default();
        let check = |text: &str, emulators: &Emulators| {
            runnable(text, &host(), emulators).map(|it| it.to_string()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(check("linux", &none).unwrap(), "linux/amd64");
        assert_eq!(check("Linux/x86_64", &none).unwrap(), "linux/amd64");
        assert_eq!(check("linux/386", &none).unwrap(), "linux/386");
        assert_eq!(
            check("linux/arm64", &none).unwrap_err(),
            "platform linux/arm64 can't be built on linux/amd64: register an emulator for arm64 with binfmt_misc, for example by qemu-user-static"
        );
        assert_eq!(
            check("windows/amd64", &none).unwrap_err(),
            "platform windows/amd64 can't be built on linux/amd64: only linux images can be built here"
        );
        assert!(check("a/b/c/d", &none).unwrap_err().starts_with("\"a/b/c/d\" is an invalid platform"));
        let arm = Emulators { machines: emulated(ARM64).into_iter().collect() };
        assert_eq!(check("linux/aarch64", &arm).unwrap(), "linux/arm64");
        assert!(check("linux/s390x", &arm).is_err());
    }

    #[test]
    fn emulators_are_known_by_the_files_they_take() {
        assert_eq!(emulated(ARM64), machine("arm64"));
        assert_eq!(emulated(S390X), machine("s390x"));
        assert_eq!(emulated(&ARM64.replace("enabled", "disabled")), None);
        assert_eq!(emulated("enabled\ninterpreter /usr/bin/x\nflags: \nextension .py\n"), None);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("qemu"), ARM64).unwrap();
        assert_eq!(Emulators::read_from(folder.path()), Emulators::default(), "without the list's own switch");
        fs::write(folder.path().join("status"), "enabled\n").unwrap();
        assert!(Emulators::read_from(folder.path()).run((183, true)));
    }
}
