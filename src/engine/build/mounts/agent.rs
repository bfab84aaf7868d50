//! The socket of an ssh agent in a sandbox: each connection to it is a conversation with the client's own agent, carried
//! by the build's session. Nothing that is said is looked at or kept.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::build::plan::Asked;
use crate::engine::build::session::Session;

/// A socket that is an agent's; it and all conversations end when it is dropped.
#[derive(Debug)]
pub(super) struct AgentSocket {
    path: PathBuf,
    _conversations: AbortOnDropHandle<()>,
}

impl AgentSocket {
    /// Listens at `folder/name` for who may talk to the client's agent `asked`.
    pub(super) fn listen(folder: &Path, name: &str, session: Session, asked: &Asked) -> io::Result<Self> {
        let path = folder.join(name);
        // By its folder's descriptor: the name of a socket may have no more than 107 bytes.
        let folder = File::open(folder)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
        chown(&path, Some(asked.owner.uid), Some(asked.owner.gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(asked.owner.mode))?;
        let conversations = tokio::spawn(converse(listener, session, asked.id.clone()));
        Ok(Self { path, _conversations: AbortOnDropHandle::new(conversations) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

async fn converse(listener: UnixListener, session: Session, id: String) {
    let mut conversations = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = conversations.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => drop(conversations.spawn(forward(stream, session.clone(), id.clone()))),
            Err(error) => return tracing::warn!(%error, "accept a connection to an ssh agent"),
        }
    }
}

/// Closing the connection is all that can be told to a program which asks an agent that is gone.
async fn forward(mut stream: UnixStream, session: Session, id: String) {
    let Ok(Some(mut agent)) = session.ssh(&id).await else { return };
    if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut agent).await {
        tracing::debug!(%error, "a conversation with an ssh agent broke off");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::buildkit::session::{Answer, Ask, Channel, accept};
    use crate::engine::build::plan::FileOwner;
    use crate::engine::build::session::Sessions;

    async fn agent(mut channel: Channel) {
        let Ok(Ask::Ssh { id }) = channel.hear().await else { return };
        if id != "default" {
            return channel.say(&Answer::Unknown).await.unwrap();
        }
        channel.say(&Answer::Ok).await.unwrap();
        let mut told = String::new();
        channel.read_to_string(&mut told).await.unwrap();
        channel.write_all(format!("signed {told}").as_bytes()).await.unwrap();
        channel.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn every_connection_is_a_conversation_of_its_own() {
        let sessions = Sessions::default();
        let (near, far) = duplex(16 << 10);
        tokio::spawn(sessions.serve("s", near).unwrap());
        tokio::spawn(accept(far, |channel| drop(tokio::spawn(agent(channel)))));
        let session = sessions.session("s").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        // Longer than a socket's name may be.
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let asked =
            |id: &str| Asked { id: id.to_owned(), required: true, owner: FileOwner { mode: 0o620, uid: 1, gid: 2 } };
        let socket = AgentSocket::listen(&deep, "a", session.clone(), &asked("default")).unwrap();
        let metadata = fs::metadata(socket.path()).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid(), metadata.gid()), (0o620, 1, 2));
        let short = |path: &Path| {
            let folder = File::open(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()), folder)
        };
        let (path, _folder) = short(socket.path());
        let talk = |path: String, words: &'static str| async move {
            let mut stream = UnixStream::connect(path).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let both = tokio::join!(talk(path.clone(), "one"), talk(path, "two"));
        assert_eq!(both, ("signed one".to_owned(), "signed two".to_owned()));

        let gone = AgentSocket::listen(&deep, "b", session, &asked("other")).unwrap();
        let (path, _folder) = short(gone.path());
        assert_eq!(talk(path, "").await, "");
    }
}
