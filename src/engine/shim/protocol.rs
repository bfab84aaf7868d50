//! What an engine and a shim say to each other on `shim.sock`, version 1.
//!
//! A message is a big-endian `u32` length and that many bytes of JSON. Every request has a number and gets exactly one
//! reply with that number; after `subscribe` events come in between. `attach` and `exec` (unless detached) are the last
//! message of their connection: after an `ok` reply it carries raw bytes, in Docker's frames where there is no terminal.
//! A newer engine speaks to older shims, so messages only ever gain fields with defaults; a request an older shim does
//! not know is refused with [`Refusal`], it does not break the connection.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::health::Health;
use super::logs::LogPosition;
use super::restart::{Asked, RestartPolicy};
use super::spec::{ExitRecord, ProcessIdentity};
use crate::engine::oci::{ConsoleSize, ProcessPlan};
use crate::engine::trace::Mark;

/// A longer message breaks the connection: nothing we say comes near.
pub const MAX_MESSAGE: usize = 16 << 20;

/// A numbered request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Echoed in the reply.
    pub id: u64,
    /// What to do.
    pub verb: Verb,
}

/// What an engine may ask of a shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Who are you and how far are you? Answered with [`Answer::Hello`].
    Hello,
    /// Lets init run its program. Answered with [`Answer::Started`].
    Start,
    /// Throws away a container that was never started; the shim ends.
    Discard,
    /// Sends [`Message::Event`]s on this connection from now on.
    Subscribe,
    /// Turns this connection into the container's streams.
    Attach(Attach),
    /// Runs one more process in the container. Answered with [`Answer::Exec`].
    Exec(Box<ExecRequest>),
    /// Tells a terminal its size.
    Resize {
        /// Whose terminal.
        target: Target,
        /// Its size.
        size: ConsoleSize,
    },
    /// Sends a signal.
    Signal {
        /// To which process.
        target: Target,
        /// The kernel's number.
        signal: i32,
    },
    /// Makes the run under way the last one, whatever the restart policy says; one that waits for its restart is over at once.
    LastRun(Asked),
    /// Changes the restart policy. Refused where the engine applies it.
    SetRestartPolicy(RestartPolicy),
}

/// Which process of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Its first process.
    Init,
    /// The exec with this ID.
    Exec(String),
}

/// Which streams an attacher wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Bytes it sends go to standard input.
    #[serde(default)]
    pub stdin: bool,
    /// It gets standard output (on a terminal: everything).
    #[serde(default)]
    pub stdout: bool,
    /// It gets standard error.
    #[serde(default)]
    pub stderr: bool,
    /// It reads the log up to where the answer says, [`Answer::Attached`]; its stream begins right there.
    #[serde(default)]
    pub replay: bool,
}

/// One more process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The engine's ID for it.
    pub exec_id: String,
    /// What to run.
    pub plan: ProcessPlan,
    /// Whether the connection's bytes are its standard input; else that is `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    /// Whether its standard output is wanted; else that is `/dev/null`.
    #[serde(default)]
    pub stdout: bool,
    /// Whether its standard error is wanted; else that is `/dev/null`.
    #[serde(default)]
    pub stderr: bool,
    /// Whether it gets a terminal of its own.
    #[serde(default)]
    pub tty: bool,
    /// Nobody listens: all three streams are `/dev/null` (or a terminal nobody sees).
    #[serde(default)]
    pub detach: bool,
    /// The terminal's first size.
    #[serde(default)]
    pub size: Option<ConsoleSize>,
}

/// What a shim says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// It did as asked.
    Ok {
        /// The request's number.
        id: u64,
        /// What came of it.
        #[serde(default)]
        answer: Answer,
    },
    /// It did not.
    Refused {
        /// The request's number.
        id: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Something happened; only after `subscribe`.
    Event(ShimEvent),
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done; there is nothing to tell.
    #[default]
    Done,
    /// To `hello`, and unasked (as number 0) on the connection a shim is born with.
    Hello(Box<Hello>),
    /// To `start`.
    Started {
        /// When the container was let go.
        started_at: Timestamp,
        /// The stages from the request on, where traced.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trace: Vec<Mark>,
    },
    /// To an `attach` with replay.
    Attached {
        /// The stream begins with what is not in the log up to here; `None` where there is no log.
        from: Option<LogPosition>,
    },
    /// To `exec`.
    Exec {
        /// The process as the host sees it.
        pid: u32,
    },
}

