//! The client's end of a build session: what an engine may ask for while it builds, and the connection it asks over.
//!
//! [`Docker::build_session`] opens it beside the build; dropping the [`BuildSession`] closes it. Secrets are read when
//! they are asked for and go nowhere but into the connection. What is not in [`Providers`] can't be had.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::docker::{Call, Docker};
use super::errors::Error;
use super::ssh::{Key, converse};
use crate::buildkit::session::{Answer, Ask, Channel, ID_HEADER, PROTOCOL, accept};

/// Where a secret comes from. It is read anew each time it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file's content.
    File(PathBuf),
    /// A variable of our environment.
    Env(String),
}

/// Who signs for `RUN --mount=type=ssh`.
#[derive(Debug)]
pub enum Agent {
    /// An agent that runs: its socket.
    Socket(PathBuf),
    /// We ourselves, with these keys.
    Keys(Vec<Key>),
}

/// A way to serve a context or an output.
pub trait Provide: Send + Sync {
    /// Carries out `ask`, which was answered with [`Answer::Ok`] already; an error is told to the engine in its words.
    fn serve<'a>(&'a self, ask: &'a Ask, channel: &'a mut Channel) -> Serving<'a>;
}

/// The future of [`Provide::serve`].
pub type Serving<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// All that an engine may ask for, by name.
#[derive(Default)]
pub struct Providers {
    /// Secrets by id.
    pub secrets: HashMap<String, SecretSource>,
    /// Ssh agents by id.
    pub agents: HashMap<String, Agent>,
    /// Contexts by name.
    pub contexts: HashMap<String, Box<dyn Provide>>,
    /// Outputs by name.
    pub outputs: HashMap<String, Box<dyn Provide>>,
}

impl Providers {
    /// Whether there is nothing to ask for, so that no session is needed.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.agents.is_empty() && self.contexts.is_empty() && self.outputs.is_empty()
    }

    async fn serve(&self, mut channel: Channel) -> io::Result<()> {
        let ask: Ask = channel.hear().await?;
        match &ask {
            Ask::Secret { id } => match self.secrets.get(id) {
                Some(source) => send_secret(source, channel).await,
                None => channel.say(&Answer::Unknown).await,
            },
            Ask::Ssh { id } => match self.agents.get(id) {
                Some(Agent::Socket(path)) => forward_agent(path, channel).await,
                Some(Agent::Keys(keys)) => be_agent(keys, channel).await,
                None => channel.say(&Answer::Unknown).await,
            },
            Ask::Context { name } => provide(self.contexts.get(name).map(Box::as_ref), &ask, channel).await,
            Ask::Output { name } => provide(self.outputs.get(name).map(Box::as_ref), &ask, channel).await,
        }
    }
}

async fn provide(provider: Option<&dyn Provide>, ask: &Ask, mut channel: Channel) -> io::Result<()> {
    let Some(provider) = provider else { return channel.say(&Answer::Unknown).await };
    channel.say(&Answer::Ok).await?;
    match provider.serve(ask, &mut channel).await {
        Ok(()) => channel.shutdown().await,
        Err(error) => channel.fail(&error.to_string()).await,
    }
}

async fn send_secret(source: &SecretSource, mut channel: Channel) -> io::Result<()> {
    let content = match source {
        SecretSource::File(path) => tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display())),
        SecretSource::Env(name) => match std::env::var_os(name) {
            Some(value) => Ok(value.into_vec()),
            None => Err(format!("the variable {name} is not set")),
        },
    };
    match content {
        Ok(content) => {
            channel.say(&Answer::Ok).await?;
            channel.write_all(&content).await?;
            channel.shutdown().await
        }
        Err(why) => channel.say(&Answer::Refused { why }).await,
    }
}

/// Carries one conversation with the agent at `path`.
async fn forward_agent(path: &Path, mut channel: Channel) -> io::Result<()> {
    let mut agent = match UnixStream::connect(path).await {
        Ok(agent) => agent,
        Err(error) => {
            let why = format!("ssh agent at {}: {error}", path.display());
            return channel.say(&Answer::Refused { why }).await;
        }
    };
    channel.say(&Answer::Ok).await?;
    tokio::io::copy_bidirectional(&mut channel, &mut agent).await.map(drop)
}

/// Holds a conversation with whoever wants signatures by these keys.
async fn be_agent(keys: &[Key], mut channel: Channel) -> io::Result<()> {
    channel.say(&Answer::Ok).await?;
    converse(keys, &mut channel).await?;
    channel.shutdown().await
}

/// An open session; closed when it is dropped.
#[derive(Debug)]
pub struct BuildSession {
    id: String,
    _serving: AbortOnDropHandle<()>,
}

