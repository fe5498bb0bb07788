//! Large requests that are passed on as they come.
//!
//! ```text
//! announced --> Asking --EXISTS key is answered--> Open --> Sending --all is here--> an ordinary part in flight
//!                  |                                 |          |
//!                  +-- error ------------------------+----------+-- node lost, early reply --> Dropping --> error
//! ```
//!
//! A request with one key that announces a large argument waits until its client's earlier requests are answered. Then the
//! node that serves the key *now* is found by a question that changes nothing, as the request itself cannot be sent a
//! second time; and it goes there on a backend of its own, which is closed if the request does not come to its end, so
//! that the node never executes half of one. Its client is read only while little waits for the node.

use super::Flow;
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Keys};
use crate::proxy::backend::{Backend, Kind};
use crate::proxy::client::Client;
use crate::proxy::engine::{Alarm, Engine};
use crate::proxy::errors;
use crate::proxy::fan::Work;
use crate::proxy::intake::Intake;
use crate::proxy::lease::Purpose;
use crate::proxy::loss::Loss;
use crate::proxy::nodes::Node;
use crate::proxy::order::Sequence;
use crate::proxy::part::{Owner, Part, NO_SLOT};
use crate::proxy::session::Mute;
use crate::resp::{self, encode, Args, RequestParser, RequestRest, Scan};

/// Requests of one worker that are passed on at once; further ones are held until they are whole.
const MOST_UPLOADS: usize = 256;

/// A large request on its way.
#[derive(Debug)]
pub struct Upload {
    sequence: Sequence,
    command: u16,
    slot: u16,
    rest: RequestRest,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A node is asked whether it serves the key.
    Asking,
    /// This one does, after ASKING if so.
    Open(Key<Node>, bool),
    /// What comes goes to this backend.
    Sending(Key<Backend>),
    /// What comes is dropped; then this is the reply.
    Dropping(Vec<u8>),
}

impl Engine {
    /// A request is unfinished whose next argument is a large one. `None` when it is to be held until it is whole, as
    /// small ones are.
    #[cold]
    pub(in crate::proxy) fn large_argument(
        &mut self,
        key: Key<Client>,
        bytes: &[u8],
        parser: &mut RequestParser,
    ) -> Option<Intake> {
        let args = Args::new(bytes, parser.spans());
        let row = self.streamable(key, &args, parser.announced_args())?;
        let name = args.get(1)?;
        let c = self.clients.get_mut(key)?;
        c.barrier = true;
        if c.settled() {
            c.uploading = true;
            c.last_command = row.id;
            let slot = command::slot(name);
            let mut question = Vec::new();
            encode::request(&mut question, &[b"EXISTS", name]);
            self.ask_owner(key, row, slot, parser.rest(), &question);
        }
        parser.reset();
        Some(Intake::Paused)
    }

    /// The row of a request of which the first arguments are `args`, `count` in all, if it can be passed on as it comes.
    fn streamable(&self, key: Key<Client>, args: &Args<'_>, count: usize) -> Option<&'static Command> {
        let c = self.clients.get(key)?;
        let plain = c.authenticated && c.mute == Mute::Never && !self.watchful && !self.draining;
        let alone = c.multi.is_none() && c.lease.is_none() && c.subscriber.is_none();
        if !plain || !alone || args.len() < 2 || self.streams.uploads >= MOST_UPLOADS {
            return None;
        }
        let row = command::resolve(args).ok()?;
        let one_key = matches!(row.keys, Keys::Range { first: 1, last: 1, .. });
        let fits = row.class == Class::Slot && one_key && command::arity_ok(row, count);
        (fits && !self.refusals.has(row.id)).then_some(row)
    }

    fn ask_owner(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        slot: u16,
        rest: RequestRest,
        question: &[u8],
    ) {
        if let Some(c) = self.clients.get_mut(key) {
            c.traffic.commands += 1;
        }
        self.counters.requests += 1;
        self.counters.requests_streamed += 1;
        self.streams.uploads += 1;
        let gather = self.gather(key, row, question.len(), 1, Work::Upload);
        let sequence = self.gathers.get(gather).map_or(0, |g| g.sequence);
        let kind = Kind { replica: false, ..self.kind_for(key, row) };
        let upload = Upload { sequence, command: row.id, slot, rest, stage: Stage::Asking };
        if let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) {
            active.upload = Some(Box::new(upload));
        }
        let owner = Owner::Gather(gather, 0);
        let born_us = self.now_us();
        let command = command::lookup(b"exists").map_or(row.id, |row| row.id);
        let part = Part { owner, born_us, slot, command, attempts: 0, kind, block: false };
        self.send(part, question);
    }

