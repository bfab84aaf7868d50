//! What can be asked of a build: docker buildx's flags, each carried out or refused by name.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::call::Call;
use super::output::Outputs;
use crate::cli::words::parse_size;

/// How a build's progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Live on a terminal, plain elsewhere
    Auto,
    /// Lines, as they come
    Plain,
    /// A live display; refused where there is no terminal
    Tty,
    /// Not at all
    #[value(alias = "none")]
    Quiet,
    /// BuildKit's messages, one as JSON a line
    Rawjson,
}

/// What to build, and how.
#[derive(Debug, Args)]
pub struct Build {
    /// Name of the image (may be repeated)
    #[arg(short, long)]
    pub tag: Vec<String>,
    /// The Dockerfile, PATH/Dockerfile where it is missing; - reads it from standard input
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// Build this stage instead of the last one
    #[arg(long, default_value = "")]
    pub target: String,
    /// Give a value to an ARG: NAME=VALUE, or NAME to hand ours on
    #[arg(long)]
    pub build_arg: Vec<String>,
    /// Label the image: KEY=VALUE
    #[arg(long)]
    pub label: Vec<String>,
    /// Annotate the manifest of what goes to a registry (--push) or into an archive (--output type=oci): KEY=VALUE
    #[arg(long)]
    pub annotation: Vec<String>,
    /// OS/ARCH of the image
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Ask for newer base images
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub pull: bool,

    /// Run every step, whatever the cache holds
    #[arg(long, help_heading = "Cache", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub no_cache: bool,
    /// Run every step of this stage (may be repeated)
    #[arg(long, help_heading = "Cache", value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Take steps from this cache too: an image, or type=registry|local|inline,...
    #[arg(long, help_heading = "Cache", value_name = "CACHE")]
    pub cache_from: Vec<String>,
    /// Write the cache there: type=inline, type=local,dest=DIR or type=registry,ref=NAME
    #[arg(long, help_heading = "Cache", value_name = "CACHE")]
    pub cache_to: Vec<String>,
    /// Tell of every step why the cache did not have it
    #[arg(long, help_heading = "Cache")]
    pub explain: bool,

    /// Where the result goes: DIR, -, or type=image|local|tar|oci|docker,... (may be repeated)
    #[arg(short, long, help_heading = "Result", value_name = "OUTPUT")]
    pub output: Vec<String>,
    /// Put the image among this engine's images (as is done where nothing else is said)
    #[arg(long, help_heading = "Result", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub load: bool,
    /// Push the image to the registries its names say
    #[arg(long, help_heading = "Result", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub push: bool,
    /// Write the image's ID into this file
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Write what was made, with digests, into this file as JSON
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Make one layer of all: refused
    #[arg(long, hide = true)]
    pub squash: bool,
    /// A software bill of materials: only false
    #[arg(long, hide = true)]
    pub sbom: Option<String>,
    /// A provenance attestation: only false
    #[arg(long, hide = true)]
    pub provenance: Option<String>,
    /// An attestation: only disabled ones
    #[arg(long, hide = true)]
    pub attest: Vec<String>,

