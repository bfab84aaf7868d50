//! The resolver itself: its sockets and the questions that are under way. It waits for nothing by itself.
//!
//! A question for somebody else goes out on a socket of its own, so each has a port that can't be guessed, with an ID of
//! its own. The upstreams are asked one after the other: the next one when one is silent for a while or could not say.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::answer::{Decision, decide};
use super::config::{DnsConfig, Names};
use super::inside::{self, Inside};
use super::message::{self, Outcome};
use super::stream::Stream;

/// How long an upstream may be silent before the next one is asked.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a question is under way at most; clients ask again after five seconds (resolv.conf(5)).
const LIMIT: Duration = Duration::from_millis(4500);
/// How long a connection of the container may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// How many questions are under way at once; more are not heard, and clients ask again.
const QUESTIONS: usize = 256;
/// How many connections of the container are open at once; of more, the oldest ends.
const CONNECTIONS: usize = 32;
/// The longest datagram: what EDNS lets a client ask for.
const DATAGRAM: usize = 65535;

/// What an event loop should wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes or connections to read.
    Read,
    /// Room to write.
    Write,
}

/// One container's resolver.
#[derive(Debug)]
pub struct Server {
    names: Names,
    upstreams: Vec<SocketAddr>,
    inside: Inside,
    connections: VecDeque<Connection>,
    questions: Vec<Question>,
    next_connection: u64,
    buffer: Vec<u8>,
}

/// A connection that the container has to us.
#[derive(Debug)]
struct Connection {
    number: u64,
    stream: Stream,
    deadline: Instant,
}

/// A question that somebody else is asked.
#[derive(Debug)]
struct Question {
    asker: Asker,
    /// The query as the container sent it.
    query: Vec<u8>,
    /// Which upstream is asked now, counted on and on.
    turn: usize,
    id: u16,
    line: Line,
    /// When the next one is asked.
    deadline: Instant,
    /// When it is given up.
    limit: Instant,
}

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Datagram(SocketAddr),
    Connection(u64),
}

/// The way to an upstream.
#[derive(Debug)]
enum Line {
    Datagram(UdpSocket),
    Connection(Stream),
}

