//! What becomes of a query: an answer from the table of names, or a question to somebody else. Pure.

use super::config::NameTable;
use super::message::{self, Kind, Outcome};

/// What becomes of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This is the answer.
    Answer(Vec<u8>),
    /// An upstream is asked.
    Forward,
    /// It is no query.
    Ignore,
}

/// Decides on `query`. A name of ours has IPv4 addresses only; asked for anything else it exists and has none, so that
/// nobody outside is asked about it.
pub fn decide(query: &[u8], table: &NameTable, is_datagram: bool) -> Decision {
    if message::id(query).is_none() || message::is_answer(query) {
        return Decision::Ignore;
    }
    let question = match message::read(query) {
        Ok(question) => question,
        Err(outcome) => return Decision::Answer(message::empty(query, outcome)),
    };
    if let Some(addresses) = table.names.get(&question.name) {
        return Decision::Answer(match question.kind {
            Kind::A | Kind::Any => message::addresses(query, &question, addresses, is_datagram),
            Kind::Ptr | Kind::Other => message::empty(query, Outcome::Fine),
        });
    }
    if question.kind == Kind::Ptr
        && let Some(name) = message::reverse(&question.name).and_then(|address| table.addresses.get(&address))
    {
        return Decision::Answer(message::pointer(query, &question, name));
    }
    if table.forwards { Decision::Forward } else { Decision::Answer(message::empty(query, Outcome::NoSuchName)) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::message::query;
    use super::*;

    fn table(forwards: bool) -> NameTable {
        let ip = Ipv4Addr::new(10, 0, 0, 2);
        NameTable {
            names: [("web".to_owned(), vec![ip])].into(),
            addresses: [(ip, "web.shop".to_owned())].into(),
            forwards,
        }
    }

    fn code(decision: &Decision) -> Option<u8> {
        match decision {
            Decision::Answer(answer) => Some(answer[3] & 0x0f),
            _ => None,
        }
    }

    #[test]
    fn known_names_are_answered_and_others_forwarded() {
        let answer = decide(&query(1, "WEB", 1), &table(true), true);
        assert!(matches!(&answer, Decision::Answer(answer) if answer.ends_with(&[10, 0, 0, 2])));
        let six = decide(&query(1, "web", 28), &table(true), true);
        assert!(matches!(&six, Decision::Answer(answer) if answer[7] == 0) && code(&six) == Some(0));
        assert_eq!(decide(&query(1, "example.org", 1), &table(true), true), Decision::Forward);
        let back = decide(&query(1, "2.0.0.10.in-addr.arpa", 12), &table(true), true);
        assert!(matches!(&back, Decision::Answer(answer) if answer.ends_with(b"\x03web\x04shop\0")));
    }

    #[test]
    fn internal_networks_ask_nobody() {
        assert_eq!(code(&decide(&query(1, "example.org", 1), &table(false), true)), Some(3));
    }

    #[test]
    fn answers_and_noise_are_ignored() {
        assert_eq!(decide(b"short", &table(true), true), Decision::Ignore);
        let mut answer = query(1, "web", 1);
        answer[2] |= 0x80;
        assert_eq!(decide(&answer, &table(true), true), Decision::Ignore);
    }
}
