//! Questions to all workers: CLIENT LIST, CLIENT KILL, INFO and whatever else is about the whole proxy.
//!
//! Workers share nothing. Who is asked gives a client's request its place in the client's order, answers for its own
//! clients at once, and hands the question to its caller ([`super::Effect::Ask`]), who brings it to the engines of all
//! other workers ([`Engine::question`]) and their answers back ([`Engine::answered`]). The last answer makes the
//! reply. With one worker the way is the same, and ends where it began. An answer is data, owned and finished: it may
//! cross threads, and come too late.
//!
//! A new question is a variant of [`Question`] with its arm in [`Engine::question`], and, where its answers are
//! merged or shown in a new way, a variant of [`Answer`] or [`Then`].

use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::dispatch::Step;
use super::engine::{Alarm, Effect, Engine};
use super::errors;
use super::info::{Census, Figures};
use super::order::Sequence;
use super::pause::Scope;
use super::session::Filter;
use super::tracking::Options;
use super::unblock::Place;
use crate::base::arena::Key;
use crate::base::sort;
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::resp::{self, encode};

/// How long other workers may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// CLIENT LIST: the lines of these clients.
    List(Filter),
    /// CLIENT KILL: closes these clients; how many.
    Kill {
        /// Which clients.
        filter: Filter,
        /// The id of who asks, which gets its reply before it is closed.
        asker: u64,
    },
    /// CLIENT PAUSE.
    Pause {
        /// Which commands wait.
        scope: Scope,
        /// Until when.
        until: Time,
    },
    /// CLIENT UNPAUSE.
    Unpause,
    /// CLIENT TRACKING: where the client with this id is.
    Find(i64),
    /// CLIENT TRACKING: keys have changed, all without `names`; 1 if the client that is to be told was here.
    Changed {
        /// Whom to.
        target: Key<Client>,
        /// Its id.
        id: i64,
        /// Which keys.
        names: Option<Box<[Box<[u8]>]>>,
    },
    /// CLIENT UNBLOCK: how many clients this ended the waiting of, or where the client waits.
    Unblock {
        /// Whom to.
        id: i64,
        /// Whether it gets an error rather than the reply of a timeout.
        error: bool,
    },
    /// INFO: what was counted.
    Figures,
    /// EVAL: a script that may be called by its name from now on.
    RememberScript(Box<[u8]>),
    /// SCRIPT FLUSH: what was remembered of scripts is forgotten.
    ForgetScripts,
    /// CONFIG RESETSTAT.
    ResetStats,
    /// MONITOR: a worker has clients that want to see everything, or has none any more.
    Watch {
        /// Which worker.
        worker: usize,
        /// Whether it wants to see.
        on: bool,
    },
}

/// What a worker answers.
#[derive(Debug)]
pub enum Answer {
    /// It is done; also the answer of a worker that has ended.
    Done,
    /// So many.
    Count(i64),
    /// Ids and lines of clients.
    Lines(Vec<(u64, Vec<u8>)>),
    /// The client waits at a node, which has to be asked.
    Waits(Place),
    /// What was counted.
    Figures(Box<Figures>),
    /// The client, if it is one of this worker.
    Client(Option<Key<Client>>),
}

/// What becomes of the merged answers.
#[derive(Debug)]
pub(super) enum Then {
    /// Nobody waits.
    Nothing,
    /// `+OK`.
    Ok,
    /// The number.
    Count,
    /// The number, from the node where the client waits if it does.
    Unblock {
        /// As in [`Question::Unblock`].
        error: bool,
    },
    /// `+OK` when the number is not 0 (the old form of CLIENT KILL).
    Found,
    /// The lines, by age or in the order of these ids.
    Lines(Option<Vec<u64>>),
    /// `+OK`, and the client is shown everything from then on.
    Monitor,
    /// The text of INFO.
    Info(Box<Census>),
    /// CLIENT TRACKING begins if the client that it redirects to was found.
    Track(Box<Options>),
    /// This client redirects to one that has gone, if it was not found.
    Redirected(Key<Client>),
}

/// A question under way.
#[derive(Debug)]
pub struct Ask {
    /// Whose request.
    pub(super) client: Key<Client>,
    sequence: Sequence,
    /// Workers that have not answered.
    workers: usize,
    /// Parts to nodes that have not been answered; below zero while they are being sent.
    parts: i64,
    merged: Answer,
    then: Then,
    timer: TimerKey<Alarm>,
}

impl Question {
    /// Whether whoever is asked must be told about the host first, by [`Engine::set_host`].
    pub fn wants_host(&self) -> bool {
        matches!(self, Question::Figures)
    }
}

