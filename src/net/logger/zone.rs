//! Local time: the calendar fields of a moment, daylight saving included.

use std::time::{SystemTime, UNIX_EPOCH};

use tz::{DateTime, TimeZone};

/// A moment as the calendar and the clock on the wall say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) year: i32,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) micros: u32,
}

#[derive(Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    /// What `TZ` says, else the machine's zone, else UTC: the order of the C library and of Go.
    pub(super) fn local() -> Self {
        let zone = match std::env::var("TZ") {
            Ok(name) if name.is_empty() => Ok(TimeZone::utc()),
            Ok(name) => TimeZone::from_posix_tz(&name),
            Err(_) => TimeZone::local(),
        };
        Zone(zone.unwrap_or_else(|_| TimeZone::utc()))
    }

    #[cfg(test)]
    pub(super) fn named(posix: &str) -> Self {
        Zone(TimeZone::from_posix_tz(posix).expect("a time zone"))
    }

    pub(super) fn at(&self, time: SystemTime) -> Stamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let local = DateTime::from_timespec(seconds, since.subsec_nanos(), self.0.as_ref());
        let utc = || DateTime::from_timespec(seconds, since.subsec_nanos(), TimeZone::utc().as_ref());
        // Fails for years that do not fit the calendar only; such a clock is wrong anyway.
        local.or_else(|_| utc()).map(|at| Stamp::of(&at)).unwrap_or_default()
    }
}

impl Stamp {
    fn of(at: &DateTime) -> Self {
        Stamp {
            year: at.year(),
            month: at.month(),
            day: at.month_day(),
            hour: at.hour(),
            minute: at.minute(),
            second: at.second(),
            micros: at.nanoseconds() / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn clock(zone: &str, seconds: u64) -> (u8, u8, u8) {
        let stamp = Zone::named(zone).at(UNIX_EPOCH + Duration::from_secs(seconds));
        (stamp.day, stamp.hour, stamp.minute)
    }

    #[test]
    fn daylight_saving_is_followed() {
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        assert_eq!(clock(new_york, 1_751_328_000), (30, 20, 0)); // 2025-07-01 00:00 UTC
        assert_eq!(clock(new_york, 1_735_689_600), (31, 19, 0)); // 2025-01-01 00:00 UTC
        assert_eq!(clock("IST-5:30", 1_735_689_600), (1, 5, 30));
    }

    #[test]
    fn clocks_that_are_far_off_are_no_trouble() {
        let before = Zone::named("UTC0").at(UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!((before.year, before.month, before.day), (1970, 1, 1));
        let after = UNIX_EPOCH.checked_add(Duration::from_secs(1 << 60));
        assert_eq!(after.map(|time| Zone::named("UTC0").at(time)), after.map(|_| Stamp::default()));
    }
}
