//! Taking over the listening socket from the process before, and handing it to the one after.
//!
//! A socket is handed over as the standard input of the new process, the only place where it can be taken up without
//! `unsafe`. Both processes then share one socket with one queue, so nobody who connects finds it closed. systemd
//! hands a socket over in the same way (`StandardInput=socket`). On SIGUSR2 the program starts itself anew by the command
//! line that it was started with itself. The new process says that it serves by a line on its standard output, and until
//! it does the old one goes on as if nothing had happened.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use socket2::{SockRef, Socket};

use super::notify;

/// Set for a process that is to take over from another one.
const SUCCEEDS: &str = "REDIS_CLUSTER_PROXY_SUCCEEDS";

/// What the new process says when it serves.
const SERVING: &str = "serving";

/// Whose listening socket this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Opened by this process or by one that it took over from: it goes when this process stops.
    Own,
    /// Somebody else, who started this process with it, keeps it open.
    Lent,
}

/// Whether this process was started by another one to take over from it.
pub fn is_successor() -> bool {
    std::env::var_os(SUCCEEDS).is_some()
}

/// The listening socket that this process was started with, if it was.
pub fn inherited() -> Option<(Socket, Origin)> {
    let stdin = io::stdin();
    let is_listener = |s: SockRef<'_>| {
        s.is_listener().unwrap_or(false) && s.local_addr().is_ok_and(|a| a.as_socket().is_some())
    };
    if !is_listener(SockRef::from(&stdin)) {
        return None;
    }
    let origin = match std::env::var(SUCCEEDS).as_deref() {
        Ok("own") => Origin::Own,
        _ => Origin::Lent,
    };
    stdin.as_fd().try_clone_to_owned().ok().map(|fd| (Socket::from(fd), origin))
}

/// Tells whoever waits for it that this process serves.
pub fn serving() {
    if is_successor() {
        // Who waited may have ended.
        let _ = writeln!(io::stdout(), "{SERVING}");
    } else {
        notify::send("READY=1");
    }
}

/// Starts this program anew with the socket. `then` is called, from a thread of its own, with the process id of the new
/// process once that serves, or with the reason why it does not.
///
/// # Errors
/// When no new process can be started.
pub fn start_successor(
    socket: OwnedFd,
    origin: Origin,
    then: impl FnOnce(Result<u32, String>) + Send + 'static,
) -> io::Result<()> {
    let mut args = std::env::args_os();
    let program = args.next().ok_or_else(|| io::Error::other("the program's name is not known"))?;
    let own = if origin == Origin::Own { "own" } else { "lent" };
    let mut command = Command::new(program);
    command.args(args).env(SUCCEEDS, own).stdin(Stdio::from(socket)).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    std::thread::Builder::new().name("successor".into()).spawn(move || {
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            // An error ends the wait as the end of the output does.
            let _ = BufReader::new(output).read_line(&mut line);
        }
        then(match line.trim_end() == SERVING {
            true => Ok(child.id()),
            false => Err(child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())),
        });
    })?;
    Ok(())
}
