//! What a client asks of a build.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bollard_stubs::models as docker;
use tokio::io::AsyncRead;

use super::output::OutputRequest;

/// Where the build's files come from.
pub enum BuildContext {
    /// A tar stream, plain or compressed by gzip, bzip2 or xz.
    Tar(Box<dyn AsyncRead + Send + Unpin>),
    /// The API's `remote`: the URL of a Dockerfile, a tar or a git repository.
    Remote(String),
    /// A folder of the client, by the name its session knows.
    Client(String),
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildContext::Tar(_) => f.write_str("Tar"),
            BuildContext::Remote(url) => f.debug_tuple("Remote").field(url).finish(),
            BuildContext::Client(name) => f.debug_tuple("Client").field(name).finish(),
        }
    }
}

/// One build, as the query of `POST /build` describes it.
#[derive(Debug)]
pub struct BuildRequest {
    /// The files.
    pub context: BuildContext,
    /// The Dockerfile's path inside the context (`dockerfile`).
    pub dockerfile: String,
    /// What its caller calls the Dockerfile, where that is not its path in the context (`dockerfilename`, Boxyard's own).
    pub called: Option<String>,
    /// The Dockerfile itself, where the context is not to be asked for it (`dockerfilefrom=body`, Boxyard's own).
    pub text: Option<String>,
    /// Names for the result (`t`), each `name[:tag]`.
    pub tags: Vec<String>,
    /// The stage to build (`target`), by name or number; the last where `None`.
    pub target: Option<String>,
    /// `buildargs`: a name without a value takes none from anywhere and counts as not given.
    pub build_args: BTreeMap<String, Option<String>>,
    /// `labels` to add to the result.
    pub labels: BTreeMap<String, String>,
    /// Run every step even where the cache has it (`nocache`).
    pub no_cache: bool,
    /// Run every step of these stages, by name or number, even where the cache has it (`nocachefilter`, Boxyard's own).
    pub no_cache_filter: Vec<String>,
    /// Caches to take from too (`cachefrom`): images, or `type=registry|local,…`.
    pub cache_from: Vec<String>,
    /// Where this build's cache is to go (`cacheto`, Boxyard's own): `type=inline|registry|local,…`.
    pub cache_to: Vec<String>,
    /// Pull base images even where they are present (`pull`).
    pub pull: bool,
    /// Answer with the image's ID only (`q`).
    pub quiet: bool,
    /// `platform`, as `os/arch`.
    pub platform: Option<String>,
    /// What RUN steps get: `networkmode`, `memory`, `cpu…`, `shmsize`, `ulimits`, `cgroupparent`, `extrahosts`.
    pub run: docker::HostConfig,
    /// What RUN may ask for beyond a sandbox (`allow`): `network.host`, `security.insecure`.
    pub allow: Vec<String>,
    /// What becomes of the result (`outputs`): an image where nothing is said.
    pub outputs: Vec<OutputRequest>,
    /// Annotations of the manifests in archives and registries (`annotations`).
    pub annotations: BTreeMap<String, String>,
    /// Named contexts (`contexts`): what a name in FROM, `COPY --from` or `RUN --mount from=` stands for, before any stage or
    /// image: `docker-image://NAME`, a git repository, a URL, `local:FOLDER` or `oci-layout://FOLDER[:TAG|@DIGEST]` of the
    /// client's session.
    pub contexts: BTreeMap<String, String>,
    /// The client's session (`session`), through which secrets and the like are asked for.
    pub session: Option<String>,
    /// Credentials for base images by registry host (the `X-Registry-Config` header).
    pub auth: HashMap<String, docker::AuthConfig>,
}

/// The Dockerfile's usual name.
const USUAL: &str = "Dockerfile";

/// Whether the name was made up by docker's client, which calls a Dockerfile from standard input or outside the context
/// `.dockerfile.` and 20 random digits.
fn is_made_up(name: &str) -> bool {
    let digits = name.strip_prefix(".dockerfile.").unwrap_or_default();
    digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl BuildRequest {
    /// The Dockerfile's name for people: never one that they have not seen before.
    pub(super) fn dockerfile_name(&self) -> String {
        let name = match &self.called {
            Some(called) => called,
            None if is_made_up(&self.dockerfile) => USUAL,
            None => &self.dockerfile,
        };
        // It is shown on terminals.
        name.chars().filter(|character| !character.is_control()).collect()
    }

    /// A build of the `Dockerfile` in `context` with everything at its default.
    pub fn new(context: BuildContext) -> Self {
        Self {
            context,
            dockerfile: USUAL.to_owned(),
            called: None,
            text: None,
            tags: Vec::new(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            no_cache_filter: Vec::new(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            pull: false,
            quiet: false,
            platform: None,
            run: docker::HostConfig::default(),
            allow: Vec::new(),
            outputs: Vec::new(),
            annotations: BTreeMap::new(),
            contexts: BTreeMap::new(),
            session: None,
            auth: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_is_called_as_its_caller_calls_it() {
        let name = |dockerfile: &str, called: Option<&str>| {
            let request = BuildRequest::new(BuildContext::Client(String::new()));
            let (dockerfile, called) = (dockerfile.to_owned(), called.map(str::to_owned));
            BuildRequest { dockerfile, called, ..request }.dockerfile_name()
        };
        assert_eq!(name("deploy/Dockerfile", None), "deploy/Dockerfile");
        assert_eq!(name(".dockerfile.0123456789abcdef0123", None), "Dockerfile");
        assert_eq!(name(".dockerfile.0123456789abcdef0123", Some("../a/D")), "../a/D");
        assert_eq!(name(".dockerfile.mine", None), ".dockerfile.mine");
        assert_eq!(name("D", Some("a\u{1b}[2Jb")), "a[2Jb");
    }
}
