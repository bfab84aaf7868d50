//! Keeping a small process small: what the C library's allocator gives back to the kernel, and when, and the pages of
//! code that only its start needed.
//!
//! With another C library the allocator is left alone.

use std::ffi::CStr;
use std::ops::Range;

/// At least that of the kernel: larger pages are multiples.
const PAGE: usize = 64 * 1024;

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
/// with a fault of a microsecond.
pub fn forget_code() {
    let mut segments: Vec<Range<usize>> = Vec::new();
    // SAFETY: dl_iterate_phdr(3) calls `collect` with what it promises there and with our pointer, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut segments).cast()) };
    for Range { start, end } in segments {
        let start = std::ptr::without_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is within a segment that is mapped from a file without write permission, so that what is read there
        // next is the same text again. Libraries stay for good.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// Adds the segments of one object that can't be written; what the loader relocates is never in one of those.
unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _: libc::size_t, into: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `forget_code` passed this function and its own vector, which nobody else uses meanwhile.
    let (info, segments) = unsafe { (&*info, &mut *into.cast::<Vec<Range<usize>>>()) };
    // SAFETY: the loader says where the object's headers are and how many.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    // SAFETY: a string, as the loader promises, or null.
    let is_kernels =
        !info.dlpi_name.is_null() && unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes().starts_with(b"linux-");
    let base = usize::try_from(info.dlpi_addr).unwrap_or_default();
    let is_clean = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    for header in headers.iter().filter(is_clean).filter(|_| !is_kernels) {
        let number = |value: u64| usize::try_from(value).unwrap_or_default();
        let start = base + number(header.p_vaddr);
        // Only whole pages: the others may be shared with a neighbour.
        let pages = start.next_multiple_of(PAGE)..(start + number(header.p_memsz)) / PAGE * PAGE;
        if !pages.is_empty() {
            segments.push(pages);
        }
    }
    0
}

#[cfg(test)]
mod tests {
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
