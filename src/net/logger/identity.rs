//! Who writes the log: program, host, user and process, which name glog's files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::zone::Stamp;
use crate::config::{Severity, PROGRAM};

#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) program: String,
    /// Up to the first dot, as in glog.
    pub(super) host: String,
    pub(super) user: String,
    pub(super) pid: u32,
}

impl Identity {
    pub(super) fn of_this_process() -> Self {
        Identity {
            program: plain(program().unwrap_or_else(|| PROGRAM.into())),
            host: plain(host().unwrap_or_else(|| "unknownhost".into())),
            user: plain(user().unwrap_or_else(|| "unknownuser".into())),
            pid: std::process::id(),
        }
    }

    /// The name of a log file begun at `stamp`.
    pub(super) fn file_name(&self, severity: Severity, stamp: &Stamp) -> String {
        let Identity { program, host, user, pid } = self;
        let Stamp { year, month, day, hour, minute, second, .. } = stamp;
        format!("{program}.{host}.{user}.log.{severity}.{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.{pid}")
    }

    /// The name of the symlink to the newest log file.
    pub(super) fn link_name(&self, severity: Severity) -> String {
        format!("{}.{severity}", self.program)
    }
}

/// Keeps a name from leaving its directory.
fn plain(name: String) -> String {
    name.replace(['/', '\\'], "_")
}

fn program() -> Option<String> {
    let path = std::env::args_os().next()?;
    Some(Path::new(&path).file_name()?.to_string_lossy().into_owned())
}

fn host() -> Option<String> {
    let from_file = |path| non_empty(std::fs::read_to_string(path).ok());
    let full = from_file("/proc/sys/kernel/hostname")
        .or_else(|| from_file("/etc/hostname"))
        .or_else(|| non_empty(std::env::var("HOSTNAME").ok()))?;
    non_empty(full.split('.').next().map(str::to_string))
}

/// The account's name, which containers often have no environment variable for, else what the environment says.
fn user() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").ok().map(|process| process.uid().to_string());
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let by_uid = uid.and_then(|uid| account_name(&accounts, &uid));
    by_uid
        .or_else(|| non_empty(std::env::var("USER").ok()))
        .or_else(|| non_empty(std::env::var("LOGNAME").ok()))
}

/// The name in the line `name:password:uid:...` of `uid`.
fn account_name(accounts: &str, uid: &str) -> Option<String> {
    let fields = accounts.lines().map(|line| line.split(':'));
    let name = fields.filter_map(|mut f| Some((f.next()?, f.nth(1)?))).find(|(_, id)| *id == uid)?.0;
    non_empty(Some(name.to_string()))
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_number() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\n\nbroken\nredis:x:101:102::/var/lib/redis:/bin/false\n";
        assert_eq!(account_name(accounts, "101").as_deref(), Some("redis"));
        assert_eq!(account_name(accounts, "102"), None);
    }

    #[test]
    fn this_process_has_a_name_for_everything() {
        let identity = Identity::of_this_process();
        assert_eq!(identity.pid, std::process::id());
        for name in [&identity.program, &identity.host, &identity.user] {
            assert!(!name.is_empty() && !name.contains(['/', '\n']), "{name:?}");
        }
        assert!(!identity.host.contains('.'));
    }
}
