//! The 512-byte tar header: reading its fields, and making one.
//!
//! Three dialects share it: old tar, POSIX ustar (with a name prefix; PAX records go before it) and GNU (binary
//! numbers, its own sparse map). Which is which is told by the magic at offset 257. Pure; no I/O.

/// A tar archive is a sequence of blocks of this size.
pub(super) const BLOCK: usize = 512;

/// The type flags this room knows (POSIX `pax` and GNU tar's `tar.h`).
pub(super) mod kind {
    pub const REGULAR: u8 = b'0';
    pub const OLD_REGULAR: u8 = 0;
    pub const HARDLINK: u8 = b'1';
    pub const SYMLINK: u8 = b'2';
    pub const CHAR: u8 = b'3';
    pub const BLOCK: u8 = b'4';
    pub const DIRECTORY: u8 = b'5';
    pub const FIFO: u8 = b'6';
    pub const CONTIGUOUS: u8 = b'7';
    pub const GNU_SPARSE: u8 = b'S';
    pub const GNU_LONG_NAME: u8 = b'L';
    pub const GNU_LONG_LINK: u8 = b'K';
    pub const PAX: u8 = b'x';
    pub const PAX_GLOBAL: u8 = b'g';
}

/// Keys and values of PAX records, in the archive's order.
pub(super) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// A sparse file's pieces: offset and length.
pub(super) type Segments = Vec<(u64, u64)>;

/// One header block, as read.
#[derive(Clone)]
pub(super) struct Header([u8; BLOCK]);

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("its header checksum does not match")]
    Checksum,
    #[error("its {0} is no number")]
    Number(&'static str),
}

impl Header {
    /// Takes a block that is not all zero, and checks its checksum.
    pub fn read(block: [u8; BLOCK]) -> Result<Self, HeaderError> {
        let header = Self(block);
        let stored = parse_number(header.field(148, 8)).ok_or(HeaderError::Checksum)?;
        let (unsigned, signed) = header.checksums();
        if stored == unsigned || stored == signed { Ok(header) } else { Err(HeaderError::Checksum) }
    }