    /// Show progress like this
    #[arg(long, help_heading = "Telling", value_enum, default_value_t = ProgressMode::Auto, env = "BUILDKIT_PROGRESS", hide_env = true)]
    pub progress: ProgressMode,
    /// Print nothing but the image's ID
    #[arg(short, long, help_heading = "Telling")]
    pub quiet: bool,
    /// Check the Dockerfile, build nothing; exits with 1 where something is found
    #[arg(long, help_heading = "Telling")]
    pub check: bool,
    /// Instead of a build: check, targets (the stages) or outline (arguments, secrets, ssh); with ,format=json as JSON
    #[arg(
        long,
        help_heading = "Telling",
        value_name = "METHOD",
        alias = "print",
        default_value = "build",
        hide_default_value = true,
        conflicts_with = "check"
    )]
    pub call: Call,

    /// A secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=VAR]
    #[arg(long, help_heading = "What steps see")]
    pub secret: Vec<String>,
    /// An ssh agent for RUN --mount=type=ssh: default, or ID[=SOCKET|KEYFILE[,KEYFILE]]
    #[arg(long, help_heading = "What steps see")]
    pub ssh: Vec<String>,
    /// More files by name for FROM and --from: NAME=DIR|URL|docker-image://IMAGE|oci-layout://DIR
    #[arg(long, help_heading = "What steps see", value_name = "NAME=PLACE")]
    pub build_context: Vec<String>,
    /// Allow steps what they ask for: network.host, security.insecure
    #[arg(long, help_heading = "What steps see", value_delimiter = ',', value_name = "RIGHT")]
    pub allow: Vec<String>,
    /// Network of the steps: default, none, host or a name
    #[arg(long, help_heading = "What steps see")]
    pub network: Option<String>,
    /// One more line of the steps' hosts file: NAME:ADDRESS
    #[arg(long, help_heading = "What steps see", value_name = "HOST")]
    pub add_host: Vec<String>,

    /// Limit of a kind: NAME=SOFT[:HARD]
    #[arg(long, help_heading = "Limits of a step", value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, help_heading = "Limits of a step", value_parser = parse_size, value_name = "BYTES")]
    pub shm_size: Option<i64>,
    /// The cgroup that the steps' are made in
    #[arg(long, help_heading = "Limits of a step", value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,
    /// Memory
    #[arg(short, long, help_heading = "Limits of a step", value_parser = parse_size, value_name = "BYTES")]
    pub memory: Option<i64>,
    /// Memory and swap together; -1 for no limit on swap
    #[arg(long, help_heading = "Limits of a step", value_parser = swap, allow_negative_numbers = true, value_name = "BYTES")]
    pub memory_swap: Option<i64>,
    /// Share of the processors against others' 1024
    #[arg(short, long, help_heading = "Limits of a step", value_name = "SHARES")]
    pub cpu_shares: Option<i64>,
    /// Period of the processor quota, in microseconds
    #[arg(long, help_heading = "Limits of a step", value_name = "MICROSECONDS")]
    pub cpu_period: Option<i64>,
    /// Processor time in each period, in microseconds
    #[arg(long, help_heading = "Limits of a step", value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,
    /// Which processors, like 0-2,4
    #[arg(long, help_heading = "Limits of a step", value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes, like 0
    #[arg(long, help_heading = "Limits of a step", value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Nothing to do: no step's container stays
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub rm: Option<bool>,
    /// Nothing to do: no step's container stays
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub force_rm: Option<bool>,

    /// Nothing to do: what is sent over a socket needs no compression
    #[arg(long, hide = true)]
    pub compress: bool,
    /// Nothing to do: no notary is asked
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_content_trust: Option<bool>,
    /// Which builder: only the host's own
    #[arg(long, hide = true)]
    pub builder: Option<String>,
    /// How steps are kept apart: only as ever
    #[arg(long, hide = true)]
    pub isolation: Option<String>,
    /// Refused: steps ask for their rights themselves
    #[arg(long, hide = true)]
    pub security_opt: Vec<String>,
    /// Refused: all there is to tell is told
    #[arg(short = 'D', long, hide = true)]
    pub debug: bool,
    /// Refused: nobody asks a policy
    #[arg(long, hide = true)]
    pub policy: Vec<String>,

    /// A folder, the URL of a git repository, a tar or a Dockerfile, or - for a tar or a Dockerfile on standard input
    #[arg(value_name = "PATH|URL|-")]
    pub path: String,
}

fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_size(text) }
}

impl Build {
    /// Refuses what nobody carries out, by name.
    ///
    /// # Errors
    /// The first refused flag, and what to do instead.
    pub fn refuse_unsupported(&self) -> anyhow::Result<()> {
        if self.squash {
            anyhow::bail!(
                "--squash is not supported: put what shall be one layer into one RUN, or COPY --from a stage into a FROM scratch"
            );
        }
        if self.rm == Some(false) {
            anyhow::bail!("--rm=false is not supported: a step's container never outlives its step");
        }
        self.refuse_other_builders()?;
        self.refuse_attestations()?;
        let rights = ["network.host", "security.insecure"];
        if let Some(right) = self.allow.iter().find(|right| !rights.contains(&right.as_str())) {
            anyhow::bail!("--allow {right} is not supported: {} can be allowed", rights.join(" and "));
        }
        if let [first, _, ..] = self.platform.as_slice() {
            anyhow::bail!(
                "--platform {}: one platform at a time; build each with a --platform of its own, like --platform {first}",
                self.platform.join(",")
            );
        }
        Ok(())
    }

    /// What docker's other builders have: this is the one, and its steps are kept apart in one way.
    fn refuse_other_builders(&self) -> anyhow::Result<()> {
        if let Some(builder) = self.builder.as_deref().filter(|name| !matches!(*name, "" | "default" | "boxyard")) {
            anyhow::bail!(
                "--builder {builder} is not supported: a host builds with its own engine; name the host with -H or --context"
            );
        }
        if let Some(isolation) = self.isolation.as_deref().filter(|name| !matches!(*name, "" | "default")) {
            anyhow::bail!(
                "--isolation {isolation} is not supported: steps are kept apart by namespaces, which is the default"
            );
        }
        if let Some(option) = self.security_opt.first() {
            anyhow::bail!(
                "--security-opt {option} is not supported: a step that needs all rights says RUN --security=insecure, and --allow security.insecure grants it"
            );
        }
        if self.disable_content_trust == Some(false) {
            anyhow::bail!(
                "--disable-content-trust=false is not supported: no signatures are asked for; name images by digest"
            );
        }
        if self.debug {
            anyhow::bail!(
                "--debug is not supported: --progress=plain tells all there is, --progress=rawjson all of it as data"
            );
        }
        if let Some(policy) = self.policy.first() {
            anyhow::bail!("--policy {policy} is not supported: no policy is asked; leave it out");
        }
        Ok(())
    }

