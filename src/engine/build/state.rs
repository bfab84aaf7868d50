//! The planner of one stage: an instruction and the state before it give a step to carry out and the state after it.
//!
//! Pure. Variables are replaced here, so a step holds nothing but final words, and what can change its outcome is all in
//! it: that is what the cache's key is made of.

use std::collections::BTreeMap;

use bollard_stubs::models as docker;

use super::ports;
use crate::dockerfile::expand::{Escape, Expanded, expand, expand_heredoc, words};
use crate::dockerfile::glob::clean;
use crate::dockerfile::{Body, Command, Healthcheck, Heredoc, Instruction, PROXY_ARGS, Pair, Transfer};

/// Where programs are looked for when an image does not say, as in Docker.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What stays the same for a whole build.
#[derive(Debug, Clone, Default)]
pub(super) struct BuildFacts {
    /// The escape character of the Dockerfile.
    pub escape: Escape,
    /// `--build-arg`s that have a value.
    pub build_args: BTreeMap<String, String>,
    /// ARGs before the first FROM, with their values, and the platform's.
    pub global_args: BTreeMap<String, String>,
}

impl BuildFacts {
    /// The proxy settings among the build arguments.
    pub(super) fn proxies(&self) -> impl Iterator<Item = (&String, &String)> {
        self.build_args.iter().filter(|(name, _)| PROXY_ARGS.contains(&name.as_str()))
    }

    /// Takes in an ARG that stands before the first FROM.
    pub(super) fn declare_global(&mut self, instruction: &Instruction) -> Result<(), PlanError> {
        let Body::Arg(declarations) = &instruction.body else { return Ok(()) };
        for declaration in declarations {
            let value = match (self.build_args.get(&declaration.name), &declaration.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(expanded(default, &self.global_args, self.escape)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.global_args.insert(declaration.name.clone(), value);
            }
        }
        Ok(())
    }
}

/// Why an instruction can't be carried out, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct PlanError {
    /// What a client reads.
    pub message: String,
}

impl PlanError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What a stage has come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct StageState {
    /// The image's configuration so far.
    pub config: docker::ImageConfig,
    /// Who made it (MAINTAINER).
    pub author: Option<String>,
    /// ARGs of this stage that have a value.
    pub args: BTreeMap<String, String>,
    /// Whether this stage has set CMD itself, so that ENTRYPOINT leaves it alone.
    pub sets_cmd: bool,
}

/// What is to be done for an instruction.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Only the configuration changes.
    Configure,
    /// A directory has to be there.
    MakeWorkdir(String),
    /// A command runs.
    Run(RunStep),
    /// Files are written.
    Copy(CopyStep),
}

/// A RUN.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RunStep {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, without the proxies.
    pub env: BTreeMap<String, String>,
    /// ARGs among `env`.
    pub build_args: BTreeMap<String, String>,
    /// Who runs it.
    pub user: String,
    /// Where.
    pub workdir: String,
    /// `--network`.
    pub network: Option<String>,
    /// A heredoc that begins with `#!`: its name and text; `args` is then its path in [`SCRIPTS`].
    pub script: Option<(String, String)>,
}

/// Where scripts of RUN heredocs stand while they run.
pub(super) const SCRIPTS: &str = "/dev/pipes";

/// A COPY or ADD.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct CopyStep {
    /// Whether it is ADD: URLs are fetched, archives unpacked.
    pub is_add: bool,
    /// `--from`: a stage or image; the context where `None`.
    pub from: Option<String>,
    /// Paths, wildcards, URLs.
    pub sources: Vec<String>,
    /// Files that stand in the Dockerfile: name and text.
    pub inline: Vec<(String, String)>,
    /// Absolute; ends in a slash where it names a directory.
    pub destination: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--parents`.
    pub keeps_parents: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`; ADD's own rule where `None`.
    pub unpack: Option<bool>,
}

/// A step, and what holds after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    /// What to do.
    pub step: Step,
    /// The state after it.
    pub after: StageState,
    /// What the image's history says.
    pub created_by: String,
}

impl StageState {
    /// The state on top of an image's configuration.
    pub(super) fn on(config: docker::ImageConfig, author: Option<String>) -> Self {
        Self { config, author, args: BTreeMap::new(), sets_cmd: false }
    }