/// A shim's introduction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol it speaks.
    pub version: u32,
    /// The shim.
    pub shim: ProcessIdentity,
    /// The container's first process as the host sees it.
    pub init_pid: u32,
    /// When the container was let go; `None` before.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// How it ended, if it has.
    #[serde(default)]
    pub exit: Option<ExitRecord>,
    /// The execs that are running.
    #[serde(default)]
    pub execs: Vec<RunningExec>,
    /// How often its restart policy started it again.
    #[serde(default)]
    pub restarts: u32,
    /// How its last run ended, if it waits for its restart.
    #[serde(default)]
    pub between_runs: Option<ExitRecord>,
    /// Whether the kernel killed a process of this run for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The stages of its own start and the container's, where traced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<Mark>,
    /// How its health check finds it; `None` without one.
    #[serde(default)]
    pub health: Option<Health>,
}

/// An exec that an engine may have forgotten in a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningExec {
    /// The ID its engine gave it.
    pub exec_id: String,
    /// The process as the host sees it.
    pub pid: u32,
}

/// Why a shim did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of no it is.
    pub kind: RefusalKind,
    /// The exit code that stands for it: 127 not found, 126 not executable, 128 anything else.
    #[serde(default)]
    pub code: i64,
    /// For a person.
    pub message: String,
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The container could not be set up.
    Create,
    /// The program could not be run.
    Start,
    /// The request does not fit the container's state: not started, already started, ended.
    State,
    /// There is no such exec, or it has no terminal.
    NoSuchTarget,
    /// This shim does not know the request.
    Unknown,
    /// The kernel refused.
    System,
    /// A newer shim's kind.
    #[serde(other)]
    Other,
}

/// What happens to a container and its execs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShimEvent {
    /// The container ended, its output is in the log to the last byte and its exit record is written.
    Exited(ExitRecord),
    /// An exec ended and all its output is on its way.
    ExecExited {
        /// Which one.
        exec_id: String,
        /// Its exit status, or 128 plus the signal.
        code: i64,
    },
    /// The kernel killed a process of the container for want of memory. Told when it happens; the exit record says it once more.
    Oom,
    /// A run ended, its output is in the log to the last byte, and the container will be started again.
    Restarting(ExitRecord),
    /// The health check begins a probe; its end is told as an exec's.
    Probing {
        /// What the shim calls it.
        exec_id: String,
        /// The process as the host sees it; `None` where it could not be run.
        #[serde(default)]
        pid: Option<u32>,
    },
    /// A probe of the health check came to a result, or a run with one has begun.
    Health(Health),
    /// It runs again.
    Restarted {
        /// Its new first process as the host sees it.
        pid: u32,
        /// When that was let go.
        started_at: Timestamp,
        /// How often it was restarted, this time included.
        restarts: u32,
    },
    /// The shim died without a word. Never on the wire: the engine's handle says so.
    Gone,
}

/// `value` as one message on the wire.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value).expect("our messages have string keys and no failing serialiser");
    let length = u32::try_from(bytes.len() - 4).expect("a message is far below 4 GiB");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The length alone is absurd.
    #[error("message of {length} bytes where at most {MAX_MESSAGE} are allowed")]
    TooLong {
        /// What was announced.
        length: usize,
    },
    /// It is no JSON of ours.
    #[error("message is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Decoder {
    /// Takes what came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.consumed));
        self.bytes.extend_from_slice(bytes);
    }

    /// The JSON of the next message; `None` until it is whole.
    ///
    /// # Errors
    /// [`ProtocolError::TooLong`]; the connection is then of no use any more.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        let Some((length, rest)) = self.bytes.get(self.consumed..).and_then(|bytes| bytes.split_first_chunk::<4>())
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(ProtocolError::TooLong { length });
        }
        match rest.get(..length) {
            Some(message) => {
                self.consumed += 4 + length;
                Ok(Some(message))
            }
            None => Ok(None),
        }
    }

    /// What follows the last message: the first raw bytes after an `attach` or `exec`.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.consumed)
    }
}