impl Server {
    /// Opens 127.0.0.11:53, UDP and TCP, in the network namespace `netns`. The calling thread enters the namespace and
    /// comes back, so the process must be single-threaded or the thread its own.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn bind(netns: BorrowedFd<'_>, config: DnsConfig) -> io::Result<Self> {
        Ok(Self::new(inside::open(netns)?, config, 53))
    }

    fn new(inside: Inside, config: DnsConfig, port: u16) -> Self {
        Self {
            names: Names::new(config.names_path),
            upstreams: config.upstreams.into_iter().map(|server| SocketAddr::new(server, port)).collect(),
            inside,
            connections: VecDeque::new(),
            questions: Vec::new(),
            next_connection: 0,
            buffer: vec![0; DATAGRAM],
        }
    }

    /// The descriptors to wait on now; may change after each [`ready`](Self::ready) and [`expire`](Self::expire).
    pub fn poll_fds(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let own = [self.inside.udp.as_fd(), self.inside.tcp.as_fd()].map(|fd| (fd, Interest::Read));
        let connections =
            self.connections.iter().map(|connection| (connection.stream.as_fd(), connection.stream.interest()));
        let questions = self.questions.iter().map(|question| match &question.line {
            Line::Datagram(socket) => (socket.as_fd(), Interest::Read),
            Line::Connection(stream) => (stream.as_fd(), stream.interest()),
        });
        own.into_iter().chain(connections).chain(questions).collect()
    }

    /// Does what can be done on `fd` without waiting. Unknown descriptors are ignored.
    pub fn ready(&mut self, fd: RawFd) {
        if fd == self.inside.udp.as_raw_fd() {
            self.take_datagrams();
        } else if fd == self.inside.tcp.as_raw_fd() {
            self.accept();
        } else if let Some(index) = self.connections.iter().position(|it| it.stream.as_fd().as_raw_fd() == fd) {
            self.serve_connection(index);
        } else if let Some(index) = self.questions.iter().position(|it| it.line.as_fd().as_raw_fd() == fd) {
            self.hear(index);
        }
    }

    /// Gives up on what took too long; call it when [`next_timeout`](Self::next_timeout) has passed.
    pub fn expire(&mut self) {
        self.expire_at(Instant::now());
    }

    /// How long at most to wait before calling [`expire`](Self::expire); `None`: nothing is under way.
    pub fn next_timeout(&self) -> Option<Duration> {
        let questions = self.questions.iter().map(|question| question.deadline.min(question.limit));
        let connections = self.connections.iter().map(|connection| connection.deadline);
        let first = questions.chain(connections).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn expire_at(&mut self, now: Instant) {
        self.connections.retain(|connection| connection.deadline > now);
        for index in (0..self.questions.len()).rev() {
            let Some(question) = self.questions.get(index) else { continue };
            if question.limit <= now {
                self.fail(index);
            } else if question.deadline <= now {
                self.ask_next(index, now);
            }
        }
    }

    fn take_datagrams(&mut self) {
        // As many as there were when the loop woke up, or nearly: others get their turn, too.
        for _ in 0..64 {
            let Ok((length, from)) = self.inside.udp.recv_from(&mut self.buffer) else { return };
            let query = self.buffer.get(..length).unwrap_or_default().to_vec();
            self.take(Asker::Datagram(from), query);
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.inside.tcp.accept() {
            let Ok(stream) = Stream::new(socket) else { continue };
            if self.connections.len() == CONNECTIONS {
                self.connections.pop_front();
            }
            self.next_connection += 1;
            let deadline = Instant::now() + IDLE;
            self.connections.push_back(Connection { number: self.next_connection, stream, deadline });
        }
    }

    fn serve_connection(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let number = connection.number;
        let is_open = connection.stream.advance();
        connection.deadline = Instant::now() + IDLE;
        let mut queries = Vec::new();
        while let Some(query) = connection.stream.receive() {
            queries.push(query);
        }
        if !is_open && queries.is_empty() {
            self.connections.remove(index);
        }
        for query in queries {
            self.take(Asker::Connection(number), query);
        }
    }

    /// Answers a query, or sends it on.
    fn take(&mut self, asker: Asker, query: Vec<u8>) {
        let is_datagram = matches!(asker, Asker::Datagram(_));
        match decide(&query, self.names.now(), is_datagram) {
            Decision::Answer(answer) => self.reply(asker, &answer),
            Decision::Ignore => {}
            Decision::Forward if self.questions.len() >= QUESTIONS => {}
            Decision::Forward => self.forward(asker, query),
        }
    }

    fn forward(&mut self, asker: Asker, query: Vec<u8>) {
        let now = Instant::now();
        for turn in 0..self.upstreams.len() {
            if let Ok((id, line)) = self.ask(turn, asker, &query) {
                let (deadline, limit) = (now + PATIENCE, now + LIMIT);
                self.questions.push(Question { asker, query, turn, id, line, deadline, limit });
                return;
            }
        }
        self.reply(asker, &message::empty(&query, Outcome::ServerFailure));
    }

    /// Opens a line to an upstream and puts the question on it.
    fn ask(&self, turn: usize, asker: Asker, query: &[u8]) -> io::Result<(u16, Line)> {
        let count = self.upstreams.len().max(1);
        let upstream = *self.upstreams.get(turn % count).ok_or(io::ErrorKind::NotFound)?;
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|_| io::ErrorKind::Other)?;
        let id = u16::from_ne_bytes(id);
        let mut query = query.to_vec();
        message::set_id(&mut query, id);
        let line = match asker {
            Asker::Datagram(_) => {
                let any: IpAddr = match upstream {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.set_nonblocking(true)?;
                socket.connect(upstream)?;
                socket.send(&query)?;
                Line::Datagram(socket)
            }
            Asker::Connection(_) => {
                let mut stream = Stream::new(connect(upstream)?)?;
                stream.send(&query);
                Line::Connection(stream)
            }
        };
        Ok((id, line))
    }

    /// Reads what an upstream says to a question.
    fn hear(&mut self, index: usize) {
        let Some(question) = self.questions.get_mut(index) else { return };
        let answer = match &mut question.line {
            Line::Datagram(socket) => match socket.recv(&mut self.buffer) {
                Ok(length) => Ok(self.buffer.get(..length).map(<[u8]>::to_vec)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                // The upstream's host has no server there (ICMP): no need to wait for it.
                Err(_) => Err(()),
            },
            Line::Connection(stream) => {
                let is_open = stream.advance();
                match stream.receive() {
                    Some(answer) => Ok(Some(answer)),
                    None if is_open => Ok(None),
                    None => Err(()),
                }
            }
        };
        match answer {
            Ok(Some(answer)) if message::id(&answer) == Some(question.id) => self.settle(index, answer),
            Ok(_) => {}
            Err(()) => self.ask_next(index, Instant::now()),
        }
    }

    /// Hands an upstream's answer on; one that could not say leaves the word to the next, if there is one left.
    fn settle(&mut self, index: usize, mut answer: Vec<u8>) {
        let Some(question) = self.questions.get(index) else { return };
        if !message::answers(&answer, &question.query) {
            return;
        }
        if message::is_refusal(&answer) && question.turn + 1 < self.upstreams.len() {
            return self.ask_next(index, Instant::now());
        }
        let question = self.questions.swap_remove(index);
        message::set_id(&mut answer, message::id(&question.query).unwrap_or_default());
        self.reply(question.asker, &answer);
    }

    /// Turns to the next upstream; after all were asked twice, the question has failed.
    fn ask_next(&mut self, index: usize, now: Instant) {
        let Some(question) = self.questions.get(index) else { return };
        let (asker, query) = (question.asker, question.query.clone());
        for turn in question.turn + 1..self.upstreams.len() * 2 {
            if let Ok((id, line)) = self.ask(turn, asker, &query) {
                if let Some(question) = self.questions.get_mut(index) {
                    (question.id, question.line, question.turn) = (id, line, turn);
                    question.deadline = now + PATIENCE;
                }
                return;
            }
        }
        self.fail(index);
    }

    fn fail(&mut self, index: usize) {
        if index < self.questions.len() {
            let question = self.questions.swap_remove(index);
            self.reply(question.asker, &message::empty(&question.query, Outcome::ServerFailure));
        }
    }

    fn reply(&mut self, asker: Asker, answer: &[u8]) {
        match asker {
            // Whoever asked and went away misses nothing.
            Asker::Datagram(to) => drop(self.inside.udp.send_to(answer, to)),
            Asker::Connection(number) => {
                if let Some(connection) = self.connections.iter_mut().find(|it| it.number == number) {
                    connection.stream.send(answer);
                    connection.stream.advance();
                }
            }
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagram(socket) => socket.as_fd(),
            Self::Connection(stream) => stream.as_fd(),
        }
    }
}

/// Begins to connect; that it goes on is no error.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}
