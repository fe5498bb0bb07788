//! Commands about the client's own connection, answered here: AUTH, SELECT, PING and their like; HELLO is in `hello`,
//! CLIENT in `clients`. Texts and forms are those of Redis 7.0.15.

mod clients;
mod filter;
mod hello;
mod line;
mod mute;

use std::time::Duration;

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use crate::base::arena::Key;
use crate::command::{self, Command, Local};
use crate::resp::{encode, Args};

pub use filter::Filter;
pub use mute::Mute;

pub(in crate::proxy) const SYNTAX: &[u8] = b"ERR syntax error";
const OK: &[u8] = b"+OK\r\n";
const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &[u8] =
    b"ERR AUTH <password> called without any password configured for the default user. \
Are you sure your configuration is correct?";
const BAD_NAME: &[u8] = b"ERR Client names cannot contain spaces, newlines or special characters.";
pub(in crate::proxy) const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";

impl Engine {
    /// A command that the proxy answers itself.
    pub(in crate::proxy) fn local(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        local: Local,
        args: &Args<'_>,
    ) -> Step {
        match local {
            Local::Ping => self.ping(key, row, args),
            Local::Echo => self.reply_bulk(key, args.get(1).unwrap_or_default()),
            Local::Auth => self.auth(key, args),
            Local::Hello => self.hello(key, args),
            Local::Select => self.select(key, args),
            Local::Quit => self.quit(key),
            Local::Reset => self.reset(key),
            Local::ReadOnly => self.set_readonly(key, true),
            Local::ReadWrite => self.set_readonly(key, false),
            Local::Role => self.role(key),
            Local::Client => self.client_command(key, row, args),
        }
    }

    fn ping(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        match (args.get(1), args.len()) {
            (None, _) => self.reply(key, b"+PONG\r\n"),
            (Some(text), 2) => self.reply_bulk(key, text),
            _ => self.refuse(key, |out| command::wrong_arity_error(row, out)),
        }
    }

    /// ROLE: a primary without replicas.
    fn role(&mut self, key: Key<Client>) -> Step {
        self.reply(key, b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
    }

    fn quit(&mut self, key: Key<Client>) -> Step {
        self.reply_now(key, OK);
        if let Some(c) = self.clients.get_mut(key) {
            c.closing = true;
        }
        Step::Taken
    }

    fn reset(&mut self, key: Key<Client>) -> Step {
        if self.must_wait(key) {
            return Step::Wait;
        }
        self.leave_transaction(key);
        self.set_database(key, 0);
        self.leave_all(key);
        let stranger = !self.config.password.is_empty();
        self.unmonitor(key);
        self.unmute(key);
        self.stop_tracking(key);
        if let Some(c) = self.clients.get_mut(key) {
            c.resp3 = false;
            c.readonly = false;
            c.authenticated = !stranger;
            if let Some(labels) = c.labels.as_deref_mut() {
                labels.name.clear();
            }
        }
        self.reply(key, b"+RESET\r\n")
    }

    /// READONLY and READWRITE: whether this client's reads may go to replicas.
    fn set_readonly(&mut self, key: Key<Client>, readonly: bool) -> Step {
        if self.must_wait(key) {
            return Step::Wait;
        }
        if let Some(c) = self.clients.get_mut(key) {
            c.readonly = readonly;
        }
        self.reply(key, OK)
    }

    fn auth(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let arg = |i| args.get(i).unwrap_or_default();
        let (user, password) = match args.len() {
            2 if self.config.password.is_empty() => {
                return self.refuse(key, |out| out.extend_from_slice(NO_PASSWORD_SET));
            }
            2 => (&b"default"[..], arg(1)),
            3 => (arg(1), arg(2)),
            _ => return self.refuse(key, |out| out.extend_from_slice(b"ERR syntax error")),
        };
        if !self.log_in(key, user, password) {
            return self.refuse(key, |out| out.extend_from_slice(WRONG_PASSWORD));
        }
        self.reply(key, OK)
    }

    /// Whether user and password are right; without a configured password any will do for the default user.
    fn log_in(&mut self, key: Key<Client>, user: &[u8], password: &[u8]) -> bool {
        let wanted = self.config.password.as_bytes();
        let right = user == b"default" && (wanted.is_empty() || same(wanted, password));
        if let Some(c) = self.clients.get_mut(key).filter(|_| right) {
            c.authenticated = true;
        }
        right
    }

    /// Whether the client's next request has to wait for its earlier ones; it will be handed in again then.
    pub(in crate::proxy) fn must_wait(&mut self, key: Key<Client>) -> bool {
        let Some(c) = self.clients.get_mut(key) else { return false };
        c.barrier = !c.settled();
        c.barrier
    }

    pub(in crate::proxy) fn reply(&mut self, key: Key<Client>, reply: &[u8]) -> Step {
        self.reply_now(key, reply);
        Step::Taken
    }

    pub(in crate::proxy) fn reply_bulk(&mut self, key: Key<Client>, body: &[u8]) -> Step {
        let mut out = Vec::new();
        encode::bulk(&mut out, body);
        self.reply(key, &out)
    }
}

/// As a server's `string2ll`: no sign but a leading minus, no blanks, no leading zeros.
pub(in crate::proxy) fn number(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}

/// A time in milliseconds, as a server's `getTimeoutFromObjectOrReply` reads it.
pub(in crate::proxy) fn timeout(text: &[u8]) -> Result<Duration, &'static [u8]> {
    let millis = number(text).ok_or(&b"ERR timeout is not an integer or out of range"[..])?;
    Ok(Duration::from_millis(u64::try_from(millis).map_err(|_| &b"ERR timeout is negative"[..])?))
}

/// As a server's `validateClientAttr`: printable ASCII without blanks.
fn is_label(text: &[u8]) -> bool {
    text.iter().all(|b| (b'!'..=b'~').contains(b))
}

/// Compares in a time that does not depend on where the two differ.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    let differs = |i: usize| wanted[i] ^ given.get(i).copied().unwrap_or(!wanted[i]);
    let difference = (0..wanted.len()).fold(0, |d, i| d | differs(i));
    difference == 0 && wanted.len() == given.len()
}
