//! The life of the process from when it serves to its end: signals, a successor, the orderly stop.

use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGUSR2};
use signal_hook::iterator::Signals;

use super::admin::AdminHandle;
use super::channel::{channel, Nothing, Receiver, Sender};
use super::clock::Clock;
use super::logger::LogHandle;
use super::server::Server;
use super::{handover, notify};

/// How long the last log lines may take to be written.
pub const FLUSH: Duration = Duration::from_secs(2);

/// How often a process that was succeeded looks whether its clients have gone.
const LOOK: Duration = Duration::from_millis(50);

enum Event {
    Signal(i32),
    /// Its process id, or why there is none.
    Successor(Result<u32, String>),
}

/// Serves until a signal or a successor ends it. SIGHUP reopens the logs, SIGUSR2 starts a successor, any other signal
/// stops in order, and a second one at once.
pub fn live(
    server: Server,
    admin: Option<AdminHandle>,
    signals: Signals,
    log: &LogHandle,
    upgrade_timeout: Duration,
) {
    let (events, inbox) = channel(usize::MAX);
    take_signals(signals, events.clone());
    let successor = serve(&server, &inbox, &events, log);
    if let Some(pid) = successor {
        log::info!("process {pid} has taken over: {} clients are served on", server.clients());
        notify::send(&format!("MAINPID={pid}"));
        server.retire();
    } else {
        notify::send("STOPPING=1");
    }
    if let Some(admin) = &admin {
        admin.stop();
    }
    if successor.is_some() {
        serve_on(&server, &inbox, log, upgrade_timeout);
    }
    let log = log.clone();
    std::thread::spawn(move || {
        let ends = |event| matches!(event, Event::Signal(s) if s != SIGHUP && s != SIGUSR2);
        if std::iter::from_fn(|| inbox.recv()).any(ends) {
            log::warn!("second signal: stopping at once");
            log.flush(FLUSH);
            std::process::exit(1);
        }
    });
    server.stop();
}

fn take_signals(mut signals: Signals, events: Sender<Event>) {
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if !events.send(Event::Signal(signal)) {
                return;
            }
        }
    });
}

/// Until the orderly stop is due; the process id of who has taken over, if somebody has.
fn serve(server: &Server, inbox: &Receiver<Event>, events: &Sender<Event>, log: &LogHandle) -> Option<u32> {
    let mut starting = false;
    while let Some(event) = inbox.recv() {
        match event {
            Event::Signal(SIGHUP) => log.reopen(),
            Event::Signal(SIGUSR2) if starting => log::warn!("SIGUSR2: a new process is starting already"),
            Event::Signal(SIGUSR2) => starting = succeed(server, events),
            Event::Signal(signal) => {
                log::info!("signal {signal}: stopping");
                return None;
            }
            Event::Successor(Ok(pid)) => return Some(pid),
            Event::Successor(Err(why)) => {
                starting = false;
                log::error!("the new process does not serve ({why}): this one goes on");
            }
        }
    }
    None
}

/// Whether a successor is starting.
fn succeed(server: &Server, events: &Sender<Event>) -> bool {
    let events = events.clone();
    // Nobody listens any more when this process stops meanwhile.
    let then = move |result| _ = events.send(Event::Successor(result));
    let started =
        server.socket().and_then(|(socket, origin)| handover::start_successor(socket, origin, then));
    match &started {
        Ok(()) => log::info!("SIGUSR2: starting a new process to take over"),
        Err(e) => log::error!("SIGUSR2: no new process can be started: {e}"),
    }
    started.is_ok()
}

/// Serves those who are connected until they have gone, the time is over, or a signal comes.
fn serve_on(server: &Server, inbox: &Receiver<Event>, log: &LogHandle, time: Duration) {
    let clock = Clock::new();
    let end = clock.now().after(time);
    while server.clients() > 0 && clock.now() < end {
        match inbox.recv_within(LOOK) {
            Ok(Event::Signal(SIGHUP)) => log.reopen(),
            Ok(Event::Signal(signal)) if signal != SIGUSR2 => return,
            Err(Nothing::Ever) => return,
            Ok(_) | Err(Nothing::Yet) => {}
        }
    }
}
