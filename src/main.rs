//! Start and stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::config::{self, Invocation, Settings};
use redis_cluster_proxy::net::admin::{self, AdminHandle, AdminParts};
use redis_cluster_proxy::net::logger::{self, LogHandle};
use redis_cluster_proxy::net::server::{self, Server};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long the last log lines may take to be written.
const FLUSH: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let settings = match config::from_args(std::env::args_os().skip(1)) {
        Ok(Invocation::Run(settings)) => settings,
        Ok(Invocation::Help(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Version(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", config::PROGRAM);
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), String> {
    // Before any other thread, so that all of them leave these signals to this one.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| format!("cannot take signals: {e}"))?;
    let log = logger::init(&settings.log)?;
    let server = server::start(&Arc::new(settings.proxy.clone()))?;
    let admin =
        settings.proxy.debug_addr.as_deref().map(|addr| start_admin(addr, &server, &log)).transpose()?;
    log::info!("{} {} listens on {}", config::PROGRAM, env!("CARGO_PKG_VERSION"), server.addr);
    serve(server, signals, &log);
    if let Some(admin) = admin {
        admin.stop();
    }
    log.flush(FLUSH);
    Ok(())
}

fn start_admin(addr: &str, server: &Server, log: &LogHandle) -> Result<AdminHandle, String> {
    let (workers, topology, log) = (server.workers.clone(), server.topology.clone(), log.clone());
    let parts = AdminParts { workers, topology, set_log_level: Box::new(move |level| log.set_level(level)) };
    let admin =
        admin::spawn(addr, parts).map_err(|e| format!("-debug-addr: cannot listen on {addr}: {e}"))?;
    log::info!("admin pages at http://{}/", admin.addr());
    Ok(admin)
}

/// Waits for signals: SIGHUP reopens the logs, SIGTERM and SIGINT stop in order, a second one stops at once.
fn serve(server: Server, mut signals: Signals, log: &LogHandle) {
    let first = signals.forever().find(|signal| {
        if *signal == SIGHUP {
            log.reopen();
        }
        *signal != SIGHUP
    });
    log::info!("signal {}: stopping", first.unwrap_or(SIGTERM));
    let log = log.clone();
    std::thread::spawn(move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            log::warn!("second signal: stopping at once");
            log.flush(FLUSH);
            std::process::exit(1);
        }
    });
    server.stop();
}
