//! The planner of one stage: an instruction and the state before it give a step to carry out and the state after it.
//!
//! Pure. Variables are replaced here, so a step holds nothing but final words, and what can change its outcome is all in
//! it: that is what the cache's key is made of. Instructions that run or copy have files of their own; all others only
//! change the configuration (`config`).

mod config;
mod copy;
mod facts;
mod mounts;
mod run;
mod words;

use std::collections::BTreeMap;

use bollard_stubs::models as docker;

use crate::dockerfile::{Body, Command, Instruction};

pub(super) use self::copy::{CopyStep, Source, needs_folder};
pub(super) use self::facts::{BuildFacts, EPOCH};
pub(super) use self::mounts::{Asked, CacheMount, FileOwner, Mounted, RunMount};
pub(super) use self::run::{RunNetwork, RunStep, SCRIPTS};
pub(super) use self::words::expanded;

/// Where programs are looked for when an image does not say, as in Docker.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// An ARG that has been declared: its name, and its value where it has one.
pub(super) type Argument = (String, Option<String>);

/// What a stage has come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct StageState {
    /// The image's configuration so far.
    pub config: docker::ImageConfig,
    /// Who made it (MAINTAINER).
    pub author: Option<String>,
    /// ARGs of this stage and of those below it, in the order of their declaration.
    pub args: Vec<Argument>,
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
        Self { config, author, args: Vec::new(), sets_cmd: false }
    }

    /// What variables stand for: ENV wins over ARG.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut all = self.arg_values();
        all.extend(self.env_pairs());
        all
    }

    /// The ARGs that have a value.
    fn arg_values(&self) -> BTreeMap<String, String> {
        self.args.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
    }

    /// Whether ENV sets it, which counts for more than an ARG of that name.
    pub(super) fn has_env(&self, name: &str) -> bool {
        self.env_pairs().any(|(known, _)| known == name)
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
        let (step, after, created_by) = match &instruction.body {
            Body::Run(command) => {
                let run = self.run(command, instruction, facts)?;
                let created_by = run.history();
                (Step::Run(run), self.clone(), created_by)
            }
            Body::Copy(transfer) | Body::Add(transfer) => {
                let copy = self.copy(transfer, instruction, facts)?;
                let created_by = copy.history();
                (Step::Copy(copy), self.clone(), created_by)
            }
            body => {
                let mut after = self.clone();
                let created_by = after.configure(body, facts)?;
                let step = match body {
                    Body::Workdir(_) => Step::MakeWorkdir(after.workdir().to_owned()),
                    _ => Step::Configure,
                };
                (step, after, created_by)
            }
        };
        Ok(Planned { step, after, created_by })
    }
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
    fn the_history_is_in_buildkits_words() {
        let (state, steps) = plan(
            "EXPOSE 90 80\nCMD x\nHEALTHCHECK --interval=90s --timeout=1500ms --retries=3 CMD ok || no\n\
             HEALTHCHECK NONE\nWORKDIR /w\nCOPY a b ./c/\n",
        );
        let told: Vec<&str> = steps.iter().map(|step| step.created_by.as_str()).collect();
        assert_eq!(
            told,
            [
                "EXPOSE [90/tcp 80/tcp]",
                r#"CMD ["/bin/sh" "-c" "x"]"#,
                "HEALTHCHECK {Test:[CMD-SHELL ok || no] Interval:1m30s Timeout:1.5s StartPeriod:0s StartInterval:0s Retries:3}",
                "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
                "WORKDIR /w",
                "COPY a b ./c/ # buildkit",
            ]
        );
        assert_eq!(state.config.args_escaped, Some(true), "as BuildKit marks every image with a CMD");
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
        assert_eq!(steps.last().unwrap().created_by, "RUN |4 V=2 G=2-g D=env NONE= /bin/sh -c x # buildkit");
        assert!(!run.env.contains_key("NONE"));
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
        assert_eq!(destination("COPY a b c"), "/w/c");
        let error = plan_with(&mut BuildFacts::default(), "FROM x\nCOPY a b/ --chown=1").unwrap_err();
        assert!(error.message.ends_with("; flags stand in front of the sources"), "{}", error.message);
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
    fn variables_without_a_value_change_nothing_they_need_not() {
        let (state, _) = plan("WORKDIR /x\nWORKDIR $nothing\nENV p=\"80 0\"\nEXPOSE $p $q\n");
        assert_eq!(state.config.working_dir.as_deref(), Some("/x"));
        assert_eq!(state.config.exposed_ports, Some(vec!["0/tcp".to_owned(), "80/tcp".to_owned()]));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let refused =
            |text: &str| plan_with(&mut BuildFacts::default(), &format!("FROM x\n{text}")).unwrap_err().message;
        assert_eq!(refused("STOPSIGNAL NOPENOPE"), "invalid signal: NOPENOPE");
        assert_eq!(refused("STOPSIGNAL SIGTREM"), "invalid signal: SIGTREM (did you mean SIGTERM?)");
        let ports = "a port is a number up to 65535, or two with - between them";
        assert_eq!(refused("EXPOSE http"), format!("invalid containerPort: http; {ports}"));
        assert_eq!(refused("EXPOSE 80 # web"), "invalid containerPort: #; a comment needs a line of its own");
        assert_eq!(refused("EXPOSE 80/tpc"), "invalid proto: tpc (did you mean tcp?)");
        assert_eq!(refused("VOLUME $nothing"), "VOLUME specified can not be an empty string");
        assert_eq!(refused("USER ${x:?who}"), "failed to process \"${x:?who}\": x: who");
    }
}
