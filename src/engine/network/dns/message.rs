//! The little of DNS (RFC 1035) that a resolver for known names needs: read one question, answer with addresses or a name.
//! Everything else passes through as bytes. Pure.

use std::net::Ipv4Addr;

/// How long an answer may be kept: members come and go, and asking again costs nothing.
const TTL_SECONDS: u32 = 5;
/// What fits a datagram without EDNS.
const DATAGRAM: usize = 512;
const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// The name of the question, as an offset into the message.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];

/// What is asked for, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// A reverse lookup.
    Ptr,
    /// Whatever there is.
    Any,
    /// Something a name of ours doesn't have.
    Other,
}

/// How an answer ends, apart from what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The name exists, whether or not there is anything of the kind asked for.
    Fine = 0,
    /// The question can't be read.
    FormatError = 1,
    /// Whom we asked did not answer.
    ServerFailure = 2,
    /// There is no such name.
    NoSuchName = 3,
    /// No ordinary question.
    NotImplemented = 4,
}

/// A question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name in lower case, without the final dot.
    pub name: String,
    /// What is asked for.
    pub kind: Kind,
    /// Where the question's section ends.
    end: usize,
}

/// The two bytes that pair a question with its answer; `None` where there is no header.
pub fn id(message: &[u8]) -> Option<u16> {
    message.get(..HEADER)?;
    Some(u16::from_be_bytes([*message.first()?, *message.get(1)?]))
}

/// Writes another ID into a message.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// Whether a message is an answer (and so nothing to answer).
pub fn is_answer(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Whether an answer says that its server could not or would not find out.
pub fn is_refusal(answer: &[u8]) -> bool {
    const REFUSED: u8 = 5;
    let code = answer.get(3).map_or(0, |flags| flags & 0x0f);
    code == Outcome::ServerFailure as u8 || code == REFUSED
}

/// Whether `answer` is about the same question as `query`. Names compare without case, as servers may change it.
pub fn answers(answer: &[u8], query: &[u8]) -> bool {
    match (read(answer), read(query)) {
        (Ok(one), Ok(other)) => is_answer(answer) && one == other,
        _ => false,
    }
}

/// Reads the question of a query.
///
/// # Errors
/// The outcome to answer with.
pub fn read(query: &[u8]) -> Result<Question, Outcome> {
    let word = |at: usize| Some(u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]));
    let opcode = query.get(2).map(|flags| flags >> 3 & 0x0f);
    if opcode != Some(0) {
        return Err(Outcome::NotImplemented);
    }
    if word(4) != Some(1) {
        return Err(Outcome::FormatError);
    }
    let (name, after) = read_name(query).ok_or(Outcome::FormatError)?;
    let kind = word(after).ok_or(Outcome::FormatError)?;
    let class = word(after + 2).ok_or(Outcome::FormatError)?;
    let kind = match (kind, class) {
        (1, CLASS_IN) => Kind::A,
        (12, CLASS_IN) => Kind::Ptr,
        (255, CLASS_IN) => Kind::Any,
        _ => Kind::Other,
    };
    Ok(Question { name, kind, end: after + 4 })
}

/// The name of the first question, and where it ends. Its labels must be text: names of ours are.
fn read_name(message: &[u8]) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((name, at + 1));
        }
        // A question's name is not compressed; the two high bits would say so.
        let label = message.get(at + 1..at + 1 + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        if name.len() > 255 {
            return None;
        }
        at += 1 + length;
    }
}

