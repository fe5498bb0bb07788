//! CLIENT and its sub-commands. Those about other clients are questions to all workers.

use super::filter::{Asker, Filter, LISTED};
use super::line::Liner;
use super::{is_label, number, timeout, BAD_NAME, NOT_AN_INTEGER, OK, SYNTAX};
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command::Command;
use crate::proxy::across::{Answer, Question, Then};
use crate::proxy::client::{Client, Labels};
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::errors;
use crate::proxy::forms;
use crate::proxy::pause::Scope;
use crate::resp::{encode, Args};

impl Engine {
    pub(super) fn client_command(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        let arg = |i| args.get(i).unwrap_or_default();
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        match row.name {
            "id" => self.reply_integer(key, i64::try_from(c.id).unwrap_or(i64::MAX)),
            "info" => {
                let (mut out, protocol) = (Vec::new(), c.protocol());
                encode::verbatim(&mut out, &self.liner().line(c), protocol);
                self.reply(key, &out)
            }
            "getname" => self.client_getname(key),
            "setname" => self.client_setname(key, arg(2)),
            "setinfo" => self.client_setinfo(key, arg(2), arg(3)),
            "list" => self.client_list(key, args),
            "kill" => self.client_kill(key, args),
            "reply" => self.client_reply(key, arg(2)),
            "pause" => self.client_pause(key, args),
            "unpause" => self.ask_workers(key, Question::Unpause, Then::Ok),
            "unblock" => self.client_unblock(key, args),
            "no-evict" | "no-touch" => match arg(2) {
                a if a.eq_ignore_ascii_case(b"on") || a.eq_ignore_ascii_case(b"off") => self.reply(key, OK),
                _ => self.refuse(key, |out| out.extend_from_slice(SYNTAX)),
            },
            // What the client can do if the server wants it to; this one never does.
            "capa" => {
                let redirects = args.iter().skip(2).any(|a| a.eq_ignore_ascii_case(b"redirect"));
                self.label(key, |l| l.redirects |= redirects);
                self.reply(key, OK)
            }
            "getredir" => self.reply_integer(key, c.redirect()),
            "tracking" => self.client_tracking(key, args),
            "caching" => self.client_caching(key, arg(2)),
            "trackinginfo" => self.client_trackinginfo(key),
            _ => self.refuse(key, |out| errors::not_yet(out, row)),
        }
    }

    /// What this worker adds to CLIENT LIST.
    pub(in crate::proxy) fn lines(&self, filter: &Filter) -> Answer {
        let chosen = self.clients.iter().filter(|(_, c)| filter.matches(c, self.now));
        let liner = self.liner();
        Answer::Lines(chosen.map(|(_, c)| (c.id, liner.line(c))).collect())
    }

    fn liner(&self) -> Liner {
        Liner::new(&self.software, self.around.worker, self.now)
    }

    fn asker(&self, me: u64) -> Asker<'_> {
        Asker { me, software: &self.software }
    }

    /// CLIENT KILL on this worker: closes at once, but who asked gets the reply first.
    pub(in crate::proxy) fn kill(&mut self, filter: &Filter, asker: u64) -> Answer {
        let chosen: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, c)| filter.matches(c, self.now))
            .map(|(key, c)| (key, c.id))
            .collect();
        for (key, id) in &chosen {
            match self.clients.get_mut(*key) {
                // Inside MULTI it has other replies to wait for, too.
                Some(c) if *id == asker && c.multi.is_none() => c.closing = true,
                _ => self.close_client(*key),
            }
        }
        Answer::Count(chosen.len() as i64)
    }

    fn client_list(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let Some(me) = self.clients.get(key).map(|c| c.id) else { return Step::Taken };
        match Filter::for_list(args, self.asker(me)) {
            Ok(filter) => {
                let ids = filter.ids.clone().filter(|_| !self.software.has(LISTED));
                self.ask_workers(key, Question::List(filter), Then::Lines(ids))
            }
            Err(error) => self.refuse(key, |out| out.extend_from_slice(&error)),
        }
    }

    fn client_kill(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let Some(asker) = self.clients.get(key).map(|c| c.id) else { return Step::Taken };
        // The old form, `CLIENT KILL ip:port`, may hit who asks, and says OK in place of a number.
        let (filter, then) = match args.len() {
            3 => (Ok(Filter::for_address(args.get(2).unwrap_or_default())), Then::Found),
            _ => (Filter::for_kill(args, self.asker(asker)), Then::Count),
        };
        match filter {
            Ok(filter) => self.ask_workers(key, Question::Kill { filter, asker }, then),
            Err(error) => self.refuse(key, |out| out.extend_from_slice(&error)),
        }
    }

    fn client_pause(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        if self.has_surplus(args) {
            return self.too_many(key, args);
        }
        let scope = match args.get(3) {
            None => Ok(Scope::All),
            Some(mode) if mode.eq_ignore_ascii_case(b"all") => Ok(Scope::All),
            Some(mode) if mode.eq_ignore_ascii_case(b"write") => Ok(Scope::Write),
            Some(_) => Err(&b"ERR CLIENT PAUSE mode must be WRITE or ALL"[..]),
        };
        let until = self.end_of_pause(args.get(2).unwrap_or_default());
        match (scope, until) {
            (Ok(scope), Ok(until)) => self.ask_workers(key, Question::Pause { scope, until }, Then::Ok),
            (Err(error), _) | (_, Err(error)) => self.refuse(key, |out| out.extend_from_slice(error)),
        }
    }

    fn end_of_pause(&self, text: &[u8]) -> Result<Time, &'static [u8]> {
        Ok(self.now.after(timeout(text)?))
    }

    fn client_unblock(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let reason = args.get(3);
        let error = reason.is_some_and(|r| r.eq_ignore_ascii_case(b"error"));
        if self.has_surplus(args) {
            return self.too_many(key, args);
        }
        if !error && reason.is_some_and(|r| !r.eq_ignore_ascii_case(b"timeout")) {
            let text = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            return self.refuse(key, |out| out.extend_from_slice(text));
        }
        match number(args.get(2).unwrap_or_default()) {
            Some(id) => self.ask_workers(key, Question::Unblock { id, error }, Then::Unblock { error }),
            None => self.refuse(key, |out| out.extend_from_slice(NOT_AN_INTEGER)),
        }
    }

    /// Whether there are more arguments than CLIENT PAUSE and CLIENT UNBLOCK take.
    fn has_surplus(&self, args: &Args<'_>) -> bool {
        args.len() > 4 && !self.software.has(forms::SURPLUS_IGNORED)
    }

    /// What a server says of arguments that its arity check lets pass.
    fn too_many(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let word = String::from_utf8_lossy(args.get(1).unwrap_or_default()).into_owned();
        let text = "ERR unknown subcommand or wrong number of arguments for";
        self.refuse(key, |out| errors::say(out, format_args!("{text} '{word}'. Try CLIENT HELP.")))
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
        if !is_label(value) {
            let text = "cannot contain spaces, newlines or special characters.";
            let option = String::from_utf8_lossy(option).into_owned();
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

    pub(in crate::proxy) fn reply_integer(&mut self, key: Key<Client>, value: i64) -> Step {
        let mut out = Vec::new();
        encode::integer(&mut out, value);
        self.reply(key, &out)
    }
}
