//! What the system says of this process and of itself, where it says it in `/proc`.

use std::fs::read_to_string;

use crate::proxy::Host;

/// Clock ticks per second in `/proc/self/stat`: the same on all architectures of Linux (`USER_HZ`).
const TICKS: u64 = 100;

/// Looks now. These files are made by the kernel on the spot, so nothing waits for a disk. What is not known is empty
/// or 0.
pub fn look(wall_us: u64, run: u64) -> Host {
    let file = |name: &str| read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let (user_us, system_us) = cpu_us(&file("self/stat")).unwrap_or_default();
    Host {
        wall_us,
        run,
        os: os(&file("sys/kernel/ostype"), &file("sys/kernel/osrelease")),
        executable: std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default(),
        resident_bytes: resident_bytes(&file("self/status")).unwrap_or_default(),
        user_us,
        system_us,
    }
}

/// Resident memory in bytes and CPU time in microseconds of this process; 0 where nobody tells.
pub(super) fn usage() -> (u64, u64) {
    let file = |name: &str| read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (user_us, system_us) = cpu_us(&file("stat")).unwrap_or_default();
    (resident_bytes(&file("status")).unwrap_or_default(), user_us + system_us)
}

fn os(kind: &str, release: &str) -> String {
    let arch = std::env::consts::ARCH;
    match kind.trim() {
        "" => format!("{} {arch}", std::env::consts::OS),
        kind => format!("{kind} {} {arch}", release.trim()),
    }
}

/// The line `VmRSS:     1234 kB` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Fields 14 and 15 of `/proc/self/stat`, user and system time. The second field, a name in parentheses, may hold blanks.
fn cpu_us(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut next = || Some(fields.next()?.parse::<u64>().ok()?.saturating_mul(1_000_000 / TICKS));
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 13 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_us(stat), Some((250_000, 130_000)));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    5120 kB\n"), Some(5120 * 1024));
        assert!(os("Linux\n", "6.1.0\n").starts_with("Linux 6.1.0 "));
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!((cpu_us(""), resident_bytes("")), (None, None));
        assert!(!os("", "").starts_with(' '));
    }
}
