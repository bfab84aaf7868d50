//! runc's command line, taken apart by hand: a start must not wait for the building of a parser for all of boxyard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::failure::{Failure, Log};

/// Whether an option is followed by a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
}

use Takes::{Nothing, Value};

/// An option: its names (the first is the one it is known by), whether it takes a value, and the verbs it belongs to
/// (none: it comes before the verb).
struct Known(&'static [&'static str], Takes, &'static [&'static str]);

const STARTERS: &[&str] = &["create", "run"];
const RUNNERS: &[&str] = &["create", "run", "exec"];

const OPTIONS: &[Known] = &[
    Known(&["root"], Value, &[]),
    Known(&["log"], Value, &[]),
    Known(&["log-format"], Value, &[]),
    Known(&["debug"], Nothing, &[]),
    Known(&["systemd-cgroup"], Nothing, &[]),
    Known(&["rootless"], Value, &[]),
    Known(&["criu"], Value, &[]),
    Known(&["version", "v"], Nothing, &[]),
    Known(&["help", "h"], Nothing, &[]),
    Known(&["bundle", "b"], Value, &["create", "run", "spec"]),
    Known(&["rootless"], Nothing, &["spec"]),
    Known(&["console-socket"], Value, RUNNERS),
    Known(&["pid-file"], Value, RUNNERS),
    Known(&["preserve-fds"], Value, RUNNERS),
    Known(&["no-pivot"], Nothing, STARTERS),
    Known(&["no-new-keyring"], Nothing, STARTERS),
    Known(&["no-subreaper"], Nothing, &["run", "exec"]),
    Known(&["keep"], Nothing, &["run"]),
    Known(&["detach", "d"], Nothing, &["run", "exec"]),
    Known(&["process", "p"], Value, &["exec"]),
    Known(&["tty", "t"], Nothing, &["exec"]),
    Known(&["user", "u"], Value, &["exec"]),
    Known(&["additional-gids", "g"], Value, &["exec"]),
    Known(&["cwd"], Value, &["exec"]),
    Known(&["env", "e"], Value, &["exec"]),
    Known(&["cap", "c"], Value, &["exec"]),
    Known(&["no-new-privs"], Nothing, &["exec"]),
    Known(&["apparmor"], Value, &["exec"]),
    Known(&["process-label"], Value, &["exec"]),
    Known(&["ignore-paused"], Nothing, &["exec"]),
    Known(&["cgroup"], Value, &["exec"]),
    Known(&["all", "a"], Nothing, &["kill"]),
    Known(&["force", "f"], Nothing, &["delete"]),
    Known(&["format", "f"], Value, &["list", "ps"]),
    Known(&["quiet", "q"], Nothing, &["list"]),
    Known(&["stats"], Nothing, &["events"]),
    Known(&["interval"], Value, &["events"]),
    Known(&["resources", "r"], Value, &["update"]),
    Known(&["memory"], Value, &["update"]),
    Known(&["memory-swap"], Value, &["update"]),
    Known(&["memory-reservation"], Value, &["update"]),
    Known(&["kernel-memory"], Value, &["update"]),
    Known(&["cpu-share", "cpu-shares"], Value, &["update"]),
    Known(&["cpu-quota"], Value, &["update"]),
    Known(&["cpu-period"], Value, &["update"]),
    Known(&["cpuset-cpus"], Value, &["update"]),
    Known(&["cpuset-mems"], Value, &["update"]),
    Known(&["cpu-rt-period"], Value, &["update"]),
    Known(&["cpu-rt-runtime"], Value, &["update"]),
    Known(&["blkio-weight"], Value, &["update"]),
    Known(&["pids-limit"], Value, &["update"]),
];

/// A call.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// Where states are kept.
    pub root: PathBuf,
    /// Where failures are logged.
    pub log: Log,
    /// What to do.
    pub verb: String,
    /// The words after the options.
    pub words: Vec<String>,
    options: HashMap<&'static str, Vec<String>>,
}

impl Command {
    /// Takes the words after `oci` apart.
    pub(super) fn parse(words: Vec<String>) -> Result<Self, Failure> {
        let mut words = words.into_iter().peekable();
        let mut command = Command::default();
        command.take_options(&mut words, "")?;
        command.root = PathBuf::from(command.value("root").unwrap_or("/run/boxyard-oci"));
        command.log = Log {
            path: command.value("log").filter(|path| !path.is_empty()).map(PathBuf::from),
            is_json: match command.value("log-format") {
                None | Some("text" | "") => false,
                Some("json") => true,
                Some(other) => return Err(Failure::usage(format!("invalid log-format: {other}"))),
            },
        };
        if command.has("systemd-cgroup") {
            let words = "the systemd cgroup driver is not supported by boxyard; use the cgroupfs driver";
            return command.refuse(words);
        }
        if command.value("rootless") == Some("true") {
            return command.refuse("rootless containers are not supported by boxyard oci");
        }
        command.verb = match words.next() {
            _ if command.has("version") => "version".to_owned(),
            _ if command.has("help") => "help".to_owned(),
            Some(verb) => verb,
            None => "help".to_owned(),
        };
        let verb = command.verb.clone();
        if let Err(failure) = command.take_options(&mut words, &verb) {
            return command.refuse(failure.to_string());
        }
        command.words.extend(words);
        Ok(command)
    }

