//! What a RUN means: its program and arguments, what it sees, and what the history says of it.

use std::collections::BTreeMap;

use super::words::expanded;
use super::{Argument, BuildFacts, DEFAULT_PATH, PlanError, RunMount, StageState};
use crate::dockerfile::{Command, Instruction};

/// A RUN.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::engine::build) struct RunStep {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, without the proxies.
    pub env: BTreeMap<String, String>,
    /// The declared ARGs in order, with what `env` has for them.
    pub build_args: Vec<(String, String)>,
    /// Who runs it.
    pub user: String,
    /// Where.
    pub workdir: String,
    /// `--network`.
    pub network: RunNetwork,
    /// `--security=insecure`: all rights.
    pub is_insecure: bool,
    /// `--mount`s, in the order they are made.
    pub mounts: Vec<RunMount>,
    /// A heredoc that begins with `#!`: its name and text; `args` is then its path in [`SCRIPTS`].
    pub script: Option<(String, String)>,
}

/// The network of a RUN, as the instruction has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine::build) enum RunNetwork {
    /// The build's.
    #[default]
    Default,
    /// None.
    None,
    /// The host's.
    Host,
}

/// Where scripts of RUN heredocs stand while they run.
pub(in crate::engine::build) const SCRIPTS: &str = "/dev/pipes";

impl StageState {
    pub(super) fn run(
        &self,
        command: &Command,
        instruction: &Instruction,
        facts: &BuildFacts,
    ) -> Result<RunStep, PlanError> {
        if let Some(device) = instruction.flag("device") {
            return Err(PlanError::new(format!(
                "RUN --device={device} is not supported: a build has no devices of the host; use the device in a container \
                 (docker run --device) and copy what comes of it"
            )));
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
        let mut env = self.variables();
        env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
        let seen = |(name, _): &Argument| (name.clone(), env.get(name).cloned().unwrap_or_default());
        let build_args = self.args.iter().map(seen).collect();
        let flag = |name: &str| {
            instruction.flag(name).map(|value| expanded(value, &self.variables(), facts.escape)).transpose()
        };
        let network = match flag("network")?.as_deref() {
            None | Some("default") => RunNetwork::Default,
            Some("none") => RunNetwork::None,
            Some("host") => RunNetwork::Host,
            Some(other) => return Err(PlanError::new(format!("unsupported network mode {other:?}"))),
        };
        let is_insecure = match flag("security")?.as_deref() {
            None | Some("sandbox") => false,
            Some("insecure") => true,
            Some(other) => return Err(PlanError::new(format!("security {other:?} is not valid"))),
        };
        Ok(RunStep {
            args,
            build_args,
            env,
            user: self.config.user.clone().unwrap_or_default(),
            workdir: self.workdir().to_owned(),
            network,
            is_insecure,
            mounts: self.mounts(instruction, facts)?,
            script,
        })
    }
}

/// Whether a RUN's text is nothing but one heredoc's mark.
fn is_heredoc_alone(text: &str) -> bool {
    !text.trim().contains(char::is_whitespace) && text.trim_start().starts_with("<<")
}

impl RunStep {
    /// What the image's history says of it.
    pub(super) fn history(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        if !self.build_args.is_empty() {
            words.push(format!("|{}", self.build_args.len()));
            words.extend(self.build_args.iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend(self.args.iter().cloned());
        format!("RUN {} # buildkit", words.join(" "))
    }
}
