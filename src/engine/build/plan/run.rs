//! What a RUN means: its program and arguments, what it sees, and what the history says of it.

use std::collections::BTreeMap;

use super::words::expanded;
use super::{BuildFacts, DEFAULT_PATH, PlanError, StageState};
use crate::dockerfile::{Command, Instruction};

/// A RUN.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::engine::build) struct RunStep {
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
pub(in crate::engine::build) const SCRIPTS: &str = "/dev/pipes";

impl StageState {
    pub(super) fn run(
        &self,
        command: &Command,
        instruction: &Instruction,
        facts: &BuildFacts,
    ) -> Result<RunStep, PlanError> {
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
