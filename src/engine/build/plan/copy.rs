//! What a COPY or ADD means: final words of its sources, destination and flags, and what the history says of it.

use super::words::{expanded, process};
use super::{BuildFacts, PlanError, StageState};
use crate::dockerfile::expand::{Expanded, expand_heredoc};
use crate::dockerfile::glob::clean;
use crate::dockerfile::{Heredoc, Instruction, Transfer};
use crate::engine::build::fetch::is_url;
use crate::engine::build::source::{GitUrl, without_password};
use crate::engine::layer::Digest;

/// What a word of COPY or ADD names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) enum Source {
    /// A path or pattern in the context, a stage or an image.
    Path(String),
    /// A file to download.
    Url(String),
    /// A repository to fetch, and whether its `.git` stays.
    Git {
        /// Which.
        url: GitUrl,
        /// `--keep-git-dir`.
        keeps_git_dir: bool,
    },
}

/// A COPY or ADD.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::engine::build) struct CopyStep {
    /// Whether it is ADD: URLs are fetched, archives unpacked.
    pub is_add: bool,
    /// `--from`: a stage or image; the context where `None`.
    pub from: Option<String>,
    /// What is copied, in order.
    pub sources: Vec<Source>,
    /// The sources as written, for the history.
    pub words: Vec<String>,
    /// Files that stand in the Dockerfile: name and text.
    pub inline: Vec<(String, String)>,
    /// Absolute; ends in a slash where it names a directory.
    pub destination: String,
    /// The destination as written, for the history.
    pub to: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--parents`.
    pub keeps_parents: bool,
    /// `--link`: a layer of its own, whatever is below.
    pub is_link: bool,
    /// `--checksum` of a download: of its bytes.
    pub checksum: Option<Digest>,
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
        let is_add = keyword == "ADD";
        let variables = self.variables();
        let word = |text: &str| expanded(text, &variables, facts.escape);
        let flag = |name: &str| instruction.flag(name).map(&word).transpose();
        let switch =
            |name: &str| instruction.flags.iter().any(|flag| flag.name == name).then(|| instruction.has_flag(name));
        let destination = word(&transfer.destination)?;
        let words = transfer.sources.iter().map(|source| word(source)).collect::<Result<Vec<_>, _>>()?;
        let mut inline = Vec::new();
        for heredoc in transfer.heredocs.iter().filter_map(|index| instruction.heredocs.get(*index)) {
            inline.push((heredoc.name.clone(), self.inline_file(heredoc)?));
        }
        let is_folder = destination.ends_with('/') || destination == "." || destination.ends_with("/.");
        let is_flag = |word: &String| word.starts_with("--");
        if words.len() + inline.len() > 1 && !is_folder && (words.iter().any(is_flag) || is_flag(&destination)) {
            return Err(PlanError::new(format!("{}; flags stand in front of the sources", needs_folder(keyword))));
        }
        let joined = match destination.starts_with('/') {
            true => destination.clone(),
            false => format!("{}/{destination}", self.workdir()),
        };
        let to = destination;
        let mut destination = clean(&joined);
        if is_folder && destination != "/" {
            destination.push('/');
        }
        let keeps_git_dir = switch("keep-git-dir");
        let mut sources =
            words.iter().map(|word| source(word, is_add, keeps_git_dir)).collect::<Result<Vec<_>, PlanError>>()?;
        let checksum = match flag("checksum")? {
            Some(text) => apply_checksum(&text, &mut sources)?,
            None => None,
        };
        let exclude =
            instruction.flags.iter().filter(|flag| flag.name == "exclude").filter_map(|flag| flag.value.as_deref());
        Ok(CopyStep {
            is_add,
            // `--from=` copies from the context, as BuildKit has it.
            from: flag("from")?.filter(|from| !from.is_empty()),
            sources,
            words,
            inline,
            destination,
            to,
            chown: flag("chown")?,
            chmod: flag("chmod")?,
            exclude: exclude.map(&word).collect::<Result<_, _>>()?,
            keeps_parents: instruction.has_flag("parents"),
            is_link: instruction.has_flag("link"),
            checksum,
            unpack: switch("unpack"),
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

/// Docker's words for several files that can't all have the name of the destination.
pub(in crate::engine::build) fn needs_folder(keyword: &str) -> String {
    format!("When using {keyword} with more than one source file, the destination must be a directory and end with a /")
}

impl CopyStep {
    /// What the image's history says of it.
    pub(super) fn history(&self) -> String {
        let mut text = if self.is_add { "ADD".to_owned() } else { "COPY".to_owned() };
        if self.keeps_parents {
            text.push_str(" --parents");
        }
        for (name, value) in [("chown", &self.chown), ("chmod", &self.chmod)] {
            if let Some(value) = value {
                text.push_str(&format!(" --{name}={value}"));
            }
        }
        let inline = self.inline.iter().map(|(name, _)| format!("<<{name}"));
        for word in self.words.iter().cloned().chain(inline).chain([self.to.clone()]) {
            text.push(' ');
            text.push_str(&word);
        }
        text.push_str(" # buildkit");
        text
    }
}

/// What a word names. COPY takes paths alone.
fn source(word: &str, is_add: bool, keeps_git_dir: Option<bool>) -> Result<Source, PlanError> {
    if let Some(url) = GitUrl::parse(word) {
        if !is_add {
            return Err(PlanError::new(format!("source can't be a git ref for COPY: {}", without_password(word))));
        }
        let url = url?;
        if let (Some(flag), Some(query)) = (keeps_git_dir, url.keeps_git_dir)
            && flag != query
        {
            return Err(PlanError::new("inconsistent keep-git-dir configuration: the flag and the URL differ"));
        }
        let keeps_git_dir = keeps_git_dir.or(url.keeps_git_dir).unwrap_or(false);
        return Ok(Source::Git { url, keeps_git_dir });
    }
    match is_url(word) {
        true if is_add => Ok(Source::Url(word.to_owned())),
        true => Err(PlanError::new(format!("source can't be a URL for COPY: {}", without_password(word)))),
        false => Ok(Source::Path(word.to_owned())),
    }
}

/// `--checksum`: of a download it is the digest of its bytes (the answer), of a repository the commit.
fn apply_checksum(text: &str, sources: &mut [Source]) -> Result<Option<Digest>, PlanError> {
    match sources {
        [Source::Url(_)] => text.parse().map(Some).map_err(|_| {
            PlanError::new(format!("invalid checksum {text:?}: a download takes sha256: and 64 hexadecimal digits"))
        }),
        [Source::Git { url, .. }] => {
            if let Some(known) = url.checksum.replace(text.to_owned())
                && known != text
            {
                return Err(PlanError::new(format!("checksum mismatch {text:?} != {known:?}")));
            }
            url.reference.get_or_insert_with(|| text.to_owned());
            Ok(None)
        }
        [_] => Err(PlanError::new("checksum requires HTTP(S) or Git sources")),
        _ => Err(PlanError::new("checksum can't be specified for multiple sources")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Body, parse};

    fn step(text: &str) -> Result<CopyStep, String> {
        let file = parse(&format!("FROM x\n{text}")).file;
        let instruction = file.instructions.last().unwrap();
        let (Body::Copy(transfer) | Body::Add(transfer)) = &instruction.body else { panic!("{text}") };
        StageState::default().copy(transfer, instruction, &BuildFacts::default()).map_err(|error| error.message)
    }

    #[test]
    fn sources_are_paths_downloads_or_repositories() {
        let digest = "a".repeat(64);
        let add = step(&format!("ADD --checksum=sha256:{digest} https://h/x /")).unwrap();
        assert_eq!(add.sources, [Source::Url("https://h/x".into())]);
        assert_eq!(add.checksum.unwrap().hex(), digest);
        let add = step("ADD --keep-git-dir --checksum=abcdef1 https://h/x.git#v1 /x").unwrap();
        let Source::Git { url, keeps_git_dir: true } = &add.sources[0] else { panic!("{add:?}") };
        assert_eq!((url.checksum.as_deref(), url.reference.as_deref()), (Some("abcdef1"), Some("v1")));
        assert_eq!(step("COPY a.git /").unwrap().sources, [Source::Path("a.git".into())]);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let refused = |text: &str| step(text).unwrap_err();
        assert_eq!(refused("COPY https://h/x /"), "source can't be a URL for COPY: https://h/x");
        assert_eq!(refused("COPY git@h:x /"), "source can't be a git ref for COPY: git@h:x");
        assert_eq!(refused("ADD --checksum=abcdef1 x /"), "checksum requires HTTP(S) or Git sources");
        assert_eq!(
            refused("ADD --checksum=abcdef1 https://h/x https://h/y /"),
            "checksum can't be specified for multiple sources"
        );
        assert_eq!(
            refused("ADD --keep-git-dir=false https://h/x.git?keep-git-dir=1 /"),
            "inconsistent keep-git-dir configuration: the flag and the URL differ"
        );
    }

    #[test]
    fn the_history_tells_flags_that_shape_the_files() {
        let history = step("COPY --link --parents --chown=a:b --chmod=644 --exclude=x y /z").unwrap().history();
        assert_eq!(history, "COPY --parents --chown=a:b --chmod=644 y /z # buildkit");
    }
}
