//! The clients' sessions: what a build can ask its client for.
//!
//! A client opens its session beside the build (`POST /session`) and names it in the request; which of the two comes first
//! is anybody's guess, so whoever wants something waits a little. A session is gone with its connection. What comes
//! through it stays in memory.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::buildkit::session::{Answer, Ask, Channel, Opener, Wire, connect};
use crate::engine::{EngineError, ErrorKind};

/// How long a build waits for a session that it was promised.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long a client may think before it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// A secret longer than this is none: BuildKit's limit.
const MAX_SECRET: u64 = 500 << 10;

/// The sessions that are open now. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    open: Arc<watch::Sender<HashMap<String, Session>>>,
}

/// A client that can be asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    opener: Opener,
}

impl Sessions {
    /// Takes a client's connection as the session `id`; the future carries it and ends with it.
    ///
    /// # Errors
    /// `Conflict` where that id is taken.
    pub fn serve(&self, id: &str, io: impl Wire) -> Result<impl Future<Output = ()> + Send + 'static, EngineError> {
        let (opener, driver) = connect(io);
        let is_new = self.open.send_if_modified(|open| {
            let is_new = !open.contains_key(id);
            if is_new {
                open.insert(id.to_owned(), Session { opener });
            }
            is_new
        });
        if !is_new {
            return Err(EngineError::new(ErrorKind::Conflict, format!("the build session {id:?} is open already")));
        }
        let registered = Registered { sessions: self.clone(), id: id.to_owned() };
        Ok(async move {
            let _registered = registered;
            driver.await;
        })
    }

    /// The session `id`, waited for up to ten seconds.
    ///
    /// # Errors
    /// `NotFound` where it never came.
    pub async fn session(&self, id: &str) -> Result<Session, EngineError> {
        self.session_within(id, ARRIVAL).await
    }

    async fn session_within(&self, id: &str, patience: Duration) -> Result<Session, EngineError> {
        let mut open = self.open.subscribe();
        let found = tokio::time::timeout(patience, open.wait_for(|open| open.contains_key(id))).await;
        let session = found.ok().and_then(Result::ok).and_then(|open| open.get(id).cloned());
        session.ok_or_else(|| {
            EngineError::new(
                ErrorKind::NotFound,
                format!("the build's client did not open its session within {patience:?}; is it `boxyard build`?"),
            )
        })
    }
}

/// Takes a session off the list when its connection ends.
struct Registered {
    sessions: Sessions,
    id: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.open.send_modify(|open| drop(open.remove(&self.id)));
    }
}

