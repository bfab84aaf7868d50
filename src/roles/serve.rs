//! `boxyard serve`: the engine without a screen, for servers and for other clients.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use boxyard::api;
use boxyard::cli::{Roots, Serve};
use boxyard::engine::instance::Instance;
use boxyard::engine::runtimes::Runtimes;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::embedded::{Embedded, Socket, advise};

/// A place to listen at besides the engine's own socket.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Unix(&'a Path),
    Tcp(SocketAddr),
}

/// Serves until SIGTERM or SIGINT; a second one ends at once.
pub fn play(roots: &Roots, serve: &Serve) -> anyhow::Result<ExitCode> {
    super::must_be_root()?;
    let instance = super::instance(roots)?;
    let places = serve.hosts.iter().map(|host| place(host)).collect::<anyhow::Result<Vec<_>>>()?;
    let runtimes = serve.add_runtimes.iter().try_fold(super::runtimes(), |known, added| known.with(added))?;
    super::logging::to_stderr("info");
    let runtime = super::runtime()?;
    let served = runtime.block_on(run(&instance, runtimes, &places));
    // Whatever streams are left belong to clients that were told to go.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

async fn run(instance: &Instance, runtimes: Runtimes, places: &[Place<'_>]) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let embedded = Embedded::open(instance, runtimes).await.map_err(|error| advise(error, instance))?;
    let mut listening = JoinSet::new();
    let mut sockets = Vec::new();
    for place in places {
        let (engine, stop) = (embedded.engine().clone(), embedded.stop().clone());
        match place {
            Place::Unix(path) if *path == instance.socket() => {}
            Place::Unix(path) => {
                let (socket, listener) = Socket::bind(path)?;
                sockets.push(socket);
                listening.spawn(api::listen(engine, listener, stop));
                tracing::info!("listening on unix://{}", path.display());
            }
            Place::Tcp(address) => {
                let listener =
                    TcpListener::bind(address).await.with_context(|| format!("listen on tcp://{address}"))?;
                listening.spawn(api::listen(engine, listener, stop));
                tracing::info!("listening on tcp://{address}");
            }
        }
    }
    tracing::info!("listening on unix://{}", instance.socket().display());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; containers run on");
    tokio::select! {
        () = async { embedded.close().await; listening.join_all().await; } => {}
        _ = terminate.recv() => tracing::warn!("stopped at once"),
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
    }
    drop(sockets);
    Ok(())
}

fn place(host: &str) -> anyhow::Result<Place<'_>> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Place::Unix(Path::new(path))),
        Some(("tcp", authority)) => {
            let address = authority
                .to_socket_addrs()
                .with_context(|| format!("{host}: not HOST:PORT"))?
                .next()
                .with_context(|| format!("{host}: the name has no address"))?;
            if !address.ip().is_loopback() {
                bail!(
                    "{host}: whoever reaches this port is root on this machine, so without TLS only loopback addresses are \
                     served; try tcp://127.0.0.1:{} with ssh's port forwarding",
                    address.port()
                );
            }
            Ok(Place::Tcp(address))
        }
        _ => bail!("{host}: neither unix:///PATH nor tcp://127.0.0.1:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served_without_tls() {
        assert_eq!(place("unix:///run/x.sock").unwrap(), Place::Unix(Path::new("/run/x.sock")));
        assert_eq!(place("tcp://127.0.0.1:2375").unwrap(), Place::Tcp("127.0.0.1:2375".parse().unwrap()));
        assert!(place("tcp://0.0.0.0:2375").unwrap_err().to_string().contains("only loopback"));
        assert!(place("/run/x.sock").is_err());
    }
}