/// A request as far as any version understands it.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: u64,
    #[serde(borrow)]
    verb: &'a RawValue,
}

/// Reads a request. One whose verb is unknown still has a number, so that it can be refused by it.
///
/// # Errors
/// [`ProtocolError::Malformed`] where not even the number can be read.
pub fn parse_request(message: &[u8]) -> Result<(u64, Result<Verb, Refusal>), ProtocolError> {
    let envelope: Envelope<'_> = serde_json::from_slice(message)?;
    let verb = serde_json::from_str(envelope.verb.get()).map_err(|error| Refusal {
        kind: RefusalKind::Unknown,
        code: 0,
        message: format!("request is not understood by this shim (protocol {}): {error}", super::spec::VERSION),
    });
    Ok((envelope.id, verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut_of_the_stream() {
        let mut wire = encode(&Request { id: 1, verb: Verb::Hello });
        wire.extend(encode(&Request { id: 2, verb: Verb::Attach(Attach { stdin: true, ..Attach::default() }) }));
        wire.extend(b"raw");
        for step in 1..wire.len() {
            let mut decoder = Decoder::default();
            let mut ids = vec![];
            for piece in wire.chunks(step) {
                decoder.push(piece);
                while ids.len() < 2 {
                    let Some(message) = decoder.next_message().unwrap() else { break };
                    ids.push(parse_request(message).unwrap().0);
                }
            }
            assert_eq!((ids, decoder.into_rest()), (vec![1, 2], b"raw".to_vec()), "pieces of {step}");
        }
    }

    #[test]
    fn an_unknown_verb_is_refused_by_its_number() {
        let (id, verb) = parse_request(br#"{"id":7,"verb":{"levitate":{"height":3}}}"#).unwrap();
        assert_eq!((id, verb.unwrap_err().kind), (7, RefusalKind::Unknown));
    }

    #[test]
    fn an_unknown_field_is_passed_over() {
        let (_, verb) = parse_request(br#"{"id":7,"verb":{"attach":{"stdin":true,"smell":true}},"v":9}"#).unwrap();
        assert!(matches!(verb, Ok(Verb::Attach(Attach { stdin: true, stdout: false, .. }))));
    }

    #[test]
    fn an_absurd_length_is_told_before_memory_is_taken() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 8]);
        assert!(matches!(decoder.next_message(), Err(ProtocolError::TooLong { .. })));
    }

    #[test]
    fn what_the_first_shims_said_is_understood() {
        let hello = r#"{"ok":{"id":0,"answer":{"hello":{"version":1,"shim":{"pid":7,"start_ticks":9},"init_pid":8}}}}"#;
        let Message::Ok { answer: Answer::Hello(hello), .. } = serde_json::from_str(hello).unwrap() else {
            panic!("a hello")
        };
        assert_eq!((hello.init_pid, hello.restarts, hello.between_runs), (8, 0, None));
        let exited = r#"{"event":{"exited":{"code":3,"finished_at":"2026-01-01T00:00:00Z"}}}"#;
        let Message::Event(ShimEvent::Exited(exit)) = serde_json::from_str(exited).unwrap() else { panic!("an end") };
        assert_eq!(exit.decided, super::super::spec::Decided::NotHere, "older shims leave restarts to the engine");
    }

    #[test]
    fn the_wire_format_of_version_1_stands() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes[4..].to_vec()).unwrap();
        assert_eq!(text(encode(&Request { id: 3, verb: Verb::Start })), r#"{"id":3,"verb":"start"}"#);
        assert_eq!(
            text(encode(&Request { id: 4, verb: Verb::Signal { target: Target::Exec("a".into()), signal: 15 } })),
            r#"{"id":4,"verb":{"signal":{"target":{"exec":"a"},"signal":15}}}"#
        );
        assert_eq!(text(encode(&Message::Ok { id: 3, answer: Answer::Done })), r#"{"ok":{"id":3,"answer":"done"}}"#);
        assert_eq!(
            text(encode(&Message::Event(ShimEvent::ExecExited { exec_id: "a".into(), code: 3 }))),
            r#"{"event":{"exec-exited":{"exec_id":"a","code":3}}}"#
        );
    }
}