impl Answer {
    fn merge(&mut self, other: Answer) {
        match (self, other) {
            (Answer::Count(a), Answer::Count(b)) => *a += b,
            (a @ Answer::Count(_), b @ Answer::Waits(_)) => *a = b,
            (Answer::Waits(_), Answer::Count(_)) => {}
            (Answer::Lines(a), Answer::Lines(mut b)) => a.append(&mut b),
            (Answer::Figures(a), Answer::Figures(b)) => a.add(&b),
            (Answer::Client(a), Answer::Client(b)) => *a = a.or(b),
            (a @ Answer::Done, b) => *a = b,
            (_, b) => debug_assert!(matches!(b, Answer::Done), "answers to different questions"),
        }
    }
}

impl Engine {
    /// A question of another worker, or of this one's caller, about this worker.
    pub fn question(&mut self, question: &Question) -> Answer {
        match question {
            Question::List(filter) => self.lines(filter),
            Question::Kill { filter, asker } => self.kill(filter, *asker),
            Question::Pause { scope, until } => self.pause(*scope, *until),
            Question::Unpause => self.unpause(),
            Question::Unblock { id, error } => self.unblock(*id, *error),
            Question::Find(id) => Answer::Client(self.find_client(*id)),
            Question::Changed { target, id, names } => self.redirected(*target, *id, names.as_deref()),
            Question::Figures => Answer::Figures(Box::new(self.figures())),
            Question::RememberScript(text) => {
                self.scripts.remember(text);
                Answer::Done
            }
            Question::ForgetScripts => {
                self.scripts.clear();
                Answer::Done
            }
            Question::ResetStats => self.reset_stats(),
            Question::Watch { worker, on } => self.watch_for(*worker, *on),
        }
    }

    /// A worker has answered, or has ended ([`Answer::Done`]). What comes too late is ignored.
    pub fn answered(&mut self, key: Key<Ask>, answer: Answer) {
        let Some(ask) = self.asks.get_mut(key) else { return };
        ask.workers = ask.workers.saturating_sub(1);
        ask.merged.merge(answer);
        self.finish_ask(key);
    }

    /// Asks all workers on behalf of a client, whose request gets its place in the client's order.
    pub(super) fn ask_workers(&mut self, client: Key<Client>, question: Question, then: Then) -> Step {
        self.ask_with_parts(client, question, then, |_, _| 0);
        Step::Taken
    }

    /// As [`Engine::ask_workers`], with parts to nodes that belong to the question; `send` says how many it sends.
    pub(super) fn ask_with_parts(
        &mut self,
        client: Key<Client>,
        question: Question,
        then: Then,
        send: impl FnOnce(&mut Engine, Key<Ask>) -> usize,
    ) {
        let Some(c) = self.clients.get_mut(client) else { return };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(0);
        let key = self.new_ask(client, sequence, then);
        // A part may be answered while it is sent, but the question stays open, as no worker has answered yet.
        let sent = send(self, key);
        if let Some(ask) = self.asks.get_mut(key) {
            ask.parts += i64::try_from(sent).unwrap_or(0);
        }
        self.put(key, question);
    }

    /// Tells all workers something that nobody waits for.
    pub(super) fn tell(&mut self, question: Question) {
        self.tell_then(question, Then::Nothing);
    }

    /// As [`Engine::tell`], where something comes of the answers.
    pub(super) fn tell_then(&mut self, question: Question, then: Then) {
        let key = self.new_ask(Key::NONE, 0, then);
        self.put(key, question);
    }

    /// Has a node unblock a client; nobody waits for its answer.
    pub(super) fn ask_to_unblock(&mut self, place: Place, error: bool) {
        let key = self.new_ask(Key::NONE, 0, Then::Nothing);
        let timer = self.timers.set(self.now.after(PATIENCE), Alarm::Ask(key));
        if let Some(ask) = self.asks.get_mut(key) {
            (ask.workers, ask.parts, ask.timer) = (0, 1, timer);
        }
        if !self.send_unblock(key, place, error) {
            self.part_answered(key, b"");
        }
    }

    /// A node has answered a part of a question, or could not be asked.
    pub(super) fn part_answered(&mut self, key: Key<Ask>, reply: &[u8]) {
        let Some(ask) = self.asks.get_mut(key) else { return };
        ask.parts -= 1;
        match &mut ask.then {
            Then::Info(census) => census.add(reply),
            Then::Unblock { .. } => ask.merged = resp::integer(reply).map_or(Answer::Done, Answer::Count),
            _ => {}
        }
        self.finish_ask(key);
    }

    /// Some worker or node takes too long.
    pub(super) fn ask_alarm(&mut self, key: Key<Ask>) {
        let Some(ask) = self.asks.get_mut(key) else { return };
        ask.timer = Key::NONE;
        if ask.workers == 0 {
            // Only nodes are missing, and the reply can say so.
            ask.parts = 0;
            return self.finish_ask(key);
        }
        let (client, sequence) = (ask.client, ask.sequence);
        let was_monitor = matches!(ask.then, Then::Monitor);
        self.asks.remove(key);
        if was_monitor {
            self.watch_less();
        }
        self.counters.proxy_errors += 1;
        let mut error = Vec::new();
        errors::silent_worker(&mut error, PATIENCE);
        self.reply_to(client, sequence, &error);
    }

