//! Which clients CLIENT LIST and CLIENT KILL mean. Texts are those of Redis 7.0.15; MAXAGE came with 7.4.

use super::number;
use crate::base::time::Time;
use crate::proxy::client::Client;
use crate::proxy::errors::say;
use crate::resp::Args;

/// Conditions that must all hold; none that is set means every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these ids.
    pub ids: Option<Vec<u64>>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Comes from `ip:port`.
    pub addr: Option<Vec<u8>>,
    /// Came in at `ip:port`.
    pub laddr: Option<Vec<u8>>,
    /// Is logged in as this user.
    pub user: Option<Vec<u8>>,
    /// Connected for at least so many seconds.
    pub max_age: Option<u64>,
    /// Not this id.
    pub except: Option<u64>,
}

/// What a client is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends commands.
    Normal,
    /// Is subscribed to something.
    PubSub,
    /// The primary of a replica, or a replica: never a client of a proxy.
    Replication,
}

impl Filter {
    /// Whether it means this client.
    pub fn matches(&self, c: &Client, now: Time) -> bool {
        let is = |addr: &std::net::SocketAddr, text: &Vec<u8>| addr.to_string().as_bytes() == *text;
        self.except != Some(c.id)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&c.id))
            && self.kind.is_none_or(|kind| kind == Kind::of(c))
            && self.addr.as_ref().is_none_or(|text| is(&c.peer, text))
            && self.laddr.as_ref().is_none_or(|text| is(&c.local, text))
            && self.user.as_ref().is_none_or(|user| user == b"default")
            && self.max_age.is_none_or(|age| now.since(c.since).as_secs() >= age)
    }

    /// `CLIENT LIST [TYPE type] [ID id ...]`; an error is without `-` and line end.
    pub(super) fn for_list(args: &Args<'_>) -> Result<Filter, Vec<u8>> {
        let is = |word: &[u8]| args.get(2).is_some_and(|a| a.eq_ignore_ascii_case(word));
        let mut filter = Filter::default();
        match args.len() {
            2 => {}
            4 if is(b"type") => filter.kind = Some(Kind::parse(args.get(3).unwrap_or_default())?),
            n if n > 3 && is(b"id") => {
                let ids: Option<Vec<i64>> = args.iter().skip(3).map(number).collect();
                let ids = ids.ok_or(&b"ERR Invalid client ID"[..])?;
                // No client has an id below 1.
                filter.ids = Some(ids.into_iter().map(|id| u64::try_from(id).unwrap_or(0)).collect());
            }
            _ => return Err(super::SYNTAX.to_vec()),
        }
        Ok(filter)
    }

    /// `CLIENT KILL filter value [filter value ...]`; `me` is who asks.
    pub(super) fn for_kill(args: &Args<'_>, me: u64) -> Result<Filter, Vec<u8>> {
        let mut filter = Filter { except: Some(me), ..Filter::default() };
        let mut at = 2;
        while let Some(name) = args.get(at) {
            let value = args.get(at + 1).ok_or(super::SYNTAX)?;
            filter.add(&name.to_ascii_lowercase(), value, me)?;
            at += 2;
        }
        Ok(filter)
    }

    fn add(&mut self, name: &[u8], value: &[u8], me: u64) -> Result<(), Vec<u8>> {
        let positive = |text| number(text).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        match name {
            b"id" => {
                let id = positive(value).ok_or(&b"ERR client-id should be greater than 0"[..])?;
                self.ids = Some(vec![id]);
            }
            b"type" => self.kind = Some(Kind::parse(value)?),
            b"addr" => self.addr = Some(value.to_vec()),
            b"laddr" => self.laddr = Some(value.to_vec()),
            b"user" if value == b"default" => self.user = Some(value.to_vec()),
            b"user" => return Err(quoting("ERR No such user", value)),
            b"maxage" => {
                let age = positive(value).ok_or(&b"ERR maxage is not an integer or out of range"[..])?;
                self.max_age = Some(age);
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.except = Some(me),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.except = None,
            _ => return Err(super::SYNTAX.to_vec()),
        }
        Ok(())
    }
}

impl Kind {
    /// What a client is now.
    pub fn of(client: &Client) -> Kind {
        match client.subscriber {
            Some(_) => Kind::PubSub,
            None => Kind::Normal,
        }
    }

    fn parse(name: &[u8]) -> Result<Kind, Vec<u8>> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"pubsub" => Ok(Kind::PubSub),
            b"master" | b"primary" | b"slave" | b"replica" => Ok(Kind::Replication),
            _ => Err(quoting("ERR Unknown client type", name)),
        }
    }
}

fn quoting(text: &str, value: &[u8]) -> Vec<u8> {
    let mut error = Vec::new();
    say(&mut error, format_args!("{text} '{}'", String::from_utf8_lossy(value)));
    error
}