impl BuildSession {
    /// What names it in the build's request (`session`).
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Docker {
    /// Opens a session that answers an engine's questions from `providers`.
    ///
    /// # Errors
    /// The host is no Boxyard engine (status 404, or another that says so), or can't be reached.
    pub async fn build_session(&self, providers: Providers) -> Result<BuildSession, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let id = hex::encode(random);
        let call = Call::post("/session").header(ID_HEADER, id.clone());
        let (io, _) = self.upgrade_to(PROTOCOL, call).await?;
        let providers = Arc::new(providers);
        let serving = tokio::spawn(accept(io, move |channel| {
            let providers = Arc::clone(&providers);
            // Ends with its stream, at the latest when the connection is dropped.
            tokio::spawn(async move {
                if let Err(error) = providers.serve(channel).await {
                    tracing::debug!(%error, "a build session's stream");
                }
            });
        }));
        Ok(BuildSession { id, _serving: AbortOnDropHandle::new(serving) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::net::UnixListener;

    use super::*;
    use crate::buildkit::session::{Opener, connect};

    struct Echo;

    impl Provide for Echo {
        fn serve<'a>(&'a self, ask: &'a Ask, channel: &'a mut Channel) -> Serving<'a> {
            Box::pin(async move {
                let mut told = String::new();
                channel.read_to_string(&mut told).await?;
                if told == "trouble" {
                    return Err(io::Error::other("no space left"));
                }
                channel.write_all(format!("{}: {told}", ask.what()).as_bytes()).await
            })
        }
    }

    fn asking(providers: Providers) -> Opener {
        let (near, far) = duplex(16 << 10);
        let (opener, driver) = connect(near);
        tokio::spawn(driver);
        let providers = Arc::new(providers);
        tokio::spawn(accept(far, move |channel| {
            let providers = Arc::clone(&providers);
            tokio::spawn(async move { providers.serve(channel).await });
        }));
        opener
    }

    /// Says `told` and gives the answer, and what came after it.
    async fn ask(opener: &Opener, ask: Ask, told: &str) -> (Answer, Result<String, String>) {
        let mut channel = opener.open().await.unwrap();
        channel.say(&ask).await.unwrap();
        let answer = channel.hear().await.unwrap();
        if answer != Answer::Ok {
            return (answer, Ok(String::new()));
        }
        channel.write_all(told.as_bytes()).await.unwrap();
        channel.shutdown().await.unwrap();
        let mut text = String::new();
        let read = channel.read_to_string(&mut text).await;
        (answer, read.map(|_| text).map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn secrets_are_read_when_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let secrets = HashMap::from([
            ("file".to_owned(), SecretSource::File(file.clone())),
            ("home".to_owned(), SecretSource::Env("BOXYARD_TEST_THAT_NOBODY_SETS".to_owned())),
        ]);
        let opener = asking(Providers { secrets, ..Providers::default() });
        let secret = |id: &str| ask(&opener, Ask::Secret { id: id.to_owned() }, "");
        let why = format!("{}: No such file or directory (os error 2)", file.display());
        assert_eq!(secret("file").await.0, Answer::Refused { why });
        std::fs::write(&file, "hush").unwrap();
        assert_eq!(secret("file").await, (Answer::Ok, Ok("hush".to_owned())));
        let why = "the variable BOXYARD_TEST_THAT_NOBODY_SETS is not set".to_owned();
        assert_eq!(secret("home").await.0, Answer::Refused { why });
        assert_eq!(secret("other").await.0, Answer::Unknown);
    }

    #[tokio::test]
    async fn an_agent_is_talked_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut conversation, _) = listener.accept().await.unwrap();
            let mut told = String::new();
            conversation.read_to_string(&mut told).await.unwrap();
            conversation.write_all(format!("signed {told}").as_bytes()).await.unwrap();
        });
        let agents = [("default", path), ("gone", folder.path().join("none"))];
        let mut agents: HashMap<_, _> = agents.map(|(id, path)| (id.to_owned(), Agent::Socket(path))).into();
        agents.insert("keys".to_owned(), Agent::Keys(Vec::new()));
        let opener = asking(Providers { agents, ..Providers::default() });
        let agent = |id: &str| ask(&opener, Ask::Ssh { id: id.to_owned() }, "this");
        assert_eq!(agent("default").await, (Answer::Ok, Ok("signed this".to_owned())));
        assert!(matches!(agent("gone").await.0, Answer::Refused { why } if why.contains("No such file")));
        assert_eq!(agent("other").await.0, Answer::Unknown);
        let which = ask(&opener, Ask::Ssh { id: "keys".to_owned() }, "\0\0\0\x01\x0b").await;
        assert_eq!(which, (Answer::Ok, Ok("\0\0\0\x05\x0c\0\0\0\0".to_owned())), "there is no key");
    }

    #[tokio::test]
    async fn contexts_and_outputs_are_served_by_name() {
        let contexts: HashMap<String, Box<dyn Provide>> = HashMap::from([("src".to_owned(), Box::new(Echo) as _)]);
        let opener = asking(Providers { contexts, ..Providers::default() });
        let context = |name: &str| Ask::Context { name: name.to_owned() };
        let heard = ask(&opener, context("src"), "all").await;
        assert_eq!(heard, (Answer::Ok, Ok("build context \"src\": all".to_owned())));
        assert_eq!(ask(&opener, context("src"), "trouble").await, (Answer::Ok, Err("no space left".to_owned())));
        assert_eq!(ask(&opener, Ask::Output { name: "src".to_owned() }, "").await.0, Answer::Unknown);
    }
}
