//! Many streams on one connection: the engine opens them, the client accepts them.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use super::channel::Channel;

/// Streams at the same time: every connection to an ssh agent is one.
const STREAMS: usize = 128;
/// Bytes that may lie unread on our side, over all streams: what yamux asks for at least, so that a slow reader holds its
/// writer up and nobody's memory fills.
const WINDOW: usize = STREAMS * (256 << 10);

/// What carries a session.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for T {}

type Request = oneshot::Sender<io::Result<Channel>>;

/// Opens streams on a session's connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opener {
    requests: mpsc::Sender<Request>,
}

impl Opener {
    /// A new stream.
    ///
    /// # Errors
    /// The connection is gone, or carries too many streams.
    pub async fn open(&self) -> io::Result<Channel> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the build session is gone");
        let (answer, opened) = oneshot::channel();
        self.requests.send(answer).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(STREAMS).set_max_connection_receive_window(Some(WINDOW));
    config
}

/// The engine's end of a connection: an opener, and the task that carries its streams. The task ends with the connection,
/// or once no opener is left.
pub fn connect(io: impl Wire) -> (Opener, impl Future<Output = ()> + Send + 'static) {
    let (requests, mut wanted) = mpsc::channel::<Request>(8);
    let mut connection = Connection::new(io.compat(), config(), Mode::Client);
    let mut waiting: Option<Request> = None;
    let driver = poll_fn(move |cx| {
        loop {
            if waiting.is_none() {
                match wanted.poll_recv(cx) {
                    Poll::Ready(Some(request)) => waiting = Some(request),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if let Some(request) = waiting.take() {
                match connection.poll_new_outbound(cx) {
                    Poll::Ready(opened) => {
                        let opened = opened.map(|stream| Channel::new(stream.compat())).map_err(io::Error::other);
                        let _ = request.send(opened);
                        continue;
                    }
                    Poll::Pending => waiting = Some(request),
                }
            }
            return match connection.poll_next_inbound(cx) {
                // The client has nothing to ask: its streams are dropped, which resets them.
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(_)) | None) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
        }
    });
    (Opener { requests }, driver)
}

/// The client's end of a connection: hands every stream that the engine opens to `serve`, until the connection ends.
pub async fn accept(io: impl Wire, serve: impl Fn(Channel)) {
    let mut connection = Connection::new(io.compat(), config(), Mode::Server);
    while let Some(Ok(stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
        serve(Channel::new(stream.compat()));
    }
}
