//! Keeping a small process small: what the C library's allocator gives back to the kernel, and when, and the pages of
//! code that only its start needed.
//!
//! With another C library the allocator is left alone.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;

/// Allocations from this size on are the kernel's own pages: untouched ones cost nothing, and freed ones go at once.
#[cfg(target_env = "gnu")]
const OWN_PAGES_FROM: libc::c_int = 32 * 1024;

/// Prefers little memory to speed, from here on. Called once, by a process of one thread.
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and refuses what it does not know; no other thread allocates meanwhile.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_FROM);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives the kernel back what is free now.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time; it only releases pages that nothing allocated is on.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of this process's pages of code and constants; those that are used again come back from the page cache, each
/// with a fault of a microsecond. Does nothing where `/proc` can't be read.
pub fn forget_code() {
    let Ok(maps) = File::open("/proc/self/smaps") else { return };
    // Collected first: whatever is mapped anew meanwhile is not in it.
    let clean = clean_mappings(BufReader::with_capacity(4096, maps));
    for Range { start, end } in clean {
        let start = std::ptr::without_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is one mapping of a file that can't be written and of which no page is our own copy, see
        // `clean_mappings`: what is read there next is the same text again. Nothing unmaps it meanwhile, as libraries stay for good.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// The mappings in `smaps` (proc_pid_smaps(5)) that are of files, can't be written, and are as they are in the file: a
/// relocated table is not, nor code with a breakpoint.
fn clean_mappings(smaps: impl BufRead) -> Vec<Range<usize>> {
    let mut clean = Vec::new();
    let mut current = None;
    for line in smaps.lines().map_while(Result::ok) {
        if let Some(mapping) = file_mapping(&line) {
            current = mapping;
        } else if line.strip_prefix("Anonymous:").is_some_and(|size| size.trim() == "0 kB") {
            clean.extend(current.take());
        }
    }
    clean
}

/// What the first line of a mapping says: `None` for other lines, and `Some(None)` where it is no such mapping.
fn file_mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let range = number(start)?..number(end)?;
    let permissions = words.next()?;
    let inode = words.nth(2)?;
    let is_wanted = permissions.starts_with('r') && !permissions.contains('w') && permissions.ends_with('p');
    Some((is_wanted && inode != "0").then_some(range))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_files_as_they_are_on_disk_are_forgotten() {
        let smaps = "\
1000-2000 r-xp 00001000 00:2a 77                         /usr/bin/boxyard
Size:                  4 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
2000-3000 r--p 00002000 00:2a 77                         /usr/bin/boxyard
Anonymous:             4 kB
3000-4000 rw-p 00003000 00:2a 77                         /usr/bin/boxyard
Anonymous:             0 kB
4000-5000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
5000-6000 r--s 00000000 00:2a 78                         /dev/shm/x
Anonymous:             0 kB
6000-7000 r--p 00000000 00:2a 79                         /usr/lib/libc.so.6
Anonymous:             0 kB
";
        assert_eq!(super::clean_mappings(smaps.as_bytes()), [0x1000..0x2000, 0x6000..0x7000]);
    }

    #[test]
    fn code_goes_on_after_it_was_forgotten() {
        let words: Vec<String> = (0..100).map(|number| format!("{number}")).collect();
        super::forget_code();
        assert_eq!(words.join("").len(), 190);
    }

    #[test]
    fn memory_is_usable_after_both() {
        super::stay_small();
        let before: Vec<Vec<u8>> = (0..100).map(|size| vec![7; size * 1000]).collect();
        super::trim();
        assert!(before.iter().flatten().all(|byte| *byte == 7));
    }
}
