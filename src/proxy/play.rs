//! EXEC of a transaction in which not all commands go to one node: some are answered by the proxy, some go to many nodes.
//!
//! It is *played*: commands are carried out one after the other, and their replies, behind one another, are the reply to
//! EXEC. What goes to the one node still goes as one block, so it is atomic; but a command for many nodes (FLUSHALL, DBSIZE)
//! must come in its place, so there are two blocks then, one before and one behind it.
//!
//! EXEC takes its place in the client's order and *holds* it (`ReplyOrder::hold`), so nothing leaves before all is there.
//! The request itself stays with the client's unread bytes ([`Step::Wait`]) and is handed in again whenever what was
//! started last is answered.

use std::mem;
use std::ops::Range;

use super::backend::Kind;
use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::fan::{aggregate, Work};
use super::lease::{Lease, Watched};
use super::multi::{Multi, BEGIN, END};
use super::order::Sequence;
use super::part::{Owner, Part};
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Local};
use crate::resp::{self, encode, Args, Limits, Parsed, RequestParser};

/// Where in a transaction a command that does not go to its node may be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It neither reads nor changes data.
    Anywhere,
    /// Behind all before it, and before all behind it.
    Between,
}

/// The commands of a transaction that do not go to its node, and how far EXEC is.
#[derive(Debug, Default)]
pub struct Score {
    own: Vec<Own>,
    played: Option<Played>,
}

/// A command that does not go to the transaction's node.
#[derive(Debug)]
struct Own {
    /// Where it is in the transaction's bytes.
    range: Range<usize>,
    /// No block reaches beyond it.
    splits: bool,
}

/// How far EXEC is.
#[derive(Debug)]
struct Played {
    /// EXEC's own place in the client's order.
    sequence: Sequence,
    /// The next command in the transaction's bytes, and which one of the proxy's own is next.
    at: usize,
    own: usize,
    replies: usize,
    /// The client watches keys: the first block tells whether they have changed.
    watched: bool,
    block: Block,
    /// What EXEC is answered with instead of all this.
    instead: Option<Vec<u8>>,
}

/// What goes to the node at once.
#[derive(Debug)]
enum Block {
    /// Not sent yet.
    Due,
    /// On its way.
    Sent,
    /// These replies are not used yet.
    Answered { frames: Vec<u8>, next: usize },
}

/// What comes next.
enum Next {
    Send(Vec<u8>, usize),
    Reply(Vec<u8>),
    CarryOut(Range<usize>),
    End,
}

impl Score {
    /// A command of `len` bytes at `start` of the transaction.
    pub fn add(&mut self, start: usize, len: usize, splits: bool) {
        self.own.push(Own { range: start..start + len, splits });
    }

    /// Whether all commands go to one node.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether EXEC is under way.
    pub fn is_played(&self) -> bool {
        self.played.is_some()
    }
}

/// Where a command that does not go to one node is carried out inside MULTI; `None` if not at all.
pub fn place(row: &Command) -> Option<Place> {
    match row.class {
        // It would end in the middle of the reply.
        Class::Local(Local::Client) if row.name == "reply" => None,
        Class::Local(Local::Hello | Local::Select) => Some(Place::Between),
        Class::EveryPrimary(_) | Class::EveryNode(_) | Class::Scan => Some(Place::Between),
        Class::Local(_) | Class::Info | Class::ClusterView | Class::Monitor => Some(Place::Anywhere),
        // Messages of a new subscription might come in front of EXEC's reply.
        Class::PubSub if matches!(row.name, "subscribe" | "psubscribe") => None,
        Class::PubSub => Some(Place::Anywhere),
        _ => None,
    }
}

impl Engine {
    /// EXEC, handed in for the first time or again.
    pub(super) fn play(&mut self, key: Key<Client>, row: &'static Command) -> Step {
        loop {
            if self.must_wait(key) {
                return Step::Wait;
            }
            let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
            let Some(mut multi) = c.multi.take() else { return Step::Taken };
            if !multi.score.is_played() {
                let watching = c.lease.as_deref_mut().map(Lease::end_watch);
                if let Some(watched @ (Watched::Missed | Watched::Never)) = watching {
                    return self.refuse_unwatched(key, watched);
                }
                let active = c.active.get_or_insert_with(|| self.actives.take());
                let sequence = active.order.hold(multi.bytes().len() as u32);
                multi.score.played = Some(Played::new(sequence, watching.is_some()));
            }
            let next = multi.next();
            match next {
                Next::End => return self.played(key, &multi),
                Next::Reply(reply) => {
                    self.keep(key, multi);
                    self.reply_now(key, &reply);
                }
                Next::CarryOut(range) => {
                    let request = multi.bytes()[range].to_vec();
                    self.keep(key, multi);
                    self.carry_out_own(key, &request);
                }
                Next::Send(block, commands) => {
                    let slot = multi.slot();
                    let watched = multi.score.played.as_ref().is_some_and(|p| p.watched);
                    self.keep(key, multi);
                    self.send_played(key, row, slot, &block, (commands, watched));
                }
            }
        }
    }

    /// Whether EXEC is being played for a client.
    pub(super) fn is_playing(&self, key: Key<Client>) -> bool {
        self.clients.get(key).and_then(|c| c.multi.as_deref()).is_some_and(|m| m.score.is_played())
    }

