//! Reading a container's log, and following it until the container is at rest.

use futures_util::StreamExt;
use tokio::sync::watch;

use super::live::Container;
use super::options::{LogLine, LogSource, Logs, LogsOptions};
use super::record::ContainerRecord;
use super::room::Room;
use crate::engine::EngineError;
use crate::engine::shim::logs::{Follow, LogQuery, LogStream, read};

/// Refuses one whose output is not kept, in Docker's words.
pub fn must_have_log(record: &ContainerRecord) -> Result<(), EngineError> {
    let driver = record.host_config.log_config.as_ref().and_then(|log| log.typ.as_deref());
    if driver == Some("none") {
        return Err(EngineError::new(
            crate::engine::ErrorKind::NotImplemented,
            "configured logging driver does not support reading",
        ));
    }
    Ok(())
}

impl Room {
    /// `GET /containers/{id}/logs`.
    pub fn logs(&self, id: &str, options: LogsOptions) -> Result<Logs, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid("Bad parameters: you must choose at least one stream"));
        }
        must_have_log(&record)?;
        let follow = if options.follow { Follow::Until(self.rest_of(&container)) } else { Follow::No };
        let query = LogQuery {
            follow,
            tail: options.tail,
            since: options.since,
            until: options.until,
            end: None,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let lines = read(&container.folder.log(&container.id), query).map(|entry| match entry {
            Ok(entry) => Ok(LogLine {
                source: match entry.stream {
                    LogStream::Stdout => LogSource::Stdout,
                    LogStream::Stderr => LogSource::Stderr,
                },
                time: entry.time,
                bytes: entry.bytes,
                attrs: entry.attrs,
            }),
            Err(error) => Err(EngineError::system(error.to_string()).because(error)),
        });
        Ok(Logs { tty: record.has_tty(), lines: Box::pin(lines) })
    }

    /// Becomes true when the container does not run (any more), or is gone. A created one is waited for.
    fn rest_of(&self, container: &Container) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        let mut pulse = container.pulse();
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = sender.closed() => {}
                // As dockerd: following a container that does not run ends at once.
                _ = pulse.wait_for(|pulse| !pulse.is_running || pulse.is_removed) => {}
            }
            let _ = sender.send(true);
        });
        receiver
    }
}
