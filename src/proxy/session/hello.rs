//! HELLO: which protocol a client speaks, who it is and what it is called. Texts and forms are those of Redis 7.0.15 where nothing is said of versions.

use super::{is_label, number, BAD_NAME, WRONG_PASSWORD};
use crate::base::arena::Key;
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::errors::say;
use crate::proxy::forms;
use crate::resp::{encode, Args, Protocol};

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    version: Option<i64>,
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl Engine {
    pub(super) fn hello(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
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
            let proto = if self.software.has(forms::HELLO_PROTO) { "<proto> " } else { "" };
            return self.refuse(key, |out| {
                say(out, format_args!(
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO {proto}AUTH \
                     <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                     the same time"
                ))
            });
        }
        if let Some(name) = hello.name {
            c.labels.get_or_insert_with(Box::default).name = name.to_vec();
        }
        c.resp3 = resp3;
        let (protocol, id) = (c.protocol(), c.id);
        self.switch_leased(key, resp3);
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
        field("server", &|o| encode::bulk(o, self.software.name().as_bytes()));
        field("version", &|o| encode::bulk(o, self.software.version().as_bytes()));
        field("proto", &|o| encode::integer(o, if protocol == Protocol::Resp3 { 3 } else { 2 }));
        field("id", &|o| encode::integer(o, i64::try_from(id).unwrap_or(i64::MAX)));
        field("mode", &|o| encode::bulk(o, b"standalone"));
        field("role", &|o| encode::bulk(o, b"master"));
        field("modules", &|o| encode::array(o, 0));
        out
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
            // A server prints it as a C string.
            error.extend(option.iter().take_while(|b| **b != 0));
            error.push(b'\'');
            return Err(error);
        }
    }
    Ok(hello)
}
