//! Start and stop.

use std::process::ExitCode;
use std::sync::Arc;

use redis_cluster_proxy::config::{self, Invocation, Settings};
use redis_cluster_proxy::net::admin::{self, AdminHandle, AdminParts};
use redis_cluster_proxy::net::handover;
use redis_cluster_proxy::net::life::{self, FLUSH};
use redis_cluster_proxy::net::logger::{self, LogHandle};
use redis_cluster_proxy::net::server::{self, Server};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

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
    let signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2]).map_err(|e| format!("cannot take signals: {e}"))?;
    let log = logger::init(&settings.log)?;
    let server = server::start(&Arc::new(settings.proxy.clone()))?;
    let admin =
        settings.proxy.debug_addr.as_deref().map(|addr| start_admin(addr, &server, &log)).transpose()?;
    log::info!("{} {} listens on {}", config::PROGRAM, env!("CARGO_PKG_VERSION"), server.addr);
    handover::serving();
    life::live(server, admin, signals, &log, settings.proxy.upgrade_timeout);
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