    /// Whether a node serves the key was answered, by `answered_by`.
    pub(in crate::proxy) fn owner_answered(&mut self, key: Key<Client>, reply: &[u8]) {
        let node = self.streams.answered_by;
        let Some(upload) = upload_of(&mut self.clients, key) else { return };
        let primary = self.nodes.primary(upload.slot);
        upload.stage = match reply.first() {
            // A node that answers although it is not the owner was asked after ASKING.
            Some(b':') => Stage::Open(node, primary != Some(node)),
            _ => Stage::Dropping(reply.to_vec()),
        };
        self.read_upload(key);
    }

    /// As `client_bytes`, for a client whose large request is under way.
    #[cold]
    pub(in crate::proxy) fn upload_bytes(&mut self, key: Key<Client>, data: &[u8]) -> (usize, Intake) {
        if let Some(Stage::Open(node, asking)) = upload_of(&mut self.clients, key).map(|u| &u.stage) {
            let (node, asking) = (*node, *asking);
            self.open_upload(key, node, asking);
        }
        let Some(upload) = upload_of(&mut self.clients, key) else { return (0, Intake::Paused) };
        if let Stage::Asking | Stage::Open(..) = upload.stage {
            return (0, Intake::Paused);
        }
        let n = match upload.rest.take(data, &self.limits) {
            Ok(n) => n,
            Err(error) => {
                self.counters.protocol_errors += 1;
                let mut reply = Vec::new();
                error.write_reply(&mut reply);
                self.end_upload(key, Some(&reply));
                if let Some(c) = self.clients.get_mut(key) {
                    c.closing = true;
                }
                return (data.len(), Intake::Closed);
            }
        };
        let ended = upload.rest.is_ended();
        let intake = match &mut upload.stage {
            Stage::Dropping(verdict) if ended => {
                let verdict = std::mem::take(verdict);
                self.end_upload(key, Some(&verdict));
                self.make_ready(key);
                Intake::Paused
            }
            Stage::Sending(backend) => {
                let backend = *backend;
                self.send_more(key, backend, &data[..n], ended)
            }
            _ => Intake::More,
        };
        (n, intake)
    }

    /// Takes a backend of its own for a large request and says what must stand before it.
    fn open_upload(&mut self, key: Key<Client>, node: Key<Node>, asking: bool) {
        let (resp3, db) = self.clients.get(key).map_or((false, 0), |c| (c.resp3, c.db));
        let kind = Kind { resp3, dedicated: true, db, ..Kind::default() };
        let lent = self.lend(key, node, kind, Purpose::Upload);
        let name = self.nodes.get(node).map_or_else(String::new, |n| n.name.clone());
        let now_us = self.now_us();
        let Some(upload) = upload_of(&mut self.clients, key) else { return };
        let Ok(backend) = lent else {
            let mut error = Vec::new();
            errors::not_sent(&mut error, &name, "cannot be reached");
            upload.stage = Stage::Dropping(error);
            return;
        };
        upload.stage = Stage::Sending(backend);
        let owner = Owner::Client(key, upload.sequence);
        let (slot, command) = (upload.slot, upload.command);
        let part = Part { owner, born_us: now_us, slot, command, attempts: 0, kind, block: false };
        if asking {
            let mut bytes = Vec::new();
            encode::request(&mut bytes, &["ASKING"]);
            self.push(backend, Part { owner: Owner::Nobody, slot: NO_SLOT, ..part }, &bytes);
        }
        self.push(backend, part, b"");
        if let Some(b) = self.backends.get_mut(backend) {
            b.flow = Flow::Request;
        }
    }

