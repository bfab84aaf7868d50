//! What a program needs to run: reads an ELF file's interpreter and library names.
//!
//! Only what "image from this host" needs, for 32- and 64-bit little-endian files. Pure: bytes in, names out; whatever
//! is not such a file simply needs nothing.

/// What an ELF file asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The dynamic loader's path; `None` for a static program or a library.
    pub interpreter: Option<String>,
    /// The names of the libraries it links to.
    pub libraries: Vec<String>,
    /// Where it says to look for them first (`DT_RUNPATH`, `DT_RPATH`).
    pub search: Vec<String>,
    /// Class and machine; a library must have the same.
    pub machine: (u8, u16),
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Reads what the file `bytes` needs; `None` if it is no ELF file this can read.
pub(super) fn needs(bytes: &[u8]) -> Option<Needs> {
    let file = Elf { bytes, is_64: bytes.get(4)? == &2 };
    if bytes.get(..4)? != b"\x7fELF" || bytes.get(5)? != &1 {
        return None;
    }
    let machine = (*bytes.get(4)?, u16::try_from(file.number(18, 2)?).ok()?);
    let mut needs = Needs { machine, ..Needs::default() };
    let segments = file.segments()?;
    for segment in &segments {
        match segment.kind {
            PT_INTERP => needs.interpreter = file.text(segment.offset),
            PT_DYNAMIC => file.dynamic(segment, &segments, &mut needs)?,
            _ => {}
        }
    }
    Some(needs)
}

struct Elf<'a> {
    bytes: &'a [u8],
    is_64: bool,
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl Elf<'_> {
    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = self.bytes.get(at..at.checked_add(size)?)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&self, at: u64) -> Option<String> {
        let rest = self.bytes.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
        String::from_utf8(rest.get(..end)?.to_vec()).ok()
    }

    /// Field offsets are those of `Elf64_Ehdr`/`Elf64_Phdr` and their 32-bit forms (`elf.h`).
    fn segments(&self) -> Option<Vec<Segment>> {
        let (table, size, count) = if self.is_64 { (32, 54, 56) } else { (28, 42, 44) };
        let word = if self.is_64 { 8 } else { 4 };
        let start = self.number(table, word)?;
        let (size, count) = (self.number(size, 2)?, self.number(count, 2)?);
        (0..count)
            .map(|at| {
                let at = start.checked_add(at * size)?;
                let (offset, address, length) = if self.is_64 { (8, 16, 32) } else { (4, 8, 16) };
                Some(Segment {
                    kind: self.number(at, 4)?,
                    offset: self.number(at.checked_add(offset)?, word)?,
                    address: self.number(at.checked_add(address)?, word)?,
                    size: self.number(at.checked_add(length)?, word)?,
                })
            })
            .collect()
    }

    fn dynamic(&self, segment: &Segment, segments: &[Segment], needs: &mut Needs) -> Option<()> {
        let word = if self.is_64 { 8 } else { 4 };
        let step = 2 * word as u64;
        let mut pairs = Vec::new();
        for at in (0..segment.size.min(1 << 20) / step).map(|index| segment.offset + index * step) {
            let pair = (self.number(at, word)?, self.number(at + word as u64, word)?);
            if pair.0 == 0 {
                break;
            }
            pairs.push(pair);
        }
        let Some((_, table)) = pairs.iter().find(|(tag, _)| *tag == DT_STRTAB) else { return Some(()) };
        let inside = |segment: &&Segment| {
            segment.kind == PT_LOAD && (segment.address..segment.address.saturating_add(segment.size)).contains(table)
        };
        let load = segments.iter().find(inside)?;
        let start = table - load.address + load.offset;
        for (tag, value) in pairs {
            let text = || self.text(start.checked_add(value)?);
            match tag {
                DT_NEEDED => needs.libraries.push(text()?),
                DT_RPATH | DT_RUNPATH => needs.search.extend(text()?.split(':').map(str::to_owned)),
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_test_tells_its_loader_and_libc() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&own).unwrap();
        assert!(needs.interpreter.is_some_and(|loader| loader.contains("/ld")));
        assert!(needs.libraries.iter().any(|library| library.contains("libc.")), "{:?}", needs.libraries);
    }

    #[test]
    fn damaged_files_need_nothing() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs(b"#!/bin/sh\n"), None);
        assert_eq!(needs(b"\x7fELF"), None);
        for length in (0..4096.min(own.len())).step_by(7) {
            let _ = needs(&own[..length]);
        }
    }
}
