//! The instructions and their flags: one table for the parser, "did you mean", completion and help.

/// A flag of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagSpec {
    /// Its name without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// One line for a person.
    pub help: &'static str,
}

/// What a flag takes, and how often it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A value, once.
    Value,
    /// A value, any number of times.
    Values,
    /// Nothing, or `true` or `false`.
    Switch,
}

/// An instruction's keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// In upper case.
    pub name: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// One line for a person.
    pub help: &'static str,
    /// Its flags.
    pub flags: &'static [FlagSpec],
}

const fn value(name: &'static str, help: &'static str) -> FlagSpec {
    FlagSpec { name, takes: Takes::Value, help }
}

const fn values(name: &'static str, help: &'static str) -> FlagSpec {
    FlagSpec { name, takes: Takes::Values, help }
}

const fn switch(name: &'static str, help: &'static str) -> FlagSpec {
    FlagSpec { name, takes: Takes::Switch, help }
}

const fn keyword(name: &'static str, form: &'static str, help: &'static str, flags: &'static [FlagSpec]) -> Keyword {
    Keyword { name, form, help, flags }
}

/// Every instruction of the language.
pub const KEYWORDS: &[Keyword] = &[
    keyword(
        "ADD",
        "ADD [flags] source... destination",
        "Copies files, unpacks local tars, fetches URLs",
        &[
            switch("keep-git-dir", "keep .git of a git source"),
            value("checksum", "refuse a download with another digest"),
            value("chown", "owner of what is written: user[:group]"),
            value("chmod", "permissions of what is written"),
            switch("link", "write into a layer of its own"),
            switch("unpack", "unpack archives, or not"),
            values("exclude", "leave out what matches"),
        ],
    ),
    keyword("ARG", "ARG name[=default]", "Declares a variable that the build may be given", &[]),
    keyword("CMD", "CMD [\"program\", \"argument\"]", "What the container runs by default", &[]),
    keyword(
        "COPY",
        "COPY [flags] source... destination",
        "Copies files from the context, a stage or an image",
        &[
            value("from", "a stage or image to copy from"),
            value("chown", "owner of what is written: user[:group]"),
            value("chmod", "permissions of what is written"),
            switch("link", "write into a layer of its own"),
            switch("parents", "keep the sources' parent folders"),
            values("exclude", "leave out what matches"),
        ],
    ),
    keyword("ENTRYPOINT", "ENTRYPOINT [\"program\"]", "The program that the container always runs", &[]),
    keyword("ENV", "ENV name=value", "Sets an environment variable", &[]),
    keyword("EXPOSE", "EXPOSE port[/protocol]", "Says on which ports the container listens", &[]),
    keyword(
        "FROM",
        "FROM [--platform=platform] image [AS name]",
        "Begins a stage on top of an image",
        &[value("platform", "the platform of the image, like linux/arm64")],
    ),
    keyword(
        "HEALTHCHECK",
        "HEALTHCHECK [flags] CMD command",
        "How to see whether the container is well",
        &[
            value("interval", "time between checks (30s)"),
            value("timeout", "how long a check may take (30s)"),
            value("start-period", "time in which failures do not count (0s)"),
            value("start-interval", "time between checks at the start (5s)"),
            value("retries", "failures in a row until it is unhealthy (3)"),
        ],
    ),
    keyword("LABEL", "LABEL name=value", "Adds a label to the image", &[]),
    keyword("MAINTAINER", "MAINTAINER name", "Deprecated: use a label", &[]),
    keyword("ONBUILD", "ONBUILD instruction", "Runs an instruction when the image is a base", &[]),
    keyword(
        "RUN",
        "RUN [flags] command",
        "Runs a command and keeps what it changes as a layer",
        &[
            values("mount", "a mount for this command: type=bind|cache|tmpfs|secret|ssh,…"),
            value("network", "default, none or host"),
            value("security", "sandbox or insecure"),
            values("device", "a device for this command"),
        ],
    ),
    keyword("SHELL", "SHELL [\"program\", \"argument\"]", "The shell of the shell forms", &[]),
    keyword("STOPSIGNAL", "STOPSIGNAL signal", "The signal that asks the container to end", &[]),
    keyword("USER", "USER user[:group]", "Who runs what follows, and the container", &[]),
    keyword("VOLUME", "VOLUME path", "Makes a path a volume", &[]),
    keyword("WORKDIR", "WORKDIR path", "The directory of what follows, and of the container", &[]),
];

/// The instruction of that name; case does not count.
pub fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_whole_and_without_doubles() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(KEYWORDS.iter().all(|keyword| keyword.form.starts_with(keyword.name) && !keyword.help.is_empty()));
        assert_eq!(find("healthcheck").map(|keyword| keyword.flags.len()), Some(5));
    }
}
