//! What `/proc/self/cmdline` and `/proc/self/environ` show of a process that became another one without exec.

use std::ffi::CString;

use rustix::io::Errno;

/// The places of a process's parts, in the kernel's layout (`struct prctl_mm_map`, include/uapi/linux/prctl.h).
#[repr(C)]
struct Places {
    /// `start_code`, `end_code`, `start_data`, `end_data`, `start_brk`, `brk`, `start_stack`, `arg_start`, `arg_end`,
    /// `env_start`, `env_end`.
    addresses: [u64; 11],
    auxiliary: u64,
    auxiliary_size: u32,
    program: u32,
}

const PR_SET_MM: libc::c_int = 35;
const PR_SET_MM_MAP: libc::c_ulong = 14;

/// Shows `words` as this process's command line, and no environment, for as long as it runs no other program.
///
/// # Errors
/// `EINVAL` from kernels that are built without it; `NOENT` without a `/proc` that shows this process.
pub fn show(words: &[CString]) -> Result<(), Errno> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|_| Errno::NOENT)?;
    // the name, in brackets, may hold anything; the fields after it are the third and on (proc(5))
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map_or("", |(_, tail)| tail)
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().filter(|at| *at != 0).ok_or(Errno::INVAL);
    let text: Vec<u8> = words.iter().flat_map(|word| word.as_bytes_with_nul()).copied().collect();
    let length = text.len() as u64;
    let text: &'static [u8] = Box::leak(text.into_boxed_slice()); // the kernel reads it whenever it is asked
    let start = text.as_ptr().expose_provenance() as u64;
    // SAFETY: sbrk(3) with nothing to add only tells where the heap ends.
    let heap_end = unsafe { libc::sbrk(0) }.expose_provenance() as u64;
    let end = start + length;
    let places = Places {
        addresses: [
            field(26)?,
            field(27)?,
            field(45)?,
            field(46)?,
            field(47)?,
            heap_end,
            field(28)?,
            start,
            end,
            end,
            end,
        ],
        auxiliary: 0,
        auxiliary_size: 0,
        program: u32::MAX,
    };
    // SAFETY: the kernel reads one `Places`, of the size named, and writes down addresses it only ever reads for others;
    // the heap stays where it is. The text was leaked, so it is there for good.
    let result = unsafe {
        libc::prctl(
            PR_SET_MM,
            PR_SET_MM_MAP,
            (&raw const places).expose_provenance() as libc::c_ulong,
            size_of::<Places>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own: the test program's command line is read by others.
    #[test]
    fn a_command_line_is_shown() {
        const ASKED: &str = "BOXYARD_TEST_COMMAND_LINE";
        if std::env::var_os(ASKED).is_some() {
            let words = ["/sbin/docker-init", "--", "sleep", "5"].map(|word| CString::new(word).unwrap());
            show(&words).unwrap();
            assert_eq!(std::fs::read("/proc/self/cmdline").unwrap(), b"/sbin/docker-init\0--\0sleep\x005\0");
            assert_eq!(std::fs::read("/proc/self/environ").unwrap(), b"");
            return;
        }
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::command_line::tests::a_command_line_is_shown"])
            .env(ASKED, "1")
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    }
}
