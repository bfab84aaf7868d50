//! Keeping a small process small: what the C library's allocator gives back to the kernel, and when.
//!
//! With another C library both do nothing.

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

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_usable_after_both() {
        super::stay_small();
        let before: Vec<Vec<u8>> = (0..100).map(|size| vec![7; size * 1000]).collect();
        super::trim();
        assert!(before.iter().flatten().all(|byte| *byte == 7));
    }
}