    /// From here on there is a log to tell it to.
    fn refuse(self, words: impl Into<String>) -> Result<Self, Failure> {
        let failure = Failure::usage(words);
        failure.log(&self.log);
        Err(failure)
    }

    /// Options up to the first word that is none; those of `kill`, `delete` and the like may also follow the id.
    fn take_options(
        &mut self,
        words: &mut std::iter::Peekable<impl Iterator<Item = String>>,
        verb: &str,
    ) -> Result<(), Failure> {
        let may_follow = !verb.is_empty() && !matches!(verb, "exec" | "ps");
        while let Some(word) = words.peek() {
            if word == "--" {
                words.next();
                break;
            }
            let is_option = word.len() > 1 && word.starts_with('-');
            if !is_option && !may_follow {
                break;
            }
            let Some(word) = words.next() else { break };
            if !is_option {
                self.words.push(word);
                continue;
            }
            let name = word.trim_start_matches('-');
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            self.take_option(verb, name, inline, words)?;
        }
        Ok(())
    }

    fn take_option(
        &mut self,
        verb: &str,
        name: &str,
        inline: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let belongs = |verbs: &[&str]| verbs.contains(&verb) || (verbs.is_empty() && verb.is_empty());
        let known = OPTIONS.iter().find(|Known(names, _, verbs)| names.contains(&name) && belongs(verbs));
        let Some(Known(names, takes, _)) = known else {
            return Err(Failure::usage(format!("flag provided but not defined: -{name}")));
        };
        let value = match (takes, inline) {
            (Nothing, None) => Some("true".to_owned()),
            (_, Some(inline)) => Some(inline),
            (Value, None) => words.next(),
        };
        let value = value.ok_or_else(|| Failure::usage(format!("flag needs an argument: -{name}")))?;
        let Some(name) = names.first() else { return Ok(()) };
        self.options.entry(name).or_default().push(value);
        Ok(())
    }

    /// Whether a switch was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    /// The last value of an option.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// Every value of an option.
    pub(super) fn values(&self, name: &str) -> &[String] {
        self.options.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// A number given as an option.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let parse =
            |value: &str| value.parse().map_err(|_| Failure::usage(format!("invalid value for {name}: {value}")));
        self.value(name).filter(|value| !value.is_empty()).map(parse).transpose()
    }

    /// A path given as an option.
    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        self.value(name).filter(|path| !path.is_empty()).map(Path::new)
    }

    /// The container's id, which is the first word; never a path that leads anywhere.
    pub(super) fn id(&self) -> Result<&str, Failure> {
        let id = self.words.first().map(String::as_str).unwrap_or_default();
        if id.is_empty() {
            return Err(Failure::usage("container id cannot be empty"));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
        match id.bytes().all(is_plain) && id != "." && id != ".." {
            true => Ok(id),
            false => Err(Failure::usage(format!("invalid container id format: {id}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split(' ').map(str::to_owned).collect()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn as_containerd_calls_it() {
        let command = parse(
            "--root /run/x --log /l --log-format json create --bundle /b --pid-file /p/init.pid --console-socket /s web",
        );
        let command = command.unwrap();
        assert_eq!((command.verb.as_str(), command.id().unwrap()), ("create", "web"));
        assert_eq!((command.root.as_path(), command.log.is_json), (Path::new("/run/x"), true));
        assert_eq!(command.value("bundle"), Some("/b"));
    }

    #[test]
    fn options_may_follow_the_id_and_programs_keep_theirs() {
        let kill = parse("kill web KILL --all").unwrap();
        assert!(kill.has("all") && kill.words == ["web", "KILL"]);
        let exec = parse("exec -e A=1 --env=B=2 web ls -l").unwrap();
        assert_eq!(
            (exec.values("env"), exec.words.as_slice()),
            (&["A=1".to_owned(), "B=2".to_owned()][..], &["web".to_owned(), "ls".to_owned(), "-l".to_owned()][..])
        );
    }

    #[test]
    fn what_is_refused() {
        assert!(parse("--systemd-cgroup create x").unwrap_err().contains("cgroupfs"));
        assert_eq!(parse("create --what x").unwrap_err(), "flag provided but not defined: -what");
        assert_eq!(parse("kill ../x").unwrap().id().unwrap_err().to_string(), "invalid container id format: ../x");
    }
}
