//! The build session: how an engine asks the client of a build for what only the client has.
//!
//! `POST /session` with `Upgrade: boxyard-session` and an id in [`ID_HEADER`] turns into a yamux connection; `session=ID`
//! in the query of `POST /build` names it. For each want the engine opens a stream ([`Opener`]) and sends an [`Ask`]; the
//! client ([`accept`]) sends an [`Answer`], and where that is [`Answer::Ok`] both go on as a [`Channel`]: bytes both ways,
//! each direction with an end, or a failure, that cannot be taken for one another. Neither side keeps anything on disk.

mod channel;
mod mux;

use std::io;

pub use channel::Channel;
pub use mux::{Opener, Wire, accept, connect};
use serde::{Deserialize, Serialize};

/// What the connection is upgraded to.
pub const PROTOCOL: &str = "boxyard-session";
/// The header that names the session; whoever knows the name may use it, so it must not be guessable.
pub const ID_HEADER: &str = "x-boxyard-session-id";

/// What the engine wants, on a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "kebab-case")]
pub enum Ask {
    /// The content of a secret: the client sends it and ends.
    Secret {
        /// As `--secret id=` has it.
        id: String,
    },
    /// A conversation with an ssh agent, one for each connection to the socket in the sandbox.
    Ssh {
        /// As `--ssh` has it.
        id: String,
    },
    /// Files: the client sends them as a tar and ends.
    Context {
        /// Which of the client's contexts.
        name: String,
    },
    /// What the build made: the engine sends it and ends; the client ends its own direction once it has stored it.
    Output {
        /// Which of the client's outputs.
        name: String,
    },
}

impl Ask {
    /// What is wanted, for messages: `secret "token"`.
    pub fn what(&self) -> String {
        match self {
            Ask::Secret { id } => format!("secret {id:?}"),
            Ask::Ssh { id } => format!("ssh agent {id:?}"),
            Ask::Context { name } => format!("build context {name:?}"),
            Ask::Output { name } => format!("output {name:?}"),
        }
    }
}

/// The first thing the client says on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// What was asked for follows.
    Ok,
    /// Nothing has that name; for what is optional that is no error.
    Unknown,
    /// It has the name, but it can't be had.
    Refused {
        /// Why.
        why: String,
    },
}

impl Channel {
    /// Sends an [`Ask`] or [`Answer`], which stands before all else.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn say<T: Serialize + Sync>(&mut self, message: &T) -> io::Result<()> {
        self.send_message(&serde_json::to_vec(message)?).await
    }

    /// Receives what the other side has [said](Channel::say).
    ///
    /// # Errors
    /// The connection broke, or it is no such message.
    pub async fn hear<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<T> {
        Ok(serde_json::from_slice(&self.receive_message().await?)?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// An opener whose streams are served by `serve`.
    fn pair<F, S>(serve: S) -> Opener
    where
        S: Fn(Channel) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (near, far) = duplex(16 << 10);
        let (opener, driver) = connect(near);
        tokio::spawn(driver);
        tokio::spawn(accept(far, move |channel| drop(tokio::spawn(serve(channel)))));
        opener
    }

    #[test]
    fn what_goes_over_the_wire() {
        let json = |ask: &Ask| serde_json::to_string(ask).unwrap();
        assert_eq!(json(&Ask::Secret { id: "npm".into() }), r#"{"want":"secret","id":"npm"}"#);
        assert_eq!(json(&Ask::Output { name: "0".into() }), r#"{"want":"output","name":"0"}"#);
        let refused = serde_json::to_string(&Answer::Refused { why: "no".into() }).unwrap();
        assert_eq!(refused, r#"{"answer":"refused","why":"no"}"#);
    }

    #[tokio::test]
    async fn every_want_has_a_stream_of_its_own() {
        let opener = pair(|mut channel| async move {
            let ask: Ask = channel.hear().await.unwrap();
            channel.say(&Answer::Ok).await.unwrap();
            channel.write_all(ask.what().as_bytes()).await.unwrap();
            channel.shutdown().await.unwrap();
        });
        let ask = |id: usize| {
            let opener = opener.clone();
            async move {
                let mut channel = opener.open().await.unwrap();
                channel.say(&Ask::Secret { id: id.to_string() }).await.unwrap();
                assert_eq!(channel.hear::<Answer>().await.unwrap(), Answer::Ok);
                let mut text = String::new();
                channel.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, format!("secret \"{id}\""));
            }
        };
        futures_util::future::join_all((0..40).map(ask)).await;
    }

    #[tokio::test]
    async fn much_data_waits_for_its_reader_and_comes_whole() {
        const SIZE: usize = 8 << 20;
        let (progress, mut written) = tokio::sync::watch::channel(0);
        let opener = pair(move |mut channel| {
            let progress = progress.clone();
            async move {
                let piece: Vec<u8> = (0..64 << 10).map(|at: u32| at.to_le_bytes()[1]).collect();
                for _ in 0..SIZE / piece.len() {
                    channel.write_all(&piece).await.unwrap();
                    progress.send_modify(|all| *all += piece.len());
                }
                channel.shutdown().await.unwrap();
            }
        });
        let mut slow = opener.open().await.unwrap();
        slow.say(&Ask::Context { name: "big".into() }).await.unwrap();
        let mut first = vec![0; 1 << 10];
        slow.read_exact(&mut first).await.unwrap();
        // Another stream goes its way while the first one stands.
        let mut other = opener.open().await.unwrap();
        other.say(&Ask::Context { name: "too".into() }).await.unwrap();
        let mut all = Vec::new();
        other.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), SIZE);
        assert!(*written.borrow_and_update() < 2 * SIZE, "the slow one should have been held up");
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len() + first.len(), SIZE);
    }

    #[tokio::test]
    async fn an_end_a_failure_and_a_break_are_three_things() {
        let opener = pair(|mut channel| async move {
            let ask: Ask = channel.hear().await.unwrap();
            channel.write_all(b"part").await.unwrap();
            match ask {
                Ask::Secret { .. } => channel.shutdown().await.unwrap(),
                Ask::Ssh { .. } => channel.fail("the disk is gone").await.unwrap(),
                _ => drop(channel),
            }
        });
        let read = |ask: Ask| {
            let opener = opener.clone();
            async move {
                let mut channel = opener.open().await.unwrap();
                channel.say(&ask).await.unwrap();
                let mut text = String::new();
                let result = channel.read_to_string(&mut text).await;
                result.map(|_| text).map_err(|error| error.to_string())
            }
        };
        assert_eq!(read(Ask::Secret { id: String::new() }).await, Ok("part".to_owned()));
        assert_eq!(read(Ask::Ssh { id: String::new() }).await, Err("the disk is gone".to_owned()));
        let broken = read(Ask::Output { name: String::new() }).await.unwrap_err();
        assert_eq!(broken, "the build session broke off");
    }

    #[tokio::test]
    async fn a_lost_connection_ends_everything() {
        let (near, far) = duplex(1 << 10);
        let (opener, driver) = connect(near);
        let driver = tokio::spawn(driver);
        let (sender, mut streams) = tokio::sync::mpsc::unbounded_channel();
        let accepting = tokio::spawn(accept(far, move |channel| drop(sender.send(channel))));
        let mut channel = opener.open().await.unwrap();
        channel.say(&Ask::Ssh { id: "default".into() }).await.unwrap();
        let _theirs = streams.recv().await.unwrap();
        accepting.abort();
        driver.await.unwrap();
        assert!(channel.hear::<Answer>().await.is_err());
        assert!(opener.open().await.is_err());
    }
}