    /// More of a request, perhaps its last bytes. The client is read on while little waits for the node.
    fn send_more(&mut self, key: Key<Client>, backend: Key<Backend>, bytes: &[u8], ended: bool) -> Intake {
        let Some(b) = self.backends.get_mut(backend) else { return Intake::Paused };
        b.window.tail().extend_from_slice(bytes);
        if let Some(last) = b.fifo.back_mut() {
            last.len += bytes.len() as u32;
        }
        let waiting = b.window.unanswered();
        self.mark_backend(backend);
        if ended {
            if let Some(b) = self.backends.get_mut(backend) {
                b.flow = Flow::Replies;
                b.progress = self.now;
            }
            self.forget_upload(key);
            return Intake::Paused;
        }
        if waiting >= self.streams.sizes.pace {
            return Intake::Paused;
        }
        Intake::More
    }

    /// Some of an unfinished request was written: it is not kept, but for its last byte, which the reply needs.
    #[cold]
    pub(in crate::proxy) fn request_written(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        b.progress = self.now;
        let awaited = b.window.awaited();
        if let Some(front) = b.fifo.front_mut().filter(|f| matches!(f.part.owner, Owner::Client(..))) {
            let sent = awaited.min(front.len as usize).saturating_sub(1);
            b.window.acknowledge(sent);
            front.len -= sent as u32;
            b.window.tidy();
        }
        let (user, waiting) = (b.user, b.window.unanswered());
        let paused = self.clients.get(user).is_some_and(|c| c.uploading && c.paused);
        if paused && waiting <= self.streams.sizes.pace / 2 {
            self.read_upload(user);
        }
    }

    /// As `backend_bytes`, while the request is not all there.
    #[cold]
    pub(in crate::proxy) fn early_bytes(&mut self, key: Key<Backend>, data: &[u8]) -> usize {
        let mut at = 0;
        while at < data.len() {
            let Some(b) = self.backends.get_mut(key) else { return data.len() };
            let scanned = std::mem::take(&mut b.scanned);
            let early = b.fifo.front().is_none_or(|f| matches!(f.part.owner, Owner::Client(..)));
            let user = b.user;
            match b.framer.scan(&data[at + scanned..]) {
                Ok(Scan::Done(n)) => {
                    let frame = &data[at..at + scanned + n];
                    at += frame.len();
                    match early && !resp::is_push(frame[0]) {
                        true => self.answered_early(user, frame),
                        false => self.frame(key, frame),
                    }
                }
                Ok(Scan::More(n)) => {
                    b.scanned = scanned + n;
                    break;
                }
                Err(error) => {
                    self.lose_backend(key, Loss::Protocol(error.to_string()));
                    return data.len();
                }
            }
        }
        self.request_written(key);
        at
    }

    /// A node refuses a request that it has not got in full: what it says is the reply, and nothing was executed.
    fn answered_early(&mut self, client: Key<Client>, frame: &[u8]) {
        let mut verdict = frame.to_vec();
        if !resp::is_error(frame[0]) {
            verdict.clear();
            errors::not_sent(&mut verdict, "", "answered too early");
        }
        self.drop_upload(client, verdict);
    }

