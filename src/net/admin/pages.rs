//! The admin pages: from a request to a reply. Knows no socket.

use std::time::Duration;

use super::http::{Request, Response};
use super::metrics::{self, Snapshot};
use super::process::ProcessInfo;
use super::workers::Workers;
use super::{AdminParts, SetLogLevel};
use crate::base::time::Time;
use crate::cluster::SLOTS;
use crate::net::clock::Clock;
use crate::net::profile::{self, ProfileError};
use crate::net::topology::{TopologyHandle, TopologyStatus};

/// Everything that it shows comes from `/metrics`.
const DASHBOARD: &str = include_str!("dashboard.html");

const INDEX: &str = "redis-cluster-proxy admin pages:
  /                                     a dashboard for browsers
  /healthz                              200 while all slots are covered and the topology is fresh, else 503
  /metrics                              figures for Prometheus
  /setloglevel?level=debug|info|warn|error
  /debug/pprof/                         about profiles
  /debug/pprof/profile?seconds=N        CPU profile of the next N seconds (1 to 300, 30 if not given)";

const ABOUT_PROFILES: &str = "Profiles:
  /debug/pprof/profile?seconds=N        CPU profile of the next N seconds (1 to 300, 30 if not given)

Read one with: go tool pprof -http=: 'http://this-address/debug/pprof/profile?seconds=10'";

/// Seconds of a profile when the request does not say, as in Go.
const DEFAULT_SECONDS: u64 = 30;
const MAX_SECONDS: u64 = 300;

/// What all requests share.
pub(super) struct Pages {
    workers: Workers,
    topology: TopologyHandle,
    set_log_level: SetLogLevel,
    clock: Clock,
    started: Time,
}

impl Pages {
    pub(super) fn new(parts: AdminParts) -> Self {
        let clock = Clock::new();
        Pages {
            workers: Workers::new(parts.workers),
            topology: parts.topology,
            set_log_level: parts.set_log_level,
            clock,
            started: clock.now(),
        }
    }

    pub(super) fn respond(&self, request: &Request) -> Response {
        if request.method != "GET" {
            return Response::text("405 Method Not Allowed", "only GET is allowed here");
        }
        match request.path.as_str() {
            "/" => dashboard(),
            "/healthz" => health(&self.topology.status()),
            "/metrics" => self.metrics(),
            "/setloglevel" => self.log_level(request.param("level")),
            "/debug/pprof" | "/debug/pprof/" => Response::ok(ABOUT_PROFILES),
            "/debug/pprof/profile" => cpu_profile(request.param("seconds")),
            _ => Response::text("404 Not Found", &format!("no such page\n\n{INDEX}")),
        }
    }

    fn metrics(&self) -> Response {
        let snapshot = Snapshot {
            workers: self.workers.sample(),
            topology: self.topology.status(),
            process: ProcessInfo::read(),
            uptime: self.clock.now().since(self.started),
        };
        Response {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics::render(&snapshot).into_bytes(),
        }
    }

    fn log_level(&self, level: Option<&str>) -> Response {
        let filter = match level {
            Some("debug") => log::LevelFilter::Debug,
            Some("info") => log::LevelFilter::Info,
            Some("warn") => log::LevelFilter::Warn,
            Some("error") => log::LevelFilter::Error,
            _ => return Response::text("400 Bad Request", "level must be debug, info, warn or error"),
        };
        (self.set_log_level)(filter);
        log::info!("admin: log level set to {filter}");
        Response::ok(&format!("log level is {}", filter.as_str().to_ascii_lowercase()))
    }
}

fn dashboard() -> Response {
    Response { status: "200 OK", content_type: "text/html; charset=utf-8", body: DASHBOARD.into() }
}

fn health(status: &TopologyStatus) -> Response {
    let ill = |reason: &str| Response::text("503 Service Unavailable", reason);
    let Some(age) = status.age else {
        let error = status.last_error.as_deref().unwrap_or("no node has been asked yet");
        return ill(&format!("topology not known yet: {error}"));
    };
    if status.covered_slots < SLOTS {
        return ill(&format!("{} of {SLOTS} slots covered", status.covered_slots));
    }
    if !status.is_fresh() {
        let error = status.last_error.as_deref().unwrap_or("no refresh has ended since");
        return ill(&format!("topology last confirmed {} s ago: {error}", age.as_secs()));
    }
    Response::ok("ok")
}

fn cpu_profile(seconds: Option<&str>) -> Response {
    let seconds = match seconds.map_or(Ok(DEFAULT_SECONDS), str::parse) {
        Ok(n) if (1..=MAX_SECONDS).contains(&n) => n,
        _ => {
            let text = format!("seconds must be a whole number from 1 to {MAX_SECONDS}");
            return Response::text("400 Bad Request", &text);
        }
    };
    match profile::cpu(Duration::from_secs(seconds)) {
        Ok(body) => Response { status: "200 OK", content_type: "application/octet-stream", body },
        Err(e) => Response::text(status_of(&e), &e.to_string()),
    }
}

fn status_of(error: &ProfileError) -> &'static str {
    match error {
        ProfileError::Unavailable => "501 Not Implemented",
        ProfileError::Busy => "409 Conflict",
        ProfileError::Failed(_) => "500 Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(covered: usize, age: Option<u64>) -> TopologyStatus {
        TopologyStatus {
            covered_slots: covered,
            age: age.map(Duration::from_secs),
            stale_after: Duration::from_secs(9),
            last_error: Some("10.0.0.1:7001: refused".into()),
            ..TopologyStatus::default()
        }
    }

    fn told(status: &TopologyStatus) -> (&'static str, String) {
        let response = health(status);
        (response.status, String::from_utf8(response.body).unwrap())
    }

    #[test]
    fn health_and_its_reasons() {
        let ill = "503 Service Unavailable";
        assert_eq!(told(&status(SLOTS, Some(9))), ("200 OK", "ok\n".into()));
        let text = "topology last confirmed 10 s ago: 10.0.0.1:7001: refused\n";
        assert_eq!(told(&status(SLOTS, Some(10))), (ill, text.into()));
        assert_eq!(told(&status(16000, Some(1))), (ill, "16000 of 16384 slots covered\n".into()));
        assert_eq!(told(&status(0, None)), (ill, "topology not known yet: 10.0.0.1:7001: refused\n".into()));
    }

    #[test]
    fn the_length_of_a_profile_is_checked() {
        for seconds in ["0", "301", "-1", "1.5", "", "x", "99999999999999999999"] {
            assert_eq!(cpu_profile(Some(seconds)).status, "400 Bad Request", "{seconds}");
        }
    }
}