    fn keep(&mut self, key: Key<Client>, multi: Box<Multi>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.multi = Some(multi);
        }
    }

    /// All was played: EXEC's reply begins with the number of the others, which follow.
    fn played(&mut self, key: Key<Client>, multi: &Multi) -> Step {
        let Some(played) = &multi.score.played else { return Step::Taken };
        let mut head = Vec::new();
        encode::array(&mut head, multi.commands() as usize);
        self.reply_to(key, played.sequence, played.instead.as_ref().unwrap_or(&head));
        self.tell_late(key);
        Step::Taken
    }

    /// A command that the proxy carries out itself.
    fn carry_out_own(&mut self, key: Key<Client>, request: &[u8]) {
        let mut parser = RequestParser::new();
        let limits = Limits { max_request: usize::MAX, ..Limits::default() };
        let Parsed::Request { .. } = parser.parse(request, &limits) else { return };
        let args = Args::new(request, parser.spans());
        let Ok(row) = command::resolve(&args) else { return };
        // As a server says it inside MULTI.
        let denied = match (row.class, row.name) {
            (Class::Monitor, _) => b"ERR MONITOR isn't allowed for DENY BLOCKING client".as_slice(),
            (_, "ssubscribe") => b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
            _ => b"",
        };
        let step = match denied.is_empty() {
            true => self.carry_out(key, row, &args),
            false => self.refuse(key, |out| out.extend_from_slice(denied)),
        };
        debug_assert_eq!(step, Step::Taken, "nothing is under way that it could wait for");
    }

    fn send_played(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        slot: u16,
        block: &[u8],
        (commands, watched): (usize, bool),
    ) {
        let (resp3, db) = self.clients.get(key).map_or((false, 0), |c| (c.resp3, c.db));
        let kind = Kind { resp3, dedicated: watched, db, ..Kind::default() };
        let gather = self.gather(key, row, block.len(), 1, Work::Block(commands));
        let owner = Owner::Gather(gather, 0);
        let part =
            Part { owner, born_us: self.now_us(), slot, command: row.id, attempts: 0, kind, block: true };
        self.send(part, block);
    }

    /// A node has answered a block of `commands`: what EXEC of its own would be answered with.
    pub(super) fn block_answered(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        commands: usize,
        reply: &[u8],
    ) {
        let played = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut());
        if let Some(played) = played.and_then(|m| m.score.played.as_mut()) {
            match aggregate(reply) {
                Some((b'*', count, frames)) if count == commands => {
                    played.block = Block::Answered { frames: frames.to_vec(), next: 0 };
                }
                // Nothing was carried out, or nobody knows.
                _ if played.replies == 0 => played.instead = Some(reply.to_vec()),
                _ => played.block = Block::Answered { frames: reply.repeat(commands), next: 0 },
            }
        }
        self.reply_to(key, sequence, b"");
    }
}

impl Played {
    fn new(sequence: Sequence, watched: bool) -> Self {
        Played { sequence, at: BEGIN.len(), own: 0, replies: 0, watched, block: Block::Due, instead: None }
    }
}

impl Multi {
    /// What has to be done now that all before is done.
    fn next(&mut self) -> Next {
        let mut score = mem::take(&mut self.score);
        let next = score.next(self.bytes());
        self.score = score;
        next
    }
}

impl Score {
    fn next(&mut self, bytes: &[u8]) -> Next {
        let Some(played) = self.played.as_mut() else { return Next::End };
        if played.instead.is_some() {
            return Next::End;
        }
        if matches!(played.block, Block::Due) {
            let (block, commands) = block(&self.own[played.own..], &bytes[played.at..], played.at);
            if commands > 0 || played.watched {
                played.block = Block::Sent;
                return Next::Send(block, commands);
            }
            played.block = Block::Answered { frames: Vec::new(), next: 0 };
        }
        if played.at == bytes.len() {
            return Next::End;
        }
        played.replies += 1;
        if let Some(own) = self.own.get(played.own).filter(|o| o.range.start == played.at) {
            played.own += 1;
            played.at = own.range.end;
            if own.splits {
                played.block = Block::Due;
            }
            return Next::CarryOut(own.range.clone());
        }
        // Neither length is ever unknown: the requests were parsed, and the replies framed.
        played.at += resp::frame_len(&bytes[played.at..]).unwrap_or(bytes.len() - played.at);
        let Block::Answered { frames, next } = &mut played.block else { return Next::End };
        let rest = &frames[*next..];
        let reply = &rest[..resp::frame_len(rest).unwrap_or(rest.len())];
        *next += reply.len();
        Next::Reply(reply.to_vec())
    }
}

/// What of `bytes`, which begin at `start` of the transaction, goes to the node before the next command that splits, and
/// how many commands that is.
fn block(own: &[Own], bytes: &[u8], start: usize) -> (Vec<u8>, usize) {
    let mut block = BEGIN.to_vec();
    let mut at = 0;
    for own in own {
        block.extend_from_slice(&bytes[at..own.range.start - start]);
        at = own.range.end - start;
        if own.splits {
            at = bytes.len();
            break;
        }
    }
    block.extend_from_slice(&bytes[at..]);
    let mut rest = &block[BEGIN.len()..];
    let mut commands = 0;
    while let Some(behind) = resp::frame_len(rest).and_then(|n| rest.get(n..)) {
        rest = behind;
        commands += 1;
    }
    block.extend_from_slice(END);
    (block, commands)
}
