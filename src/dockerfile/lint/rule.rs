//! What a lint rule is. Each rule is a row: check, `# check=skip=`, docs/lint.md, SARIF and tests read the same row.

/// Who knows the rule, which decides where it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A check of BuildKit: builds print it as a warning.
    BuildKit,
    /// A check of BuildKit that has to be switched on by `# check=experimental=NAME`.
    Experimental,
    /// Advice of our own: the editor and `boxyard lint` tell it, builds do not.
    Advice,
}

/// Whether a finding comes with a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Never.
    None,
    /// One that is right wherever it is offered; `boxyard lint --fix` applies it.
    Sure,
    /// One that a person should look at: a guess at what was meant, or a change of what the build does.
    Guess,
}

/// A rule of the linter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as `# check=skip=` takes it.
    pub name: &'static str,
    /// Whose rule it is.
    pub tier: Tier,
    /// BuildKit's page about it.
    pub url: Option<&'static str>,
    /// What it asks for, in one line.
    pub description: &'static str,
    /// Why, and what to do instead.
    pub explanation: &'static str,
    /// Whether it can be fixed by a replacement.
    pub fix: Fix,
    /// hadolint's names of it, which `# hadolint ignore=` comments may use.
    pub hadolint: &'static [&'static str],
    /// A file that breaks it and no other rule; what is found stands between `«` and `»`.
    pub bad: &'static str,
    /// The same file put right; what a fix makes of `bad`.
    pub good: &'static str,
    /// The `.dockerignore` beside both.
    pub ignore_file: Option<&'static str>,
}

/// The two files that show a rule.
pub(super) struct Shown {
    pub bad: &'static str,
    pub good: &'static str,
}

impl Rule {
    /// A check of BuildKit.
    pub(super) const fn buildkit(
        name: &'static str,
        url: &'static str,
        description: &'static str,
        explanation: &'static str,
        shown: Shown,
    ) -> Self {
        let url = if url.is_empty() { None } else { Some(url) };
        let (bad, good) = (shown.bad, shown.good);
        let (tier, fix) = (Tier::BuildKit, Fix::None);
        Self { name, tier, url, description, explanation, fix, hadolint: &[], bad, good, ignore_file: None }
    }

    /// Advice of our own.
    pub(super) const fn advice(
        name: &'static str,
        hadolint: &'static [&'static str],
        description: &'static str,
        explanation: &'static str,
        shown: Shown,
    ) -> Self {
        let (bad, good) = (shown.bad, shown.good);
        let (tier, fix) = (Tier::Advice, Fix::None);
        Self { name, tier, url: None, description, explanation, fix, hadolint, bad, good, ignore_file: None }
    }

    /// The same rule, with a fix.
    pub(super) const fn with_fix(mut self, fix: Fix) -> Self {
        self.fix = fix;
        self
    }

    /// The same rule, by hadolint's names too.
    pub(super) const fn in_hadolint(mut self, names: &'static [&'static str]) -> Self {
        self.hadolint = names;
        self
    }

    /// The same rule, switched on only by name.
    pub(super) const fn experimental(mut self) -> Self {
        self.tier = Tier::Experimental;
        self
    }

    /// The same rule, shown beside an ignore file.
    pub(super) const fn beside(mut self, ignore_file: &'static str) -> Self {
        self.ignore_file = Some(ignore_file);
        self
    }
}

/// [`Rule::bad`] without its marks, and the bytes between them.
pub fn unmarked(bad: &str) -> (String, super::super::Span) {
    let start = bad.find('«').unwrap_or(0);
    let end = bad.find('»').map_or(start, |end| end.saturating_sub('«'.len_utf8()));
    (bad.replace(['«', '»'], ""), super::super::Span::new(start, end))
}