impl Session {
    /// Asks for something: its stream, or `None` where the client has nothing of that name.
    ///
    /// # Errors
    /// The client refused, is gone, or does not answer.
    pub async fn find(&self, ask: &Ask) -> Result<Option<Channel>, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("ask the client for {}: {error}", ask.what()));
        let answered = tokio::time::timeout(PATIENCE, async {
            let mut channel = self.opener.open().await?;
            channel.say(ask).await?;
            let answer: Answer = channel.hear().await?;
            Ok((channel, answer))
        });
        let (channel, answer) = answered
            .await
            .map_err(|_| EngineError::system(format!("the client did not answer when asked for {}", ask.what())))?
            .map_err(failed)?;
        match answer {
            Answer::Ok => Ok(Some(channel)),
            Answer::Unknown => Ok(None),
            Answer::Refused { why } => {
                Err(EngineError::invalid(format!("the client can't give {}: {why}", ask.what())))
            }
        }
    }

    /// As [`Session::find`], for what has to be there.
    ///
    /// # Errors
    /// As there, and `NotFound` where the client has nothing of that name.
    pub async fn open(&self, ask: &Ask) -> Result<Channel, EngineError> {
        let missing = || EngineError::new(ErrorKind::NotFound, format!("the client has no {}", ask.what()));
        self.find(ask).await?.ok_or_else(missing)
    }

    /// The content of a secret, at most 500 KiB; `None` where the client has none of that name.
    ///
    /// # Errors
    /// As [`Session::find`]; a secret that is too long.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let ask = Ask::Secret { id: id.to_owned() };
        let Some(channel) = self.find(&ask).await? else { return Ok(None) };
        let mut content = Vec::new();
        let read = tokio::time::timeout(PATIENCE, channel.take(MAX_SECRET + 1).read_to_end(&mut content)).await;
        match read {
            Ok(Ok(_)) if content.len() as u64 <= MAX_SECRET => Ok(Some(content)),
            Ok(Ok(_)) => Err(EngineError::invalid(format!(
                "secret {id:?} is longer than {MAX_SECRET} bytes, the most there may be"
            ))),
            Ok(Err(error)) => Err(EngineError::system(format!("receive secret {id:?}: {error}"))),
            Err(_) => Err(EngineError::system(format!("receive secret {id:?}: the client stopped sending"))),
        }
    }

    /// A conversation with an ssh agent; `None` where the client forwards none of that name.
    ///
    /// # Errors
    /// As [`Session::find`].
    pub async fn ssh(&self, id: &str) -> Result<Option<Channel>, EngineError> {
        self.find(&Ask::Ssh { id: id.to_owned() }).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::buildkit::session::accept;

    /// A client with one secret of `size` bytes called `known`, one called `shut`, and one that breaks off.
    fn client(sessions: &Sessions, id: &str, size: usize) -> tokio::task::JoinHandle<()> {
        let (near, far) = duplex(64 << 10);
        tokio::spawn(sessions.serve(id, near).unwrap());
        tokio::spawn(accept(far, move |channel| drop(tokio::spawn(answer(channel, size)))))
    }

    async fn answer(mut channel: Channel, size: usize) {
        let Ok(Ask::Secret { id }) = channel.hear().await else { return };
        match id.as_str() {
            "known" => {
                channel.say(&Answer::Ok).await.unwrap();
                let _ = channel.write_all(&vec![b's'; size]).await;
                let _ = channel.shutdown().await;
            }
            "shut" => channel.say(&Answer::Refused { why: "permission denied".into() }).await.unwrap(),
            "broken" => channel.say(&Answer::Ok).await.unwrap(),
            _ => channel.say(&Answer::Unknown).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn a_client_gives_refuses_or_does_not_know() {
        let sessions = Sessions::default();
        let _client = client(&sessions, "one", 5);
        let session = sessions.session("one").await.unwrap();
        assert_eq!(session.secret("known").await.unwrap().unwrap(), b"sssss");
        assert_eq!(session.secret("other").await.unwrap(), None);
        let refused = session.secret("shut").await.unwrap_err();
        assert_eq!(refused.message(), "the client can't give secret \"shut\": permission denied");
        let broken = session.secret("broken").await.unwrap_err();
        assert_eq!(broken.message(), "receive secret \"broken\": the build session broke off");
        let missing = session.open(&Ask::Secret { id: "other".into() }).await.unwrap_err();
        assert_eq!(missing.message(), "the client has no secret \"other\"");
    }

    #[tokio::test]
    async fn a_secret_has_a_most() {
        let sessions = Sessions::default();
        let _client = client(&sessions, "one", 600 << 10);
        let error = sessions.session("one").await.unwrap().secret("known").await.unwrap_err();
        assert_eq!(error.message(), "secret \"known\" is longer than 512000 bytes, the most there may be");
    }

    #[tokio::test]
    async fn a_session_that_never_comes_is_not_waited_for_for_ever() {
        let error = Sessions::default().session_within("nobody", Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("did not open its session within 20ms"), "{}", error.message());
    }

    #[tokio::test]
    async fn a_session_may_come_late_and_is_gone_with_its_connection() {
        let sessions = Sessions::default();
        let waiting = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.session("late").await }
        });
        let connection = client(&sessions, "late", 1);
        let session = waiting.await.unwrap().unwrap();
        assert!(sessions.serve("late", duplex(1).0).is_err(), "an id names one session");
        connection.abort();
        let mut open = sessions.open.subscribe();
        open.wait_for(HashMap::is_empty).await.unwrap();
        let gone = session.secret("known").await.unwrap_err();
        assert!(gone.message().starts_with("ask the client for secret \"known\": "), "{}", gone.message());
    }
}
