//! What a container runs with: what its creator asked for, completed by what the image says.

use std::collections::{HashMap, HashSet};

use bollard_stubs::models as docker;

use crate::engine::EngineError;

/// Separates what a creation request says about the container itself from where it runs.
pub fn split_body(
    body: docker::ContainerCreateBody,
) -> (docker::ContainerConfig, docker::HostConfig, HashMap<String, docker::EndpointSettings>) {
    let config = docker::ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: body.user,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        env: body.env,
        cmd: body.cmd,
        healthcheck: body.healthcheck,
        args_escaped: body.args_escaped,
        image: body.image,
        volumes: body.volumes,
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        network_disabled: body.network_disabled,
        on_build: body.on_build,
        labels: body.labels,
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        shell: body.shell,
    };
    let endpoints = body.networking_config.and_then(|config| config.endpoints_config).unwrap_or_default();
    (config, body.host_config.unwrap_or_default(), endpoints)
}

/// Completes `config` by the image's defaults. An entrypoint of one empty text means: none, whatever the image says.
///
/// # Errors
/// Docker's `no command specified` where neither of the two names a command.
pub fn merge_image(
    config: docker::ContainerConfig,
    image: &docker::ImageConfig,
) -> Result<docker::ContainerConfig, EngineError> {
    let config = completed(config, image);
    if command_line(&config).is_empty() {
        return Err(EngineError::invalid("no command specified"));
    }
    Ok(config)
}

/// `config` with what it lacks taken from `image`.
pub fn completed(mut config: docker::ContainerConfig, image: &docker::ImageConfig) -> docker::ContainerConfig {
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if !filled(&config.user) {
        config.user.clone_from(&image.user);
    }
    if !filled(&config.working_dir) {
        config.working_dir.clone_from(&image.working_dir);
    }
    if !filled(&config.stop_signal) {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    config.exposed_ports = union(config.exposed_ports, image.exposed_ports.as_deref());
    config.volumes = union(config.volumes, image.volumes.as_deref());
    config.env = Some(merge_env(config.env.unwrap_or_default(), image.env.as_deref().unwrap_or_default()));
    let mut labels = image.labels.clone().unwrap_or_default();
    labels.extend(config.labels.unwrap_or_default());
    config.labels = Some(labels);
    config.healthcheck = merge_healthcheck(config.healthcheck, image.healthcheck.as_ref());

    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.entrypoint.as_deref().is_some_and(|words| words.is_empty() || words == [String::new()]) {
        config.entrypoint = None;
    }
    config
}

/// The whole command line: entrypoint, then command.
pub fn command_line(config: &docker::ContainerConfig) -> Vec<String> {
    config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect()
}

/// The command line as lists show it: words with blanks or quotes in single quotes.
pub fn command_text(words: &[String]) -> String {
    let shown = words.iter().map(|word| {
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"$\\;&|<>()*?`#".contains(c)) {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.clone()
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn union(asked: Option<Vec<String>>, image: Option<&[String]>) -> Option<Vec<String>> {
    let mut all = asked.unwrap_or_default();
    let known: HashSet<String> = all.iter().cloned().collect();
    all.extend(image.unwrap_or_default().iter().filter(|one| !known.contains(*one)).cloned());
    all.sort();
    if all.is_empty() { None } else { Some(all) }
}

/// The creator's variables, then those of the image that the creator did not name. A name without `=` unsets it.
fn merge_env(asked: Vec<String>, image: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let named: HashSet<String> = asked.iter().map(|entry| name(entry)).collect();
    let from_image = image.iter().filter(|entry| !named.contains(&name(entry))).cloned();
    asked.iter().cloned().chain(from_image).collect()
}

fn merge_healthcheck(
    asked: Option<docker::HealthConfig>,
    image: Option<&docker::HealthConfig>,
) -> Option<docker::HealthConfig> {
    let (Some(mut asked), Some(image)) = (asked.clone(), image) else { return asked.or_else(|| image.cloned()) };
    if asked.test.as_ref().is_none_or(Vec::is_empty) {
        asked.test.clone_from(&image.test);
    }
    let fill = |mine: &mut Option<i64>, theirs: Option<i64>| {
        if mine.unwrap_or_default() == 0 {
            *mine = theirs;
        }
    };
    fill(&mut asked.interval, image.interval);
    fill(&mut asked.timeout, image.timeout);
    fill(&mut asked.start_period, image.start_period);
    fill(&mut asked.start_interval, image.start_interval);
    fill(&mut asked.retries, image.retries);
    Some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    fn image(entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>) -> docker::ImageConfig {
        docker::ImageConfig { entrypoint, cmd, ..Default::default() }
    }

    fn merged(asked: docker::ContainerConfig, image: &docker::ImageConfig) -> String {
        merge_image(asked, image).map_or_else(|error| error.to_string(), |config| command_line(&config).join(" "))
    }

    #[test]
    fn entrypoint_and_command_as_docker_joins_them() {
        let ask =
            |entrypoint: Option<Vec<String>>, cmd| docker::ContainerConfig { entrypoint, cmd, ..Default::default() };
        let both = image(words("/entry"), words("serve --all"));
        assert_eq!(merged(ask(None, None), &both), "/entry serve --all");
        assert_eq!(merged(ask(None, words("other")), &both), "/entry other");
        assert_eq!(merged(ask(words("sh -c"), None), &both), "sh -c", "a given entrypoint drops the image's command");
        assert_eq!(
            merged(ask(Some(vec![String::new()]), words("ls")), &both),
            "ls",
            "an empty one takes the image's away"
        );
        assert_eq!(merged(ask(None, None), &image(None, None)), "no command specified");
    }

    #[test]
    fn variables_labels_ports_and_volumes_are_united() {
        let image = docker::ImageConfig {
            env: words("PATH=/bin LANG=C"),
            labels: Some([("a", "image"), ("b", "image")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            exposed_ports: words("80/tcp"),
            volumes: words("/data"),
            user: Some("app".to_owned()),
            cmd: words("x"),
            ..Default::default()
        };
        let asked = docker::ContainerConfig {
            env: words("LANG=de X=1"),
            labels: Some([("b", "mine")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            exposed_ports: words("443/tcp"),
            user: Some(String::new()),
            ..Default::default()
        };
        let merged = merge_image(asked, &image).unwrap();
        assert_eq!(merged.env, words("LANG=de X=1 PATH=/bin"));
        assert_eq!(merged.labels.unwrap()["b"], "mine");
        assert_eq!(merged.exposed_ports, words("443/tcp 80/tcp"));
        assert_eq!(merged.volumes, words("/data"));
        assert_eq!(merged.user.as_deref(), Some("app"));
    }

    #[test]
    fn a_health_check_takes_what_it_lacks_from_the_image() {
        let image =
            docker::HealthConfig { test: words("CMD true"), interval: Some(7), retries: Some(2), ..Default::default() };
        let asked = docker::HealthConfig { interval: Some(9), retries: Some(0), ..Default::default() };
        let merged = merge_healthcheck(Some(asked), Some(&image)).unwrap();
        assert_eq!((merged.test, merged.interval, merged.retries), (words("CMD true"), Some(9), Some(2)));
    }

    #[test]
    fn commands_read_as_typed() {
        let text = |words: &[&str]| command_text(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(text(&["sh", "-c", "echo one; sleep 5"]), "sh -c 'echo one; sleep 5'");
        assert_eq!(text(&["echo", "it's"]), "echo 'it'\\''s'");
    }
}