/// The address that a reverse lookup's name means.
pub fn reverse(name: &str) -> Option<Ipv4Addr> {
    let mut parts = name.strip_suffix(".in-addr.arpa")?.split('.').map(str::parse::<u8>);
    let mut octets = [0; 4];
    for octet in octets.iter_mut().rev() {
        *octet = parts.next()?.ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// An answer without content.
pub fn empty(query: &[u8], outcome: Outcome) -> Vec<u8> {
    let end = read(query).map_or(HEADER, |question| question.end);
    let mut answer = head(query, end, outcome);
    if end == HEADER {
        answer[4..6].fill(0);
    }
    answer
}

/// An answer of addresses, beginning with another one each time (by the query's ID); cut, and marked as cut, where it
/// doesn't fit a datagram.
pub fn addresses(query: &[u8], question: &Question, list: &[Ipv4Addr], is_datagram: bool) -> Vec<u8> {
    let mut answer = head(query, question.end, Outcome::Fine);
    let first = usize::from(id(query).unwrap_or(0)) % list.len().max(1);
    let mut count: u16 = 0;
    for address in list.iter().cycle().skip(first).take(list.len()) {
        if is_datagram && answer.len() + 16 > DATAGRAM {
            answer[2] |= 0x02;
            break;
        }
        record(&mut answer, 1, &address.octets());
        count = count.saturating_add(1);
    }
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    answer
}

/// An answer of one name.
pub fn pointer(query: &[u8], question: &Question, name: &str) -> Vec<u8> {
    let mut answer = head(query, question.end, Outcome::Fine);
    let mut encoded = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Container names can be longer than a label; such a name has no form in DNS.
        let Some(length) = u8::try_from(label.len()).ok().filter(|length| *length < 64) else {
            return empty(query, Outcome::NoSuchName);
        };
        encoded.push(length);
        encoded.extend(label.as_bytes());
    }
    encoded.push(0);
    record(&mut answer, 12, &encoded);
    answer[6..8].copy_from_slice(&1u16.to_be_bytes());
    answer
}

/// Header and question of an answer: recursion was desired as the query says, and is available.
fn head(query: &[u8], end: usize, outcome: Outcome) -> Vec<u8> {
    let mut answer = query.get(..end).unwrap_or_default().to_vec();
    answer.resize(end.max(HEADER), 0);
    answer[2] = 0x80 | (answer[2] & 0x79);
    answer[3] = 0x80 | outcome as u8;
    // Counts of answers, authorities and additional records; EDNS of the query is not taken up.
    answer[6..12].fill(0);
    answer
}

fn record(answer: &mut Vec<u8>, kind: u16, data: &[u8]) {
    answer.extend(QUESTION_NAME);
    answer.extend(kind.to_be_bytes());
    answer.extend(CLASS_IN.to_be_bytes());
    answer.extend(TTL_SECONDS.to_be_bytes());
    answer.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    answer.extend(data);
}

/// A query as a client would send it.
#[cfg(test)]
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[..2].copy_from_slice(&id.to_be_bytes());
    message[2] = 1;
    message[5] = 1;
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read() {
        let question = read(&query(7, "Web.Shop", 1)).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("web.shop", Kind::A));
        assert_eq!(read(&query(7, "web", 28)).unwrap().kind, Kind::Other);
        assert_eq!(reverse("2.0.17.172.in-addr.arpa"), Some(Ipv4Addr::new(172, 17, 0, 2)));
        assert_eq!(reverse("0.17.172.in-addr.arpa"), None);
        assert_eq!(reverse("9.2.0.17.172.in-addr.arpa"), None);
    }

    #[test]
    fn what_is_cut_or_twisted_is_refused_and_never_panics() {
        let whole = query(7, "web.shop", 1);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err());
            empty(&whole[..end], Outcome::FormatError);
        }
        let mut pointing = whole.clone();
        pointing[HEADER] = 0xc0;
        assert_eq!(read(&pointing), Err(Outcome::FormatError));
        let mut status = whole;
        status[2] = 2 << 3;
        assert_eq!(read(&status), Err(Outcome::NotImplemented));
    }

    #[test]
    fn answers_rotate_and_are_cut_to_a_datagram() {
        let list: Vec<Ipv4Addr> = (1..=40).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        let query = query(3, "web", 1);
        let question = read(&query).unwrap();
        let answer = addresses(&query, &question, &list[..2], true);
        assert_eq!(answer[answer.len() - 4..], [10, 0, 0, 1], "the second comes first");
        assert_eq!(answer[7], 2);
        assert!(answers(&answer, &query));
        let cut = addresses(&query, &question, &list, true);
        assert!(cut.len() <= DATAGRAM && cut[2] & 0x02 != 0);
        assert_eq!(addresses(&query, &question, &list, false)[7], 40);
    }

    #[test]
    fn pointers_are_names() {
        let query = query(3, "2.0.17.172.in-addr.arpa", 12);
        let answer = pointer(&query, &read(&query).unwrap(), "web.shop");
        assert!(answer.ends_with(b"\x03web\x04shop\0"));
    }
}
