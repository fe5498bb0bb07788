//! Commands about the client's own connection, answered here: HELLO, AUTH, SELECT, PING, CLIENT and their like.
//! Texts and forms are those of Redis 7.0.15.

use super::client::{Client, Labels};
use super::dispatch::Step;
use super::engine::Engine;
use super::errors;
use crate::base::arena::Key;
use crate::command::{self, Command, Local};
use crate::resp::{encode, Args, Protocol};

const OK: &[u8] = b"+OK\r\n";
const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &[u8] =
    b"ERR AUTH <password> called without any password configured for the default user. \
Are you sure your configuration is correct?";
const HELLO_NO_AUTH: &[u8] =
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
same time";
const BAD_NAME: &[u8] = b"ERR Client names cannot contain spaces, newlines or special characters.";
const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    version: Option<i64>,
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl Engine {
    /// A command that the proxy answers itself.
    pub(super) fn local(
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

    fn select(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        match number(args.get(1).unwrap_or_default()).map(i32::try_from) {
            Some(Ok(0)) => self.reply(key, OK),
            Some(Ok(_)) => {
                self.refuse(key, |out| out.extend_from_slice(b"ERR SELECT is not allowed in cluster mode"))
            }
            _ => self.refuse(key, |out| out.extend_from_slice(NOT_AN_INTEGER)),
        }
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
        let stranger = !self.config.password.is_empty();
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

    fn hello(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let hello = match parse_hello(args) {
            Ok(hello) => hello,
            Err(error) => return self.refuse(key, |out| out.extend_from_slice(&error)),
        };
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let resp3 = hello.version.map_or(c.resp3, |v| v == 3);
        // The two protocols use different backends, so a switch must not overtake what is in flight.
        if resp3 != c.resp3 && self.must_wait(key) {
            return Step::Wait;
        }
        if let Some((user, password)) = hello.auth {
            if !self.log_in(key, user, password) {
                return self.refuse(key, |out| out.extend_from_slice(WRONG_PASSWORD));
            }
        }
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        if !c.authenticated {
            return self.refuse(key, |out| out.extend_from_slice(HELLO_NO_AUTH));
        }
        if let Some(name) = hello.name {
            c.labels.get_or_insert_with(Box::default).name = name.to_vec();
        }
        if let Some(lease) = c.lease.as_deref_mut().filter(|_| resp3 != c.resp3) {
            lease.give_up_watch();
        }
        c.resp3 = resp3;
        let (protocol, id) = (c.protocol(), c.id);
        let reply = self.hello_reply(protocol, id);
        self.reply(key, &reply)
    }

    fn hello_reply(&self, protocol: Protocol, id: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode::map(&mut out, 7, protocol);
        let mut field = |name: &str, value: &dyn Fn(&mut Vec<u8>)| {
            encode::bulk(&mut out, name.as_bytes());
            value(&mut out);
        };
        field("server", &|o| encode::bulk(o, b"redis"));
        field("version", &|o| encode::bulk(o, self.version().as_bytes()));
        field("proto", &|o| encode::integer(o, if protocol == Protocol::Resp3 { 3 } else { 2 }));
        field("id", &|o| encode::integer(o, i64::try_from(id).unwrap_or(i64::MAX)));
        field("mode", &|o| encode::bulk(o, b"standalone"));
        field("role", &|o| encode::bulk(o, b"master"));
        field("modules", &|o| encode::array(o, 0));
        out
    }

    /// The version that clients are told: that of the cluster, once it is known.
    pub(super) fn version(&self) -> &str {
        match self.server_version.as_str() {
            "" => "7.0.0",
            version => version,
        }
    }

    fn client_command(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let arg = |i| args.get(i).unwrap_or_default();
        match row.name {
            "id" => {
                let id = self.clients.get(key).map_or(0, |c| c.id);
                let mut out = Vec::new();
                encode::integer(&mut out, i64::try_from(id).unwrap_or(i64::MAX));
                self.reply(key, &out)
            }
            "getname" => self.client_getname(key),
            "setname" => self.client_setname(key, arg(2)),
            "setinfo" => self.client_setinfo(key, arg(2), arg(3)),
            "no-evict" | "no-touch" => match arg(2) {
                a if a.eq_ignore_ascii_case(b"on") || a.eq_ignore_ascii_case(b"off") => self.reply(key, OK),
                _ => self.refuse(key, |out| out.extend_from_slice(b"ERR syntax error")),
            },
            _ => self.refuse(key, |out| errors::not_yet(out, row)),
        }
    }

    fn client_getname(&mut self, key: Key<Client>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let mut out = Vec::new();
        match c.labels.as_deref().map(|l| l.name.as_slice()).filter(|n| !n.is_empty()) {
            Some(name) => encode::bulk(&mut out, name),
            None => encode::null(&mut out, c.protocol()),
        }
        self.reply(key, &out)
    }

    fn client_setname(&mut self, key: Key<Client>, name: &[u8]) -> Step {
        if !is_label(name) {
            return self.refuse(key, |out| out.extend_from_slice(BAD_NAME));
        }
        self.label(key, |l| l.name = name.to_vec());
        self.reply(key, OK)
    }

    /// CLIENT SETINFO (Redis 7.2): LIB-NAME and LIB-VER.
    fn client_setinfo(&mut self, key: Key<Client>, option: &[u8], value: &[u8]) -> Step {
        let is_name = option.eq_ignore_ascii_case(b"lib-name");
        if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
            let option = String::from_utf8_lossy(option).into_owned();
            return self
                .refuse(key, |out| errors::say(out, format_args!("ERR Unrecognized option '{option}'")));
        }
        let option = if is_name { "lib-name" } else { "lib-ver" };
        if !is_label(value) {
            let text = "cannot contain spaces, newlines or special characters.";
            return self.refuse(key, |out| errors::say(out, format_args!("ERR {option} {text}")));
        }
        self.label(key, |l| *(if is_name { &mut l.lib_name } else { &mut l.lib_ver }) = value.to_vec());
        self.reply(key, OK)
    }

    fn label(&mut self, key: Key<Client>, set: impl FnOnce(&mut Labels)) {
        if let Some(c) = self.clients.get_mut(key) {
            set(c.labels.get_or_insert_with(Box::default));
        }
    }

    /// Whether the client's next request has to wait for its earlier ones; it will be handed in again then.
    pub(super) fn must_wait(&mut self, key: Key<Client>) -> bool {
        let Some(c) = self.clients.get_mut(key) else { return false };
        c.barrier = !c.settled();
        c.barrier
    }

    pub(super) fn reply(&mut self, key: Key<Client>, reply: &[u8]) -> Step {
        self.reply_now(key, reply);
        Step::Taken
    }

    fn reply_bulk(&mut self, key: Key<Client>, body: &[u8]) -> Step {
        let mut out = Vec::new();
        encode::bulk(&mut out, body);
        self.reply(key, &out)
    }
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`; errors without `-` and line end.
fn parse_hello<'a>(args: &Args<'a>) -> Result<Hello<'a>, Vec<u8>> {
    let mut hello = Hello::default();
    let Some(version) = args.get(1) else { return Ok(hello) };
    let Some(version) = number(version) else {
        return Err(b"ERR Protocol version is not an integer or out of range".to_vec());
    };
    if !(2..=3).contains(&version) {
        return Err(b"NOPROTO unsupported protocol version".to_vec());
    }
    hello.version = Some(version);
    let mut at = 2;
    while let Some(option) = args.get(at) {
        if let (true, Some(user), Some(password)) =
            (option.eq_ignore_ascii_case(b"auth"), args.get(at + 1), args.get(at + 2))
        {
            hello.auth = Some((user, password));
            at += 3;
        } else if let (true, Some(name)) = (option.eq_ignore_ascii_case(b"setname"), args.get(at + 1)) {
            if !is_label(name) {
                return Err(BAD_NAME.to_vec());
            }
            hello.name = Some(name);
            at += 2;
        } else {
            let mut error = b"ERR Syntax error in HELLO option '".to_vec();
            error.extend_from_slice(option);
            error.push(b'\'');
            return Err(error);
        }
    }
    Ok(hello)
}

/// As a server's `string2ll`: no sign but a leading minus, no blanks, no leading zeros.
fn number(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
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