    pub fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, joined with ustar's prefix.
    pub fn name(&self) -> Vec<u8> {
        let name = until_nul(self.field(0, 100));
        let prefix = if self.is_ustar() { until_nul(self.field(345, 155)) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub fn link(&self) -> Vec<u8> {
        until_nul(self.field(157, 100)).to_vec()
    }

    pub fn mode(&self) -> Result<u32, HeaderError> {
        // Some writers put the file type here too; only permission bits count.
        Ok((self.number("mode", 100, 8)? & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<i64, HeaderError> {
        self.number("uid", 108, 8)
    }

    pub fn gid(&self) -> Result<i64, HeaderError> {
        self.number("gid", 116, 8)
    }

    pub fn size(&self) -> Result<u64, HeaderError> {
        u64::try_from(self.number("size", 124, 12)?).map_err(|_| HeaderError::Number("size"))
    }

    pub fn mtime(&self) -> Result<i64, HeaderError> {
        self.number("mtime", 136, 12)
    }

    /// Device numbers; old tar has none.
    pub fn device(&self) -> Result<(u32, u32), HeaderError> {
        let part = |name, at| {
            let number = if self.is_old() { 0 } else { self.number(name, at, 8)? };
            u32::try_from(number).map_err(|_| HeaderError::Number(name))
        };
        Ok((part("major", 329)?, part("minor", 337)?))
    }

    /// GNU's old sparse map: the segments in this header, whether blocks with more follow, and the file's real size.
    pub fn gnu_sparse(&self) -> Result<(Segments, bool, u64), HeaderError> {
        let real = u64::try_from(self.number("real size", 483, 12)?).map_err(|_| HeaderError::Number("real size"))?;
        Ok((sparse_segments(self.field(386, 96))?, self.0[482] != 0, real))
    }

    fn is_ustar(&self) -> bool {
        self.field(257, 6) == b"ustar\0"
    }

    fn is_old(&self) -> bool {
        self.field(257, 5) != b"ustar"
    }

    fn number(&self, name: &'static str, at: usize, length: usize) -> Result<i64, HeaderError> {
        parse_number(self.field(at, length)).ok_or(HeaderError::Number(name))
    }

    /// Offsets are constants of the format, so the range always exists.
    fn field(&self, at: usize, length: usize) -> &[u8] {
        self.0.get(at..at + length).unwrap_or_default()
    }

    /// The sum of all bytes with the checksum field as blanks; some old writers summed signed bytes.
    fn checksums(&self) -> (i64, i64) {
        let mut sums = (0, 0);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            sums.0 += i64::from(byte);
            sums.1 += i64::from(byte as i8);
        }
        sums
    }
}

/// Pairs of offset and length, 12 bytes each number; an empty pair ends the list.
pub(super) fn sparse_segments(bytes: &[u8]) -> Result<Segments, HeaderError> {
    let refusal = HeaderError::Number("sparse map");
    let mut segments = Vec::new();
    for pair in bytes.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        if until_nul(offset).is_empty() && until_nul(length).is_empty() {
            break;
        }
        let number = |field| parse_number(field).and_then(|number| u64::try_from(number).ok());
        match (number(offset), number(length)) {
            (Some(offset), Some(length)) => segments.push((offset, length)),
            _ => return Err(refusal),
        }
    }
    Ok(segments)
}

/// Octal text (blank or NUL ends it; nothing at all is 0), or GNU's binary form where the first bit is set.
fn parse_number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut number: i64 = if negative { i64::from(*first as i8) } else { i64::from(first & 0x7f) };
        for byte in rest {
            number = number.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(number);
    }
    let text = until_nul(field).trim_ascii();
    let mut number: i64 = 0;
    for byte in text {
        let digit = char::from(*byte).to_digit(8)?;
        number = number.checked_mul(8)?.checked_add(i64::from(digit))?;
    }
    Some(number)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What a header to be written says.
#[derive(Debug, Clone, Default)]
pub(super) struct NewHeader<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub link: &'a [u8],
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: i64,
    pub mtime_ns: u32,
    pub device: (u32, u32),
    /// Whole PAX records beside those that long names and big numbers need (xattrs).
    pub pax: Records,
}

impl NewHeader<'_> {
    /// The blocks that stand before the content: PAX records where ustar's fields are too small, then the header.
    pub fn blocks(&self) -> Vec<u8> {
        let mut pax = Vec::new();
        let fits = |value: u64, digits: u32| value < 1 << (3 * digits);
        if self.name.len() > 100 || !self.name.is_ascii() {
            pax.push((b"path".to_vec(), self.name.to_vec()));
        }
        if self.link.len() > 100 || !self.link.is_ascii() {
            pax.push((b"linkpath".to_vec(), self.link.to_vec()));
        }
        for (key, value, digits) in
            [("uid", u64::from(self.uid), 7), ("gid", u64::from(self.gid), 7), ("size", self.size, 11)]
        {
            if !fits(value, digits) {
                pax.push((key.into(), value.to_string().into_bytes()));
            }
        }
        let whole_seconds = u64::try_from(self.mtime).ok().filter(|seconds| fits(*seconds, 11));
        if self.mtime_ns != 0 || whole_seconds.is_none() {
            pax.push((b"mtime".to_vec(), decimal_time(self.mtime, self.mtime_ns).into_bytes()));
        }
        pax.extend(self.pax.iter().cloned());
        pax.sort();

        let mut blocks = Vec::with_capacity(3 * BLOCK);
        if !pax.is_empty() {
            let records: Vec<u8> = pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            let header = NewHeader {
                kind: kind::PAX,
                name: b"PaxHeaders",
                mode: 0o644,
                size: records.len() as u64,
                ..NewHeader::default()
            };
            blocks.extend_from_slice(&header.block());
            let padding = padding(records.len() as u64);
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len() + padding, 0);
        }
        blocks.extend_from_slice(&self.block());
        blocks
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, length: usize, bytes: &[u8]| {
            let count = bytes.len().min(length);
            if let (Some(target), Some(source)) = (block.get_mut(at..at + count), bytes.get(..count)) {
                target.copy_from_slice(source);
            }
        };
        let octal = |value: u64, digits: usize| {
            let value = if value < 1 << (3 * digits) { value } else { 0 };
            format!("{value:0digits$o}").into_bytes()
        };
        put(0, 100, self.name);
        put(100, 8, &octal(u64::from(self.mode), 7));
        put(108, 8, &octal(u64::from(self.uid), 7));
        put(116, 8, &octal(u64::from(self.gid), 7));
        put(124, 12, &octal(self.size, 11));
        put(136, 12, &octal(u64::try_from(self.mtime).unwrap_or(0), 11));
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, self.link);
        put(257, 8, b"ustar\x0000");
        if matches!(self.kind, kind::CHAR | kind::BLOCK) {
            put(329, 8, &octal(u64::from(self.device.0), 7));
            put(337, 8, &octal(u64::from(self.device.1), 7));
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let text = format!("{sum:06o}\0 ");
        if let Some(target) = block.get_mut(148..156) {
            target.copy_from_slice(text.as_bytes());
        }
        block
    }
}

