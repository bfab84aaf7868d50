//! The resolver with real sockets: a container's namespace, and upstreams in the host's.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::config::write_table;
use super::message::{self, query};
use super::{DnsConfig, Interest, NameTable, Server};
use crate::engine::network::netlink::RouteSocket;
use crate::engine::network::sandbox;

const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);
const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Runs `ask` in a container's namespace while its resolver is served, in a host namespace with one upstream that knows
/// that everything is at 9.9.9.9.
fn with_resolver(table: NameTable, upstreams: &[Ipv4Addr], ask: impl FnOnce(&std::path::Path) + Send + 'static) {
    let upstreams: Vec<IpAddr> = upstreams.iter().map(|ip| (*ip).into()).collect();
    let host = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        RouteSocket::open().unwrap().set_up(1).unwrap();
        serve_upstream();
        let _silent = UdpSocket::bind((SILENT, 53)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let names_path = folder.path().join("names.json");
        write_table(&names_path, &table).unwrap();
        let netns = sandbox::create().unwrap();
        let server = Server::bind(netns.as_fd(), DnsConfig { names_path: names_path.clone(), upstreams }).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let looping = {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || run(server, &is_over))
        };
        let asked = sandbox::within(netns.as_fd(), || {
            ask(&names_path);
            Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        looping.join().unwrap();
        asked.unwrap();
    });
    host.join().unwrap();
}

fn run(mut server: Server, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let ready: Vec<i32> = {
            let fds = server.poll_fds();
            let mut polled: Vec<PollFd<'_>> = fds
                .iter()
                .map(|(fd, interest)| match interest {
                    Interest::Read => PollFd::from_borrowed_fd(*fd, PollFlags::IN),
                    Interest::Write => PollFd::from_borrowed_fd(*fd, PollFlags::OUT),
                })
                .collect();
            let wait = server.next_timeout().unwrap_or(Duration::from_millis(20)).min(Duration::from_millis(20));
            poll(&mut polled, Some(&Timespec::try_from(wait).unwrap())).unwrap();
            let answered = polled.iter().zip(&fds).filter(|(polled, _)| !polled.revents().is_empty());
            answered.map(|(_, (fd, _))| fd.as_raw_fd()).collect()
        };
        ready.into_iter().for_each(|fd| server.ready(fd));
        if server.next_timeout() == Some(Duration::ZERO) {
            server.expire();
        }
    }
}

/// Answers every question by 9.9.9.9, over UDP and TCP.
fn serve_upstream() {
    let answer = |query: &[u8]| {
        let question = message::read(query).unwrap();
        message::addresses(query, &question, &[Ipv4Addr::new(9, 9, 9, 9)], true)
    };
    let udp = UdpSocket::bind((UPSTREAM, 53)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            udp.send_to(&answer(&buffer[..length]), from).unwrap();
        }
    });
    let tcp = TcpListener::bind((UPSTREAM, 53)).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let query = read_message(&mut stream);
            write_message(&mut stream, &answer(&query));
        }
    });
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn write_message(stream: &mut TcpStream, message: &[u8]) {
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(message);
    stream.write_all(&bytes).unwrap();
}

fn ask_udp(name: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.send_to(&query(77, name, 1), RESOLVER).unwrap();
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, RESOLVER, "the answer comes from where it was asked");
    assert_eq!(message::id(&buffer), Some(77));
    buffer[..length].to_vec()
}

/// Asks for a name that the upstream knows; a machine under load may make the resolver give up the first times.
fn forwarded(ask: impl Fn() -> Vec<u8>) -> Vec<u8> {
    const SERVER_FAILURE: u8 = 2;
    (0..9).map(|_| ask()).find(|answer| answer[3] & 0x0f != SERVER_FAILURE).expect("the upstream answers")
}

fn ask_tcp(name: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(RESOLVER).unwrap();
    write_message(&mut stream, &query(5, name, 1));
    let answer = read_message(&mut stream);
    assert_eq!(message::id(&answer), Some(5));
    answer
}

fn table(forwards: bool) -> NameTable {
    NameTable { names: [("db".to_owned(), vec![Ipv4Addr::new(10, 0, 0, 3)])].into(), addresses: [].into(), forwards }
}

#[test]
fn names_are_answered_and_others_forwarded() {
    with_resolver(table(true), &[UPSTREAM], |_| {
        assert!(ask_udp("db").ends_with(&[10, 0, 0, 3]));
        assert!(forwarded(|| ask_udp("example.org")).ends_with(&[9, 9, 9, 9]));
        assert!(ask_tcp("db").ends_with(&[10, 0, 0, 3]));
        assert!(forwarded(|| ask_tcp("example.org")).ends_with(&[9, 9, 9, 9]));
    });
}

#[test]
fn a_replaced_table_is_seen_at_once() {
    with_resolver(table(false), &[UPSTREAM], |names| {
        assert_eq!(ask_udp("web")[3] & 0x0f, 3, "no such name, and nobody else is asked");
        let mut more = table(false);
        more.names.insert("web".to_owned(), vec![Ipv4Addr::new(10, 0, 0, 4)]);
        write_table(names, &more).unwrap();
        assert!(ask_udp("web").ends_with(&[10, 0, 0, 4]));
    });
}

#[test]
fn a_silent_upstream_leaves_the_word_to_the_next() {
    with_resolver(table(true), &[SILENT, UPSTREAM], |_| {
        assert!(forwarded(|| ask_udp("example.org")).ends_with(&[9, 9, 9, 9]));
    });
}

#[test]
fn without_any_upstream_the_question_fails_at_once() {
    // Nobody listens on 127.0.0.3: the kernel says so.
    with_resolver(table(true), &[Ipv4Addr::new(127, 0, 0, 3)], |_| {
        assert_eq!(ask_udp("example.org")[3] & 0x0f, 2);
    });
    with_resolver(table(true), &[], |_| assert_eq!(ask_udp("example.org")[3] & 0x0f, 2));
}

#[test]
fn the_container_may_be_a_name_server_itself() {
    with_resolver(table(true), &[UPSTREAM], |_| {
        let _udp = UdpSocket::bind("0.0.0.0:53").unwrap();
        let _tcp = TcpListener::bind("0.0.0.0:53").unwrap();
        assert!(ask_udp("db").ends_with(&[10, 0, 0, 3]));
    });
}
