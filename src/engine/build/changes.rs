//! Dockerfile instructions outside of a Dockerfile: `docker commit --change`, `docker import --change`.
//!
//! The builder's own parser and planner read them, so that variables, quotes and refusals are those of a build. Only
//! instructions that need no file system are taken.

use bollard_stubs::models as docker;

use super::plan::{BuildFacts, PlanError, StageState};
use crate::dockerfile::{Severity, parse};
use crate::engine::EngineError;

/// What may be changed so, as in Docker.
const ALLOWED: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// `config` after the instructions in `changes`, each one line or several.
///
/// # Errors
/// `InvalidParameter` with Docker's words for an instruction that is none, is not allowed here, or is wrong.
pub fn with_changes(config: docker::ImageConfig, changes: &[String]) -> Result<docker::ImageConfig, EngineError> {
    if changes.iter().all(|change| change.trim().is_empty()) {
        return Ok(config);
    }
    let parsed = parse(&changes.join("\n"));
    let stray = parsed.file.instructions.iter().find(|instruction| !ALLOWED.contains(&instruction.keyword.as_str()));
    if let Some(stray) = stray {
        let keyword = stray.keyword.to_ascii_lowercase();
        return Err(EngineError::invalid(format!("{keyword} is not a valid change command")));
    }
    // That no FROM stands before them is no error here.
    let error = parsed
        .diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.code != "NoBuildStage");
    if let Some(error) = error {
        return Err(EngineError::invalid(error.sentence()));
    }
    let facts = BuildFacts { escape: parsed.file.escape, ..BuildFacts::default() };
    let told = |error: PlanError| EngineError::invalid(error.message);
    let mut state = StageState::on(config, None);
    for instruction in &parsed.file.instructions {
        state = state.plan(instruction, &facts).map_err(told)?.after;
    }
    Ok(state.config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<docker::ImageConfig, String> {
        let base = docker::ImageConfig {
            env: Some(vec!["A=0".to_owned()]),
            cmd: Some(vec!["before".to_owned()]),
            ..docker::ImageConfig::default()
        };
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        with_changes(base, &changes).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn changes_are_dockerfile_instructions() {
        let config = changed(&[
            "ENTRYPOINT run me",
            "CMD [\"serve\", \"-v\"]",
            "ENV A=1 B=\"two words\"\nENV C=$A-$B",
            "EXPOSE 80 90-91/udp",
            "LABEL tier=$A 'a b'=c",
            "USER app",
            "WORKDIR /srv",
            "WORKDIR rel",
            "VOLUME /v1 /v2",
            "ONBUILD RUN x",
            "STOPSIGNAL SIGHUP",
            "HEALTHCHECK --interval=5s --retries=2 CMD echo ok",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["serve", "-v"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run me"]);
        assert_eq!(config.env.unwrap(), ["A=1", "B=two words", "C=1-two words"]);
        assert_eq!(config.exposed_ports.unwrap(), ["80/tcp", "90/udp", "91/udp"]);
        let labels = config.labels.unwrap();
        assert_eq!((labels["tier"].as_str(), labels["a b"].as_str()), ("1", "c"));
        assert_eq!((config.user.as_deref(), config.working_dir.as_deref()), (Some("app"), Some("/srv/rel")));
        assert_eq!(config.volumes.unwrap(), ["/v1", "/v2"]);
        assert_eq!(config.on_build.unwrap(), ["RUN x"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGHUP"));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.test.unwrap().join(" "), check.interval), ("CMD-SHELL echo ok".into(), Some(5_000_000_000)));
    }

    #[test]
    fn an_entrypoint_takes_the_command_away() {
        assert_eq!(changed(&["ENTRYPOINT [\"/e\"]"]).unwrap().cmd, None);
    }

    #[test]
    fn what_is_no_change_is_refused_by_name() {
        let refused = |change: &str| changed(&[change]).unwrap_err();
        assert_eq!(refused("RUN x"), "run is not a valid change command");
        assert_eq!(refused("nonsense"), "nonsense is not a valid change command");
        assert_eq!(refused("# only a comment"), "file with no instructions");
        for change in ["ENV A", "EXPOSE abc", "USER", "STOPSIGNAL foo", "HEALTHCHECK x", "ONBUILD FROM x"] {
            assert!(changed(&[change]).is_err(), "{change}");
        }
    }
}
