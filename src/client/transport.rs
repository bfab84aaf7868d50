//! How bytes get to a Docker host: the one seam where a way of connecting plugs in.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A duplex byte stream to a host.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The future of a new connection.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// Opens connections to one Docker host.
pub trait Transport: Send + Sync {
    /// Opens one more connection.
    fn connect(&self) -> Connecting<'_>;
    /// Where the host is, as a URL; for messages.
    fn address(&self) -> String;
}

/// A Unix socket on this machine.
#[derive(Debug, Clone)]
pub struct UnixTransport {
    path: PathBuf,
}

impl UnixTransport {
    /// The socket at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Transport for UnixTransport {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async { Ok(Box::new(UnixStream::connect(&self.path).await?) as Box<dyn Io>) })
    }

    fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }
}

/// Plain TCP to `host:port`.
#[derive(Debug, Clone)]
pub struct TcpTransport {
    authority: String,
}

impl TcpTransport {
    /// The host at `authority`, like `127.0.0.1:2375`.
    pub fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned() }
    }
}

impl Transport for TcpTransport {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.authority).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }

    fn address(&self) -> String {
        format!("tcp://{}", self.authority)
    }
}

/// A Docker host behind ssh: `ssh HOST docker system dial-stdio`, as the docker CLI reaches it.
#[derive(Debug, Clone)]
pub(super) struct SshTransport {
    arguments: Vec<String>,
    address: String,
}

impl SshTransport {
    /// The host of `ssh://[user@]host[:port]`; `destination` is what follows the two slashes.
    pub(super) fn new(destination: &str) -> Self {
        let address = format!("ssh://{destination}");
        let destination = destination.split('/').next().unwrap_or_default();
        let mut arguments = vec!["-T".to_owned(), "-o".to_owned(), "ConnectTimeout=30".to_owned()];
        let host = match destination.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                arguments.extend(["-p".to_owned(), port.to_owned()]);
                host
            }
            _ => destination,
        };
        // `--` so that a host that begins with a dash is never read as an option.
        arguments.extend(["--", host, "docker", "system", "dial-stdio"].map(str::to_owned));
        Self { arguments, address }
    }
}

impl Transport for SshTransport {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let mut child = tokio::process::Command::new("ssh")
                .args(&self.arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            let missing = || io::Error::other("ssh has no standard streams");
            let output = child.stdout.take().ok_or_else(missing)?;
            let input = child.stdin.take().ok_or_else(missing)?;
            Ok(Box::new(SshIo { io: tokio::io::join(output, input), _child: child }) as Box<dyn Io>)
        })
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// The standard streams of an ssh process, which ends with them.
struct SshIo {
    io: tokio::io::Join<tokio::process::ChildStdout, tokio::process::ChildStdin>,
    _child: tokio::process::Child,
}

impl AsyncRead for SshIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for SshIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssh_port_becomes_an_option() {
        let ssh = SshTransport::new("me@box:2222");
        assert_eq!(ssh.arguments.join(" "), "-T -o ConnectTimeout=30 -p 2222 -- me@box docker system dial-stdio");
        assert_eq!(ssh.address(), "ssh://me@box:2222");
    }
}