    /// The backend of a large request was lost before that was all there. False when it is none.
    pub(in crate::proxy) fn upload_lost(
        &mut self,
        part: &Part,
        written: bool,
        node: &str,
        loss: &Loss,
    ) -> bool {
        let Owner::Client(client, sequence) = part.owner else { return false };
        if !self.is_upload(part) {
            return false;
        }
        let mut error = Vec::new();
        match (written, loss) {
            (false, _) => errors::not_sent(&mut error, node, "was lost"),
            (true, Loss::ReplyTimeout) => errors::outcome_unknown(&mut error, node, "took too long"),
            (true, _) => errors::outcome_unknown(&mut error, node, "was lost"),
        }
        self.counters.proxy_errors += 1;
        if self.clients.get(client).is_some_and(|c| c.uploading) {
            self.drop_upload(client, error);
        } else {
            self.end_lease(client);
            self.reply_to(client, sequence, &error);
        }
        true
    }

    /// Whether a part is a large request that was passed on as it came: its bytes are not there any more.
    pub(in crate::proxy) fn is_upload(&self, part: &Part) -> bool {
        let Owner::Client(client, _) = part.owner else { return false };
        let lease = self.clients.get(client).and_then(|c| c.lease.as_deref());
        part.kind.dedicated && lease.is_some_and(|l| l.is_for_upload())
    }

    /// The timer of a backend whose request is not all there. True when it is still to be used.
    pub(in crate::proxy) fn upload_alarm(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        let now = self.now;
        let nodes_turn = !b.output().is_empty();
        if nodes_turn && now.since(b.progress) >= b.patience {
            self.counters.reply_timeouts += 1;
            return self.lose_backend(key, Loss::ReplyTimeout);
        }
        b.timer = self.timers.set(now.after(b.patience), Alarm::Backend(key));
        let user = b.user;
        let stalled = |c: &Client| now.since(c.heard) >= super::MOST_STALL;
        if !nodes_turn && self.clients.get(user).is_some_and(stalled) {
            log::debug!("a client is closed: nothing comes of the large request that it has begun");
            self.close_client(user);
        }
    }

    /// What is still to come of a large request is read and dropped; then `verdict` is the reply.
    fn drop_upload(&mut self, key: Key<Client>, verdict: Vec<u8>) {
        self.discard_leased(key);
        let Some(c) = self.clients.get_mut(key) else { return };
        c.lease = None;
        let Some(upload) = upload_of(&mut self.clients, key) else { return };
        upload.stage = Stage::Dropping(verdict);
        self.read_upload(key);
    }

    /// A large request has come to its end, or never will: the reply, and nothing reaches the node.
    fn end_upload(&mut self, key: Key<Client>, reply: Option<&[u8]>) {
        let sequence = upload_of(&mut self.clients, key).map(|u| u.sequence);
        self.forget_upload(key);
        self.discard_leased(key);
        if let Some(c) = self.clients.get_mut(key) {
            c.lease = None;
        }
        if let Some((sequence, reply)) = sequence.zip(reply) {
            self.reply_to(key, sequence, reply);
        }
    }

    /// The client will not send the rest of a large request: nobody waits for a reply to it.
    pub(in crate::proxy) fn cut_upload(&mut self, key: Key<Client>) {
        let Some(sequence) = upload_of(&mut self.clients, key).map(|u| u.sequence) else { return };
        self.end_upload(key, None);
        self.reply_by(key, sequence, |_| {});
    }

    fn forget_upload(&mut self, key: Key<Client>) {
        let Some(c) = self.clients.get_mut(key) else { return };
        c.uploading = false;
        if let Some(active) = c.active.as_deref_mut() {
            self.streams.uploads -= usize::from(active.upload.take().is_some());
        }
    }

    /// Reading the client of a large request goes on.
    fn read_upload(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.paused = false;
        }
        self.make_ready(key);
    }
}

fn upload_of(clients: &mut crate::base::arena::Arena<Client>, key: Key<Client>) -> Option<&mut Upload> {
    clients.get_mut(key)?.active.as_deref_mut()?.upload.as_deref_mut()
}