    /// What variables stand for: ENV wins over ARG.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut all = self.args.clone();
        all.extend(self.env_pairs());
        all
    }

    fn env_pairs(&self) -> impl Iterator<Item = (String, String)> {
        let env = self.config.env.as_deref().unwrap_or_default();
        env.iter().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        })
    }

    /// The working directory.
    pub(super) fn workdir(&self) -> &str {
        match self.config.working_dir.as_deref() {
            None | Some("") => "/",
            Some(workdir) => workdir,
        }
    }

    fn shell(&self) -> Vec<String> {
        match self.config.shell.as_deref() {
            None | Some([]) => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            Some(shell) => shell.to_vec(),
        }
    }

    fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = self.shell();
                words.push(text.clone());
                words
            }
        }
    }

    /// What `instruction` means in this state. FROM is not for here.
    pub(super) fn plan(&self, instruction: &Instruction, facts: &BuildFacts) -> Result<Planned, PlanError> {
        let variables = self.variables();
        let word = |text: &str| expanded(text, &variables, facts.escape);
        let many =
            |texts: &[String]| -> Result<Vec<String>, PlanError> { texts.iter().map(|text| word(text)).collect() };
        let mut after = self.clone();
        let mut step = Step::Configure;
        let created_by = match &instruction.body {
            Body::From(_) | Body::Invalid => return Err(PlanError::new("unexpected instruction")),
            Body::Run(command) => {
                let run = self.run(command, instruction, facts)?;
                let created_by = run_history(&run);
                step = Step::Run(run);
                created_by
            }
            Body::Copy(transfer) | Body::Add(transfer) => {
                let copy = self.copy(transfer, instruction, facts, &word)?;
                let created_by = copy_history(&copy);
                step = Step::Copy(copy);
                created_by
            }
            Body::Cmd(command) => {
                let words = self.command(command);
                let created_by = format!("CMD {}", quoted_list(&words));
                after.config.cmd = Some(words);
                after.sets_cmd = true;
                created_by
            }
            Body::Entrypoint(command) => {
                let words = self.command(command);
                let created_by = format!("ENTRYPOINT {}", quoted_list(&words));
                after.config.entrypoint = Some(words);
                if !self.sets_cmd {
                    after.config.cmd = None;
                }
                created_by
            }
            Body::Shell(words) => {
                after.config.shell = Some(words.clone());
                format!("SHELL [{}]", words.join(" "))
            }
            Body::Env(pairs) => {
                let pairs = expanded_pairs(pairs, &word)?;
                let env = after.config.env.get_or_insert_default();
                for (name, value) in &pairs {
                    set_env(env, name, value);
                }
                format!("ENV {}", joined_pairs(&pairs))
            }
            Body::Label(pairs) => {
                let pairs = expanded_pairs(pairs, &word)?;
                after.config.labels.get_or_insert_default().extend(pairs.iter().cloned());
                format!("LABEL {}", joined_pairs(&pairs))
            }
            Body::Arg(declarations) => {
                for declaration in declarations {
                    let value = match (facts.build_args.get(&declaration.name), &declaration.default) {
                        (Some(value), _) => Some(value.clone()),
                        (None, Some(default)) => Some(expanded(default, &after.variables(), facts.escape)?),
                        (None, None) => facts.global_args.get(&declaration.name).cloned(),
                    };
                    if let Some(value) = value {
                        after.args.insert(declaration.name.clone(), value);
                    }
                }
                let shown = declarations.iter().map(|declaration| match after.args.get(&declaration.name) {
                    Some(value) => format!("{}={value}", declaration.name),
                    None => declaration.name.clone(),
                });
                format!("ARG {}", shown.collect::<Vec<_>>().join(" "))
            }
            Body::Workdir(path) => {
                let path = word(path)?;
                if path.is_empty() {
                    return Err(PlanError::new("WORKDIR requires exactly one argument"));
                }
                let path = clean(&if path.starts_with('/') { path } else { format!("{}/{path}", self.workdir()) });
                after.config.working_dir = Some(path.clone());
                step = Step::MakeWorkdir(path.clone());
                format!("WORKDIR {path}")
            }
            Body::User(user) => {
                let user = word(user)?;
                after.config.user = Some(user.clone());
                format!("USER {user}")
            }
            Body::Expose(specs) => {
                let mut texts = Vec::new();
                for spec in specs {
                    texts.extend(words(spec, &variables, facts.escape).map_err(|error| process(spec, &error))?);
                }
                let ports = ports::exposed(&texts)?;
                let exposed = after.config.exposed_ports.get_or_insert_default();
                exposed.extend(ports.iter().cloned());
                exposed.sort();
                exposed.dedup();
                format!("EXPOSE [{}]", ports.join(" "))
            }
            Body::Volume(paths) => {
                let paths = many(paths)?;
                let volumes = after.config.volumes.get_or_insert_default();
                volumes.extend(paths.iter().cloned());
                volumes.sort();
                volumes.dedup();
                format!("VOLUME [{}]", paths.join(" "))
            }
            Body::StopSignal(signal) => {
                let signal = word(signal)?;
                if !is_signal(&signal) {
                    return Err(PlanError::new(format!("invalid signal: {signal}")));
                }
                after.config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Body::Maintainer(name) => {
                after.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
            Body::Healthcheck(check) => {
                let check = healthcheck(check);
                let created_by = format!("HEALTHCHECK {}", quoted_list(check.test.as_deref().unwrap_or_default()));
                after.config.healthcheck = Some(check);
                created_by
            }
            Body::OnBuild(trigger) => {
                let text = with_heredocs(trigger);
                after.config.on_build.get_or_insert_default().push(text.clone());
                format!("ONBUILD {text}")
            }
        };
        Ok(Planned { step, after, created_by })
    }

    fn run(&self, command: &Command, instruction: &Instruction, facts: &BuildFacts) -> Result<RunStep, PlanError> {
        if let Some(mount) = instruction.flag("mount") {
            return Err(PlanError::new(format!("RUN --mount={mount} is not supported by this builder yet")));
        }
        for flag in ["security", "device"] {
            if let Some(value) = instruction.flag(flag).filter(|value| *value != "sandbox") {
                return Err(PlanError::new(format!("RUN --{flag}={value} is not supported by this builder")));
            }
        }
        let mut script = None;
        let args = match (command, instruction.heredocs.as_slice()) {
            (command, []) => self.command(command),
            (Command::Exec(words), _) => {
                return Err(PlanError::new(format!("parsing produced an invalid run command: {words:?}")));
            }
            (Command::Shell(text), [only]) if is_heredoc_alone(text) => {
                let data = only.data();
                if data.starts_with("#!") {
                    let path = format!("{SCRIPTS}/{}", only.name);
                    script = Some((only.name.clone(), data));
                    vec![path]
                } else {
                    self.command(&Command::Shell(data))
                }
            }
            (Command::Shell(text), heredocs) => {
                let whole = heredocs
                    .iter()
                    .fold(text.clone(), |text, heredoc| format!("{text}\n{}{}", heredoc.content, heredoc.name));
                self.command(&Command::Shell(whole))
            }
        };
        let mut env: BTreeMap<String, String> = self.args.clone();
        env.extend(self.env_pairs());
        env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
        let proxy_names: Vec<&String> = facts.proxies().map(|(name, _)| name).collect();
        let build_args = self.args.iter().filter(|(name, _)| !proxy_names.contains(name));
        let network =
            instruction.flag("network").map(|mode| expanded(mode, &self.variables(), facts.escape)).transpose()?;
        match network.as_deref() {
            None | Some("default" | "none" | "host") => {}
            Some(other) => return Err(PlanError::new(format!("unsupported network mode {other:?}"))),
        }
        Ok(RunStep {
            args,
            build_args: build_args.map(|(name, value)| (name.clone(), value.clone())).collect(),
            env,
            user: self.config.user.clone().unwrap_or_default(),
            workdir: self.workdir().to_owned(),
            network: network.filter(|mode| mode != "default"),
            script,
        })
    }

    fn copy(
        &self,
        transfer: &Transfer,
        instruction: &Instruction,
        facts: &BuildFacts,
        word: &dyn Fn(&str) -> Result<String, PlanError>,
    ) -> Result<CopyStep, PlanError> {
        let keyword = instruction.keyword.as_str();
        let flag = |name: &str| instruction.flag(name).map(word).transpose();
        let destination = word(&transfer.destination)?;
        let sources = transfer.sources.iter().map(|source| word(source)).collect::<Result<Vec<_>, _>>()?;
        let mut inline = Vec::new();
        for heredoc in transfer.heredocs.iter().filter_map(|index| instruction.heredocs.get(*index)) {
            inline.push((heredoc.name.clone(), self.inline_file(heredoc)?));
        }
        let is_folder = destination.ends_with('/') || destination == "." || destination.ends_with("/.");
        if sources.len() + inline.len() > 1 && !is_folder {
            return Err(PlanError::new(format!(
                "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let joined =
            if destination.starts_with('/') { destination } else { format!("{}/{destination}", self.workdir()) };
        let mut destination = clean(&joined);
        if is_folder && destination != "/" {
            destination.push('/');
        }
        let exclude =
            instruction.flags.iter().filter(|flag| flag.name == "exclude").filter_map(|flag| flag.value.as_deref());
        if instruction.has_flag("keep-git-dir") {
            return Err(PlanError::new("ADD from git repositories is not supported by this builder yet"));
        }
        let _ = facts;
        Ok(CopyStep {
            is_add: keyword == "ADD",
            from: flag("from")?,
            sources,
            inline,
            destination,
            chown: flag("chown")?,
            chmod: flag("chmod")?,
            exclude: exclude.map(word).collect::<Result<_, _>>()?,
            keeps_parents: instruction.has_flag("parents"),
            checksum: flag("checksum")?,
            unpack: instruction.flags.iter().any(|flag| flag.name == "unpack").then(|| instruction.has_flag("unpack")),
        })
    }

    fn inline_file(&self, heredoc: &Heredoc) -> Result<String, PlanError> {
        if !heredoc.expand {
            return Ok(heredoc.data());
        }
        let Expanded { text, .. } =
            expand_heredoc(&heredoc.data(), &self.variables()).map_err(|error| process(&heredoc.name, &error))?;
        Ok(text)
    }
}

/// A word with its variables replaced.
pub(super) fn expanded(text: &str, variables: &BTreeMap<String, String>, escape: Escape) -> Result<String, PlanError> {
    expand(text, variables, escape).map(|expanded| expanded.text).map_err(|error| process(text, &error))
}

fn process(word: &str, error: &dyn std::error::Error) -> PlanError {
    PlanError::new(format!("failed to process {word:?}: {error}"))
}

fn expanded_pairs(
    pairs: &[Pair],
    word: &dyn Fn(&str) -> Result<String, PlanError>,
) -> Result<Vec<(String, String)>, PlanError> {
    pairs.iter().map(|pair| Ok((word(&pair.key)?, word(&pair.value)?))).collect()
}

fn joined_pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Sets a variable where it stands, or at the end.
pub(super) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
        Some(known) => *known = pair,
        None => env.push(pair),
    }
}

/// Whether a RUN's text is nothing but one heredoc's mark.
fn is_heredoc_alone(text: &str) -> bool {
    !text.trim().contains(char::is_whitespace) && text.trim_start().starts_with("<<")
}

fn healthcheck(check: &Healthcheck) -> docker::HealthConfig {
    let Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } = check else {
        return docker::HealthConfig { test: Some(vec!["NONE".to_owned()]), ..docker::HealthConfig::default() };
    };
    let test = match command {
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
        Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
    };
    let nanoseconds = |time: &Option<std::time::Duration>| time.and_then(|time| i64::try_from(time.as_nanos()).ok());
    docker::HealthConfig {
        test: Some(test),
        interval: nanoseconds(interval),
        timeout: nanoseconds(timeout),
        retries: *retries,
        start_period: nanoseconds(start_period),
        start_interval: nanoseconds(start_interval),
    }
}

/// A signal's number, or a name with or without SIG.
fn is_signal(text: &str) -> bool {
    match text.parse::<u32>() {
        Ok(number) => (1..=64).contains(&number),
        Err(_) => {
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            name.starts_with("RTMIN")
                || name.starts_with("RTMAX")
                || name.len() >= 2
                    && name.parse::<u32>().is_err()
                    && format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
        }
    }
}

/// An ONBUILD trigger as text that parses to the same again.
fn with_heredocs(trigger: &Instruction) -> String {
    trigger
        .heredocs
        .iter()
        .fold(trigger.text.clone(), |text, heredoc| format!("{text}\n{}{}", heredoc.content, heredoc.name))
}

/// `["a" "b"]`, as Docker's history shows lists.
fn quoted_list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "))
}

fn run_history(run: &RunStep) -> String {
    let mut words: Vec<String> = Vec::new();
    if !run.build_args.is_empty() {
        words.push(format!("|{}", run.build_args.len()));
        words.extend(run.build_args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(run.args.iter().cloned());
    format!("RUN {} # buildkit", words.join(" "))
}

fn copy_history(copy: &CopyStep) -> String {
    let mut text = if copy.is_add { "ADD".to_owned() } else { "COPY".to_owned() };
    for (name, value) in [("chown", &copy.chown), ("chmod", &copy.chmod)] {
        if let Some(value) = value {
            text.push_str(&format!(" --{name}={value}"));
        }
    }
    let inline = copy.inline.iter().map(|(name, _)| format!("<<{name}"));
    for word in copy.sources.iter().cloned().chain(inline).chain([copy.destination.clone()]) {
        text.push(' ');
        text.push_str(&word);
    }
    text.push_str(" # buildkit");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    /// The state and the steps after the stage's instructions.
    fn plan_with(facts: &mut BuildFacts, text: &str) -> Result<(StageState, Vec<Planned>), PlanError> {
        let file = parse(text).file;
        for instruction in file.preamble() {
            facts.declare_global(instruction)?;
        }
        let stage = file.stages.last().expect("a stage");
        let mut state = StageState::default();
        let mut steps = Vec::new();
        for instruction in &file.stage_instructions(stage)[1..] {
            let planned = state.plan(instruction, facts)?;
            state = planned.after.clone();
            steps.push(planned);
        }
        Ok((state, steps))
    }

    fn plan(text: &str) -> (StageState, Vec<Planned>) {
        plan_with(&mut BuildFacts::default(), &format!("FROM x\n{text}")).unwrap()
    }

    fn run(planned: &Planned) -> &RunStep {
        let Step::Run(run) = &planned.step else { panic!("a RUN: {planned:?}") };
        run
    }

    #[test]
    fn the_configuration_follows_the_instructions() {
        let (state, _) = plan(
            "ENV A=1 B=\"two words\"\nENV A=$A$B\nLABEL k=$A\nWORKDIR /a/../b\nWORKDIR c\nUSER ${B}\nEXPOSE 80 8000-8001/udp\n\
             VOLUME /v\nSTOPSIGNAL INT\nENTRYPOINT e\nCMD [\"c\"]\nHEALTHCHECK --retries=2 CMD ok\nMAINTAINER me\nONBUILD RUN x\n",
        );
        let config = &state.config;
        assert_eq!(config.env.as_deref().unwrap(), ["A=1two words", "B=two words"]);
        assert_eq!(config.labels.as_ref().unwrap()["k"], "1two words");
        assert_eq!(config.working_dir.as_deref(), Some("/b/c"));
        assert_eq!(config.user.as_deref(), Some("two words"));
        assert_eq!(config.exposed_ports.as_deref().unwrap(), ["80/tcp", "8000/udp", "8001/udp"]);
        assert_eq!(config.volumes.as_deref().unwrap(), ["/v"]);
        assert_eq!(config.entrypoint.as_deref().unwrap(), ["/bin/sh", "-c", "e"]);
        assert_eq!(config.cmd.as_deref().unwrap(), ["c"]);
        assert_eq!(config.healthcheck.as_ref().unwrap().test.as_deref().unwrap(), ["CMD-SHELL", "ok"]);
        assert_eq!(
            (state.author.as_deref(), config.on_build.as_deref().unwrap()),
            (Some("me"), &["RUN x".to_owned()][..])
        );
    }

    #[test]
    fn an_entrypoint_resets_an_inherited_command() {
        let inherited = docker::ImageConfig { cmd: Some(vec!["old".into()]), ..Default::default() };
        let state = StageState::on(inherited, None);
        let file = parse("FROM x\nENTRYPOINT [\"e\"]").file;
        let planned = state.plan(&file.instructions[1], &BuildFacts::default()).unwrap();
        assert_eq!(planned.after.config.cmd, None);
        assert_eq!(plan("CMD [\"c\"]\nENTRYPOINT [\"e\"]").0.config.cmd.as_deref().unwrap(), ["c"]);
    }

    #[test]
    fn arguments_have_their_scope() {
        let mut facts = BuildFacts { build_args: [("V".to_owned(), "2".to_owned())].into(), ..Default::default() };
        let text = "ARG V=1\nARG G=$V-g\nFROM x\nARG V\nARG G\nARG D=$V.d\nARG NONE\nENV D=env\nRUN x\n";
        let (state, steps) = plan_with(&mut facts, text).unwrap();
        assert_eq!(state.variables()["V"], "2");
        assert_eq!(state.variables()["G"], "2-g");
        let run = run(steps.last().unwrap());
        assert_eq!(run.env["D"], "env");
        assert_eq!(run.build_args.keys().collect::<Vec<_>>(), ["D", "G", "V"]);
        assert_eq!(steps.last().unwrap().created_by, "RUN |3 D=2.d G=2-g V=2 /bin/sh -c x # buildkit");
    }

    #[test]
    fn commands_get_the_stages_shell() {
        let (_, steps) = plan("SHELL [\"/bin/bash\", \"-ec\"]\nRUN a b\nRUN [\"a\", \"b\"]\nCMD x\n");
        assert_eq!(run(&steps[1]).args, ["/bin/bash", "-ec", "a b"]);
        assert_eq!(run(&steps[2]).args, ["a", "b"]);
        assert_eq!(steps[3].after.config.cmd.as_deref().unwrap(), ["/bin/bash", "-ec", "x"]);
        assert_eq!(steps[3].created_by, r#"CMD ["/bin/bash" "-ec" "x"]"#);
    }

    #[test]
    fn heredocs_of_run_are_scripts() {
        let (_, steps) = plan(
            "RUN <<EOF\na\nb\nEOF\nRUN <<S\n#!/usr/bin/python3\nprint(1)\nS\nRUN cat <<A - <<-B\n1\nA\n\t2\n\tB\n",
        );
        assert_eq!(run(&steps[0]).args, ["/bin/sh", "-c", "a\nb\n"]);
        assert_eq!(run(&steps[1]).args, ["/dev/pipes/S"]);
        assert_eq!(run(&steps[1]).script.as_ref().unwrap().1, "#!/usr/bin/python3\nprint(1)\n");
        assert_eq!(run(&steps[2]).args[2], "cat <<A - <<-B\n1\nA\n\t2\nB");
    }

    #[test]
    fn destinations_of_copies_are_absolute() {
        let destination = |text: &str| {
            let (_, steps) = plan(&format!("WORKDIR /w\n{text}"));
            let Step::Copy(copy) = &steps[1].step else { panic!("a copy") };
            copy.destination.clone()
        };
        assert_eq!(destination("COPY a ."), "/w/");
        assert_eq!(destination("COPY a b"), "/w/b");
        assert_eq!(destination("COPY a b ./c/"), "/w/c/");
        assert_eq!(destination("COPY a /"), "/");
        let error = plan_with(&mut BuildFacts::default(), "FROM x\nCOPY a b c").unwrap_err();
        assert_eq!(
            error.message,
            "When using COPY with more than one source file, the destination must be a directory and end with a /"
        );
    }

    #[test]
    fn inline_files_have_their_variables_replaced_unless_quoted() {
        let (_, steps) = plan("ENV n=world\nCOPY <<a <<'b' /d/\nhello \"$n\"\na\nhello $n\nb\n");
        let Step::Copy(copy) = &steps[1].step else { panic!("a copy") };
        assert_eq!(
            copy.inline,
            [("a".to_owned(), "hello \"world\"\n".to_owned()), ("b".to_owned(), "hello $n\n".to_owned())]
        );
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let refused =
            |text: &str| plan_with(&mut BuildFacts::default(), &format!("FROM x\n{text}")).unwrap_err().message;
        assert_eq!(refused("STOPSIGNAL NOPE"), "invalid signal: NOPE");
        assert_eq!(refused("EXPOSE http"), "invalid containerPort: http");
        assert_eq!(refused("USER ${x:?who}"), "failed to process \"${x:?who}\": x: who");
    }
}