/// The blocks that stand before a regular file's content in an archive of our own making (`save`).
pub(crate) fn file_header(name: &str, size: u64) -> Vec<u8> {
    NewHeader { kind: kind::REGULAR, name: name.as_bytes(), mode: 0o644, size, ..NewHeader::default() }.blocks()
}

/// How many zero bytes follow content of this size.
pub(crate) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + bare.to_string().len();
    if length.to_string().len() + bare != length {
        length = bare + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Seconds and nanoseconds (always counted forward) as a decimal number.
fn decimal_time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (sign, total) = if total < 0 { ("-", -total) } else { ("", total) };
    let fraction = format!("{:09}", total % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", total / 1_000_000_000)
}

/// Reads a PAX time; digits beyond nanoseconds are cut.
pub(super) fn parse_decimal_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() > 18 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let total = sign * (whole * 1_000_000_000 + digits.parse::<i128>().ok()?);
    let seconds = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
    Some((seconds, u32::try_from(total.rem_euclid(1_000_000_000)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_reads_back() {
        let new = NewHeader {
            kind: kind::CHAR,
            name: b"dev/null",
            mode: 0o666,
            uid: 7,
            gid: 8,
            mtime: 1_700_000_000,
            device: (1, 3),
            ..Default::default()
        };
        let blocks = new.blocks();
        assert_eq!(blocks.len(), BLOCK);
        let header = Header::read(blocks.try_into().unwrap()).unwrap();
        assert_eq!(header.name(), b"dev/null");
        assert_eq!((header.mode(), header.uid(), header.gid()), (Ok(0o666), Ok(7), Ok(8)));
        assert_eq!((header.mtime(), header.device(), header.size()), (Ok(1_700_000_000), Ok((1, 3)), Ok(0)));
    }

    #[test]
    fn what_ustar_cannot_say_goes_into_pax_records() {
        let name = [b"x".repeat(150), b"/\xff".to_vec()].concat();
        let new =
            NewHeader { kind: kind::REGULAR, name: &name, size: 1 << 40, mtime: 1, mtime_ns: 5, ..Default::default() };
        let blocks = new.blocks();
        assert_eq!(blocks.len(), 3 * BLOCK);
        let text = String::from_utf8_lossy(&blocks);
        assert!(text.contains("21 mtime=1.000000005\n"), "{text}");
        assert!(text.contains("22 size=1099511627776\n"), "{text}");
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        let table: [(&[u8], Option<i64>); 8] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"8000000\0", None),
            (b"-644\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, number) in table {
            assert_eq!(parse_number(field), number, "{field:?}");
        }
    }

    #[test]
    fn pax_lengths_count_themselves() {
        for length in [1, 4, 5, 6, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 994] {
            let record = pax_record(b"k", &b"v".repeat(length));
            let said: usize = std::str::from_utf8(&record).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, record.len(), "{length}");
        }
    }

    #[test]
    fn times_read_back() {
        for time in [(0, 0), (1, 5), (-1, 500_000_000), (-1, 0), (1_700_000_000, 123_456_789)] {
            assert_eq!(parse_decimal_time(decimal_time(time.0, time.1).as_bytes()), Some(time), "{time:?}");
        }
        assert_eq!(parse_decimal_time(b"12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(parse_decimal_time(b"x"), None);
    }
}
