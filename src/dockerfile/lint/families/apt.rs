//! apt-get in RUN.

use super::super::super::ast::Span;
use super::super::super::diagnostic::Suggestion;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};
use super::super::scene::{Part, Run, Scene, is_within};
use super::super::shell::{Simple, Word};

const APT_GET: Rule = Rule::advice(
    "AptInsteadOfAptGet",
    &["DL3027"],
    "Scripts should use apt-get, not apt",
    "`apt` is made for people: its output and options may change at any release, and it says so itself on every run. \
     `apt-get` keeps both stable.",
    Shown {
        bad: "FROM debian:12\nRUN apt-get update && «apt» install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
    },
)
.with_fix(Fix::Sure);

const UPDATE_ALONE: Rule = Rule::advice(
    "AptGetUpdateAlone",
    &[],
    "apt-get update belongs into the RUN that installs",
    "A RUN of its own is cached: weeks later the install that follows it still sees the old lists, and fails on packages \
     that are gone. In one RUN both are done anew together.",
    Shown {
        bad: "FROM debian:12\nRUN «apt-get update»\nRUN make\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\nRUN make\n",
    },
);

const PIN: Rule = Rule::advice(
    "AptPinVersions",
    &["DL3008"],
    "apt packages should have a version",
    "Without a version each build takes whatever is newest that day, so two builds of one file differ. Name it \
     (`curl=7.88.1-10`), or a release (`curl/bookworm`).",
    Shown {
        bad: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends «curl» git=1:2.39 && rm -rf /var/lib/apt/lists/*\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 git=1:2.39 && rm -rf /var/lib/apt/lists/*\n",
    },
);

const RECOMMENDS: Rule = Rule::advice(
    "AptNoInstallRecommends",
    &["DL3015"],
    "apt-get install should leave recommended packages out",
    "By default apt-get also installs what packages merely recommend, which often doubles the layer. With \
     `--no-install-recommends` it installs what is named and what that needs.",
    Shown {
        bad: "FROM debian:12\nRUN apt-get update && apt-get «install» -y curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install --no-install-recommends -y curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
    },
)
.with_fix(Fix::Guess);

const CLEAN: Rule = Rule::advice(
    "AptCleanLists",
    &["DL3009"],
    "apt's lists should not stay in the layer",
    "The package lists are tens of megabytes that nobody reads again. Remove them in the same RUN (a later one can't make \
     the layer smaller), or keep them out of it by a cache mount on `/var/lib/apt`.",
    Shown {
        bad: "FROM debian:12\nRUN apt-get update && «apt-get install -y --no-install-recommends curl=7.88.1-10»\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
    },
)
.with_fix(Fix::Sure);

const YES: Rule = Rule::advice(
    "AptAssumeYes",
    &["DL3014"],
    "apt-get install needs -y: nobody is there to answer",
    "Where more than the named packages is to be installed apt-get asks first, gets no answer, and gives up.",
    Shown {
        bad: "FROM debian:12\nRUN apt-get update && apt-get «install» --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
        good: "FROM debian:12\nRUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.1-10 && rm -rf /var/lib/apt/lists/*\n",
    },
)
.with_fix(Fix::Sure);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[APT_GET, UPDATE_ALONE, PIN, RECOMMENDS, CLEAN, YES];

const LISTS: &str = "/var/lib/apt/lists";

/// Options that take the next word along.
const WITH_VALUE: [&str; 7] = ["-o", "--option", "-c", "--config-file", "-t", "--target-release", "--default-release"];

pub(super) fn advise(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    // What is behind the last RUN that needs the lists of an earlier one may remove them.
    let needing = scene.runs.iter().rposition(needs_lists);
    for (at, run) in scene.runs.iter().enumerate() {
        let calls: Vec<Call<'_>> = run.commands().filter_map(|(part, command)| Call::of(part, command)).collect();
        for call in &calls {
            name(linter, call);
            if call.verb.text == "install" {
                install(linter, call);
            }
        }
        update_alone(linter, run, &calls);
        if scene.is_shipped(run.stage) {
            clean(linter, run, &calls, needing.is_none_or(|needing| at >= needing));
        }
    }
}

/// A call of apt-get.
struct Call<'a> {
    part: &'a Part,
    command: &'a Simple,
    program: &'a Word,
    verb: &'a Word,
    packages: Vec<&'a Word>,
}

impl<'a> Call<'a> {
    fn of(part: &'a Part, command: &'a Simple) -> Option<Self> {
        if !matches!(command.program(), "apt-get" | "apt" | "aptitude") {
            return None;
        }
        let operands = command.operands(&WITH_VALUE);
        let (verb, packages) = operands.split_first()?;
        Some(Self { part, command, program: command.call().first()?, verb, packages: packages.to_vec() })
    }

    /// What to insert behind the verb; not in the JSON form, where it would have to be a string of its own.
    fn insert(&self, option: &str) -> Option<Suggestion> {
        super::insert_after(self.part, self.verb, option)
    }
}

fn name(linter: &mut Linter<'_>, call: &Call<'_>) {
    const SAME: [&str; 8] = ["update", "install", "upgrade", "remove", "purge", "autoremove", "clean", "autoclean"];
    if call.command.program() == "apt" && SAME.contains(&call.verb.text.as_str()) && call.program.text == "apt" {
        let span = call.program.span;
        let suggestion = Suggestion { span, replacement: "apt-get".to_owned() };
        linter.advise(&APT_GET, span, "apt is for people; scripts use apt-get", Some(suggestion));
    }
}

fn install(linter: &mut Linter<'_>, call: &Call<'_>) {
    let has = |short, long: &str| call.command.has_flag(short, long);
    if !has(Some('y'), "yes") && !has(None, "assume-yes") && !has(None, "force-yes") && !call.is_quiet_enough() {
        let message = "apt-get install without -y asks, and nobody answers";
        linter.advise(&YES, call.verb.span, message, call.insert("-y"));
    }
    let text = call.command.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    if !has(None, "no-install-recommends") && !text.contains("Install-Recommends") {
        let message = "apt-get install also installs what packages only recommend";
        linter.advise(&RECOMMENDS, call.verb.span, message, call.insert("--no-install-recommends"));
    }
    if has(Some('t'), "target-release") || has(None, "default-release") {
        return;
    }
    let is_loose = |word: &&Word| word.is_plain && !word.text.contains(['=', '/']) && !word.text.ends_with(".deb");
    let loose: Vec<&Word> = call.packages.iter().copied().filter(is_loose).collect();
    super::unpinned(linter, &PIN, "apt", &loose);
}

impl Call<'_> {
    /// `-qq` means `-y` too.
    fn is_quiet_enough(&self) -> bool {
        self.command.arguments().iter().any(|word| word.text == "-qq" || word.text == "-q=2")
    }
}

fn update_alone(linter: &mut Linter<'_>, run: &Run<'_>, calls: &[Call<'_>]) {
    const HARMLESS: [&str; 11] = ["rm", "set", "echo", "true", "mkdir", "sed", "cat", "export", "chmod", "cp", "tee"];
    let [update] = calls else { return };
    let is_harmless = |command: &Simple| {
        std::ptr::eq(command, update.command) || HARMLESS.contains(&command.program()) || command.words.is_empty()
    };
    // A script of the context may well install something.
    if update.verb.text == "update" && run.commands().all(|(_, command)| is_harmless(command)) {
        let span = Span::new(update.program.span.start, update.verb.span.end);
        linter.advise(&UPDATE_ALONE, span, "apt-get update without an install in the same RUN goes stale", None);
    }
}

/// The lists are in the layer of the RUN that fetches them; one that only installs adds none.
/// `is_last`: no later RUN has nothing but these.
fn clean(linter: &mut Linter<'_>, run: &Run<'_>, calls: &[Call<'_>], is_last: bool) {
    let Some(install) = calls.iter().find(|call| call.verb.text == "install") else { return };
    if !calls.iter().any(|call| call.verb.text == "update") {
        return;
    }
    let is_removed = run.commands().any(|(_, command)| {
        let removes = command.program() == "rm";
        removes && command.arguments().iter().any(|word| is_within(&word.text, LISTS) || is_within(LISTS, &word.text))
    });
    let is_cleaned = calls.iter().any(|call| matches!(call.verb.text.as_str(), "distclean" | "dist-clean"));
    if is_removed || is_cleaned || run.mounts(LISTS) {
        return;
    }
    // Under sudo the RUN is not root's.
    let is_roots = calls.iter().all(|call| call.command.words.first().is_some_and(|word| word.text != "sudo"));
    let suggestion = super::append(linter, run, &format!("rm -rf {LISTS}/*")).filter(|_| is_roots && is_last);
    linter.advise(&CLEAN, install.command.span, "apt's package lists stay in the layer", suggestion);
}

/// Whether a RUN installs by the lists of an earlier one.
fn needs_lists(run: &Run<'_>) -> bool {
    let calls: Vec<Call<'_>> = run.commands().filter_map(|(part, command)| Call::of(part, command)).collect();
    let of = |verb: &str| calls.iter().position(|call| call.verb.text == verb);
    match (of("install"), of("update")) {
        (Some(install), Some(update)) => install < update,
        (install, None) => install.is_some(),
        (None, _) => false,
    }
}
