//! What a COPY or ADD means: final words of its sources, destination and flags, and what the history says of it.

use super::words::{expanded, process};
use super::{BuildFacts, PlanError, StageState};
use crate::dockerfile::expand::{Expanded, expand_heredoc};
use crate::dockerfile::glob::clean;
use crate::dockerfile::{Heredoc, Instruction, Transfer};

/// A COPY or ADD.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::engine::build) struct CopyStep {
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

impl StageState {
    pub(super) fn copy(
        &self,
        transfer: &Transfer,
        instruction: &Instruction,
        facts: &BuildFacts,
    ) -> Result<CopyStep, PlanError> {
        let keyword = instruction.keyword.as_str();
        let variables = self.variables();
        let word = |text: &str| expanded(text, &variables, facts.escape);
        let flag = |name: &str| instruction.flag(name).map(&word).transpose();
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
        Ok(CopyStep {
            is_add: keyword == "ADD",
            from: flag("from")?,
            sources,
            inline,
            destination,
            chown: flag("chown")?,
            chmod: flag("chmod")?,
            exclude: exclude.map(&word).collect::<Result<_, _>>()?,
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

impl CopyStep {
    /// What the image's history says of it.
    pub(super) fn history(&self) -> String {
        let mut text = if self.is_add { "ADD".to_owned() } else { "COPY".to_owned() };
        for (name, value) in [("chown", &self.chown), ("chmod", &self.chmod)] {
            if let Some(value) = value {
                text.push_str(&format!(" --{name}={value}"));
            }
        }
        let inline = self.inline.iter().map(|(name, _)| format!("<<{name}"));
        for word in self.sources.iter().cloned().chain(inline).chain([self.destination.clone()]) {
            text.push(' ');
            text.push_str(&word);
        }
        text.push_str(" # buildkit");
        text
    }
}
