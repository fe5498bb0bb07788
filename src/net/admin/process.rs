//! What the system says of this process, where it says it in `/proc`.

/// Resources in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessInfo {
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// File descriptors allowed; `None` also when there is no limit.
    pub(super) max_fds: Option<u64>,
}

impl ProcessInfo {
    /// Reads it now; fields are `None` where there is no `/proc`.
    pub(super) fn read() -> Self {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        // The directory that is being read is open itself.
        let open = std::fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count().saturating_sub(1));
        ProcessInfo {
            resident_bytes: resident_bytes(&file("status")),
            open_fds: open.and_then(|n| u64::try_from(n).ok()),
            max_fds: max_fds(&file("limits")),
        }
    }
}

/// The line `VmRSS:     1234 kB` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit in `Max open files   1024   4096   files` of `/proc/self/limits`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    5120 kB\nThreads:\t1\n"), Some(5120 * 1024));
        assert_eq!(
            max_fds("Max processes  7  7  processes\nMax open files   1024   4096  files\n"),
            Some(1024)
        );
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!((resident_bytes(""), max_fds("")), (None, None));
        assert_eq!(resident_bytes("VmRSS: many kB"), None);
        assert_eq!(max_fds("Max open files   unlimited   unlimited  files"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process() {
        let info = ProcessInfo::read();
        assert!(info.resident_bytes.is_some_and(|b| b > 100_000), "{info:?}");
        assert!(info.open_fds.is_some_and(|n| n >= 3), "{info:?}");
    }
}
