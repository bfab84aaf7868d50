//! Instructions that only change the image's configuration, and what the history says of them.

use bollard_stubs::models as docker;

use super::words::{expanded, expanded_pairs, go_duration, joined_pairs, process, quoted_list};
use super::{BuildFacts, PlanError, StageState};
use crate::dockerfile::expand::words;
use crate::dockerfile::glob::clean;
use crate::dockerfile::{ArgDeclaration, Body, Command, Healthcheck, Instruction, nearest};
use crate::engine::build::ports;

impl StageState {
    /// Takes in an instruction that neither runs nor copies; returns what the history says of it.
    pub(super) fn configure(&mut self, body: &Body, facts: &BuildFacts) -> Result<String, PlanError> {
        let variables = self.variables();
        let word = |text: &str| expanded(text, &variables, facts.escape);
        Ok(match body {
            Body::From(_) | Body::Invalid | Body::Run(_) | Body::Copy(_) | Body::Add(_) => {
                return Err(PlanError::new("unexpected instruction"));
            }
            Body::Cmd(command) => {
                let words = self.command(command);
                let created_by = format!("CMD {}", quoted_list(&words));
                self.config.cmd = Some(words);
                // Without a meaning on Linux, but BuildKit writes it, so an image is the same with it.
                self.config.args_escaped = Some(true);
                self.sets_cmd = true;
                created_by
            }
            Body::Entrypoint(command) => {
                let words = self.command(command);
                let created_by = format!("ENTRYPOINT {}", quoted_list(&words));
                self.config.entrypoint = Some(words);
                if !self.sets_cmd {
                    self.config.cmd = None;
                }
                created_by
            }
            Body::Shell(words) => {
                self.config.shell = Some(words.clone());
                format!("SHELL [{}]", words.join(" "))
            }
            Body::Env(pairs) => self.env(&expanded_pairs(pairs, &word)?),
            Body::Label(pairs) => {
                let pairs = expanded_pairs(pairs, &word)?;
                self.config.labels.get_or_insert_default().extend(pairs.iter().cloned());
                format!("LABEL {}", joined_pairs(&pairs))
            }
            Body::Arg(declarations) => self.declare(declarations, facts)?,
            Body::Workdir(path) => self.change_workdir(&word(path)?)?,
            Body::User(user) => {
                let user = word(user)?;
                self.config.user = Some(user.clone());
                format!("USER {user}")
            }
            Body::Expose(specs) => {
                let mut texts = Vec::new();
                for spec in specs {
                    texts.extend(words(spec, &variables, facts.escape).map_err(|error| process(spec, &error))?);
                }
                self.expose(&texts)?
            }
            Body::Volume(paths) => {
                let paths = paths.iter().map(|path| word(path)).collect::<Result<Vec<_>, _>>()?;
                if paths.iter().any(String::is_empty) {
                    return Err(PlanError::new("VOLUME specified can not be an empty string"));
                }
                add_sorted(&mut self.config.volumes, &paths);
                format!("VOLUME [{}]", paths.join(" "))
            }
            Body::StopSignal(signal) => {
                let signal = word(signal)?;
                if !is_signal(&signal) {
                    return Err(PlanError::new(format!("invalid signal: {signal}{}", near_signal(&signal))));
                }
                self.config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Body::Maintainer(name) => {
                self.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
            Body::Healthcheck(check) => {
                let check = healthcheck(check);
                let created_by = told_healthcheck(&check);
                self.config.healthcheck = Some(check);
                created_by
            }
            Body::OnBuild(trigger) => {
                let text = with_heredocs(trigger);
                self.config.on_build.get_or_insert_default().push(text.clone());
                format!("ONBUILD {text}")
            }
        })
    }

    fn env(&mut self, pairs: &[(String, String)]) -> String {
        let env = self.config.env.get_or_insert_default();
        for (name, value) in pairs {
            set_env(env, name, value);
        }
        format!("ENV {}", joined_pairs(pairs))
    }

    fn declare(&mut self, declarations: &[ArgDeclaration], facts: &BuildFacts) -> Result<String, PlanError> {
        let mut shown = Vec::with_capacity(declarations.len());
        for declaration in declarations {
            let value = match (facts.build_args.get(&declaration.name), &declaration.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(expanded(default, &self.variables(), facts.escape)?),
                (None, None) => facts.global_args.get(&declaration.name).cloned(),
            };
            shown.push(match &value {
                Some(value) => format!("{}={value}", declaration.name),
                None => declaration.name.clone(),
            });
            self.declare_one(&declaration.name, value);
        }
        Ok(format!("ARG {}", shown.join(" ")))
    }

    /// Once more without a value, an ARG keeps the one it has.
    fn declare_one(&mut self, name: &str, value: Option<String>) {
        match self.args.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.or_else(|| known.take()),
            None => self.args.push((name.to_owned(), value)),
        }
    }

    fn change_workdir(&mut self, path: &str) -> Result<String, PlanError> {
        // A variable without a value leaves it where it is, as BuildKit does.
        let joined = if path.is_empty() {
            self.workdir().to_owned()
        } else if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.workdir())
        };
        let path = clean(&joined);
        let created_by = format!("WORKDIR {path}");
        self.config.working_dir = Some(path);
        Ok(created_by)
    }

    fn expose(&mut self, specs: &[String]) -> Result<String, PlanError> {
        let ports = ports::exposed(specs)?;
        add_sorted(&mut self.config.exposed_ports, &ports);
        Ok(format!("EXPOSE [{}]", ports.join(" ")))
    }
}

/// Adds to what Docker keeps as a set.
fn add_sorted(set: &mut Option<Vec<String>>, more: &[String]) {
    let set = set.get_or_insert_default();
    set.extend(more.iter().cloned());
    set.sort();
    set.dedup();
}

/// Sets a variable where it stands, or at the end.
fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
        Some(known) => *known = pair,
        None => env.push(pair),
    }
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

/// A health check as BuildKit's history has it: Go's way of writing the whole structure.
fn told_healthcheck(check: &docker::HealthConfig) -> String {
    let time = |nanoseconds: Option<i64>| go_duration(nanoseconds.unwrap_or_default());
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.as_deref().unwrap_or_default().join(" "),
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries.unwrap_or_default(),
    )
}

/// The signal that was perhaps meant.
fn near_signal(text: &str) -> String {
    let names: Vec<&str> = nix::sys::signal::Signal::iterator().map(|signal| signal.as_str()).collect();
    let name = if text.to_ascii_uppercase().starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    let near = nearest(&name, names).filter(|_| text.len() > 3 && text.parse::<u32>().is_err());
    near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
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