    fn refuse_attestations(&self) -> anyhow::Result<()> {
        let wants = |value: &Option<String>| value.as_deref().is_some_and(|value| !is_false(value));
        if wants(&self.sbom) {
            anyhow::bail!(
                "--sbom is not supported: no software bill of materials is made; leave it out or say --sbom=false"
            );
        }
        if wants(&self.provenance) {
            anyhow::bail!(
                "--provenance is not supported: no attestation is made; leave it out or say --provenance=false"
            );
        }
        if let Some(attest) = self.attest.iter().find(|attest| !attest.split(',').any(|it| it == "disabled=true")) {
            anyhow::bail!("--attest {attest} is not supported: no attestation is made; leave it out");
        }
        Ok(())
    }

    /// Refuses what does not go with where the result goes.
    ///
    /// # Errors
    /// The flag, and what it needs.
    pub fn refuse_without_place(&self, outputs: &Outputs) -> anyhow::Result<()> {
        if !self.annotation.is_empty() && !outputs.has_manifest() {
            anyhow::bail!("--annotation needs a manifest to stand in: --push, or --output type=oci,dest=FILE");
        }
        if self.tag.is_empty() && outputs.pushes_without_name() {
            anyhow::bail!(
                "tag is needed when pushing to registry: add --tag REGISTRY/NAME, or name=REGISTRY/NAME to --output"
            );
        }
        if self.iidfile.is_some() && !outputs.has_image_id() {
            anyhow::bail!("--iidfile: no image comes of this --output; add --load, or leave it out");
        }
        Ok(())
    }

    /// The first flag given that no classic builder knows.
    pub fn needs_our_engine(&self) -> Option<&'static str> {
        let flags = [
            ("--annotation", !self.annotation.is_empty()),
            ("--no-cache-filter", !self.no_cache_filter.is_empty()),
            ("--cache-to", !self.cache_to.is_empty()),
            ("--explain", self.explain),
            ("--output", !self.output.is_empty()),
            ("--push", self.push),
            ("--metadata-file", self.metadata_file.is_some()),
            ("--iidfile", self.iidfile.is_some()),
            ("--secret", !self.secret.is_empty()),
            ("--ssh", !self.ssh.is_empty()),
            ("--build-context", !self.build_context.is_empty()),
            ("--allow", !self.allow.is_empty()),
            ("--progress", matches!(self.progress, ProgressMode::Rawjson | ProgressMode::Tty)),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

fn is_false(value: &str) -> bool {
    matches!(value, "false" | "0" | "f" | "F" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        build: Build,
    }

    fn flags(line: &str) -> Build {
        Line::try_parse_from(["build"].into_iter().chain(line.split_whitespace())).unwrap().build
    }

    #[test]
    fn switches_can_be_told_off_as_gos_can() {
        assert!(flags("--pull .").pull);
        assert!(!flags("--pull=false .").pull);
        assert!(flags("--load=true .").load);
        assert_eq!(flags("-c 512 --memory-swap -1 -m 64m .").memory_swap, Some(-1));
    }

    #[test]
    fn what_nobody_does_is_refused_by_name() {
        let refused = |line: &str| flags(line).refuse_unsupported().map_err(|error| error.to_string());
        for (line, name) in [
            ("--squash .", "--squash"),
            ("--sbom true .", "--sbom"),
            ("--provenance=mode=max .", "--provenance"),
            ("--attest type=sbom .", "--attest type=sbom"),
            ("--platform linux/amd64,linux/arm64 .", "--platform linux/amd64,linux/arm64"),
            ("--rm=false .", "--rm=false"),
            ("--allow device .", "--allow device"),
            ("--builder remote .", "--builder remote is not supported: a host builds with its own engine"),
            ("--isolation hyperv .", "--isolation hyperv"),
            ("--security-opt seccomp=unconfined .", "--security-opt seccomp=unconfined"),
            ("--disable-content-trust=false .", "--disable-content-trust=false"),
            ("-D .", "--debug"),
            ("--policy x .", "--policy x"),
        ] {
            assert!(refused(line).unwrap_err().starts_with(name), "{line}");
        }
        let fine = "--builder default --isolation default --compress --disable-content-trust --print build --progress=none \
            --sbom=false --provenance=false --attest type=provenance,disabled=true --rm --force-rm .";
        assert_eq!(refused(fine), Ok(()));
    }
}