    /// Whether a client waits for MONITOR to begin.
    pub(super) fn monitor_asked(&self) -> bool {
        self.asks.iter().any(|(_, a)| matches!(a.then, Then::Monitor))
    }

    fn new_ask(&mut self, client: Key<Client>, sequence: Sequence, then: Then) -> Key<Ask> {
        let (workers, merged) = (self.around.workers.max(1), Answer::Done);
        let ask = Ask { client, sequence, workers, parts: 0, merged, then, timer: Key::NONE };
        self.asks.insert(ask)
    }

    /// Puts a question to this worker, and through the caller to all others.
    fn put(&mut self, key: Key<Ask>, question: Question) {
        let question = Arc::new(question);
        let own = (!question.wants_host()).then(|| self.question(&question));
        self.effects.push(Effect::Ask(key, question));
        let timer = self.timers.set(self.now.after(PATIENCE), Alarm::Ask(key));
        if let Some(ask) = self.asks.get_mut(key) {
            ask.timer = timer;
        }
        if let Some(own) = own {
            self.answered(key, own);
        }
    }

    /// Whether a node has to be asked now that all workers have answered; until it answers, nobody knows.
    fn goes_on(&mut self, key: Key<Ask>) -> bool {
        let Some(ask) = self.asks.get_mut(key) else { return false };
        let (Then::Unblock { error }, Answer::Waits(place)) = (&ask.then, &ask.merged) else { return false };
        let (error, place) = (*error, *place);
        ask.merged = Answer::Done;
        ask.parts = 1;
        let sent = self.send_unblock(key, place, error);
        if let Some(ask) = self.asks.get_mut(key).filter(|_| !sent) {
            ask.parts = 0;
        }
        sent
    }

    fn finish_ask(&mut self, key: Key<Ask>) {
        if self.asks.get(key).is_none_or(|a| a.workers > 0 || a.parts > 0) {
            return;
        }
        if self.goes_on(key) {
            return;
        }
        let Some(ask) = self.asks.remove(key) else { return };
        self.timers.cancel(ask.timer);
        let Some(protocol) = self.clients.get(ask.client).map(|c| c.protocol()) else {
            return match (ask.then, ask.merged) {
                (Then::Monitor, _) => self.watch_less(),
                (Then::Redirected(client), Answer::Count(0)) => self.redirect_broken(client),
                _ => {}
            };
        };
        let mut out = Vec::new();
        match (ask.then, ask.merged) {
            (Then::Nothing | Then::Redirected(_), _) => return,
            (Then::Ok, _) => out.extend_from_slice(b"+OK\r\n"),
            (Then::Monitor, _) => return self.monitor_begins(ask.client, ask.sequence),
            (Then::Track(options), Answer::Client(target)) => {
                return self.redirect_found(ask.client, ask.sequence, *options, target);
            }
            (Then::Track(options), _) => {
                return self.redirect_found(ask.client, ask.sequence, *options, None)
            }
            (Then::Count | Then::Unblock { .. }, Answer::Count(n)) => encode::integer(&mut out, n),
            (Then::Found, Answer::Count(n)) if n > 0 => out.extend_from_slice(b"+OK\r\n"),
            (Then::Found, _) => out.extend_from_slice(b"-ERR No such client\r\n"),
            (Then::Unblock { .. }, _) => errors::silent_node(&mut out),
            (Then::Count, _) => encode::integer(&mut out, 0),
            (Then::Lines(ids), Answer::Lines(lines)) => {
                encode::verbatim(&mut out, &in_order(lines, ids.as_deref()), protocol);
            }
            (Then::Lines(_), _) => encode::verbatim(&mut out, b"", protocol),
            (Then::Info(census), Answer::Figures(figures)) => {
                let text = self.info_text(&census, &figures);
                encode::verbatim(&mut out, text.as_bytes(), protocol);
            }
            (Then::Info(_), _) => encode::verbatim(&mut out, b"", protocol),
        }
        self.reply_to(ask.client, ask.sequence, &out);
    }
}

/// All lines, oldest client first, or those of `ids` in their order, repeated where an id is.
fn in_order(mut lines: Vec<(u64, Vec<u8>)>, ids: Option<&[u64]>) -> Vec<u8> {
    sort::by_key(&mut lines, |(id, _)| *id);
    let of = |id: &u64| lines.binary_search_by_key(id, |(id, _)| *id).ok().map(|i| lines[i].1.as_slice());
    match ids {
        None => lines.iter().flat_map(|(_, line)| line.iter().copied()).collect(),
        Some(ids) => ids.iter().filter_map(of).flatten().copied().collect(),
    }
}
