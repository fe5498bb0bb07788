//! Which records become lines: the level, `-vmodule` and `-log_backtrace_at`. Asked on every enabled `log` macro.

use std::sync::atomic::{AtomicUsize, Ordering};

use log::{Level, LevelFilter};

use super::line::base_name;
use crate::config::{LogConfig, SourceLine, VModule};

#[derive(Debug)]
pub(super) struct Filter {
    /// A `LevelFilter` as a number.
    level: AtomicUsize,
    modules: Vec<VModule>,
    backtrace_at: Vec<SourceLine>,
}

impl Filter {
    pub(super) fn new(config: &LogConfig) -> Self {
        Filter {
            level: AtomicUsize::new(level_of_v(config.v) as usize),
            modules: config.vmodule.clone(),
            backtrace_at: config.log_backtrace_at.clone(),
        }
    }

    pub(super) fn level(&self) -> LevelFilter {
        let number = self.level.load(Ordering::Relaxed);
        LevelFilter::iter().find(|level| *level as usize == number).unwrap_or(LevelFilter::Info)
    }

    pub(super) fn set_level(&self, level: LevelFilter) {
        self.level.store(level as usize, Ordering::Relaxed);
    }

    /// The lowest level that any file may log at, for `log::set_max_level`.
    pub(super) fn max_level(&self) -> LevelFilter {
        let level = self.level();
        let by_module = self.modules.iter().map(|module| level_of_v(module.level)).max();
        match by_module {
            Some(by_module) if level >= LevelFilter::Info => level.max(by_module),
            _ => level,
        }
    }

    /// Whether a record of `level` from `file` becomes a line. Only verbose ones depend on the file, as with glog.
    pub(super) fn allows(&self, level: Level, file: Option<&str>) -> bool {
        let set = self.level();
        if level <= Level::Info || set < LevelFilter::Info {
            return level <= set;
        }
        level <= self.module_level(file.unwrap_or("")).unwrap_or(set)
    }

    pub(super) fn wants_backtrace(&self, file: Option<&str>, line: Option<u32>) -> bool {
        let (Some(file), Some(line)) = (file, line) else { return false };
        self.backtrace_at.iter().any(|at| at.line == line && at.file == base_name(file))
    }

    /// What the first pattern that matches `path` says.
    fn module_level(&self, path: &str) -> Option<LevelFilter> {
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let matches = |pattern: &str| {
            let subject = if pattern.contains('/') { path } else { base_name(path) };
            glob(pattern.as_bytes(), subject.as_bytes())
        };
        self.modules.iter().find(|module| matches(&module.pattern)).map(|module| level_of_v(module.level))
    }
}

/// glog's verbose levels as levels of the `log` crate: V(1) is debug, V(2) and above trace.
fn level_of_v(v: i32) -> LevelFilter {
    match v {
        ..=0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        2.. => LevelFilter::Trace,
    }
}

/// Whether `pattern` matches all of `text`; `*` stands for any run and `?` for one byte of anything but a slash.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), after) => {
            glob(rest, text) || after.is_some_and(|(byte, more)| *byte != b'/' && glob(pattern, more))
        }
        (Some((b'?', rest)), Some((byte, more))) => *byte != b'/' && glob(rest, more),
        (Some((want, rest)), Some((byte, more))) => want == byte && glob(rest, more),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(v: i32, modules: &[(&str, i32)]) -> Filter {
        let vmodule = modules.iter().map(|(p, n)| VModule { pattern: p.to_string(), level: *n }).collect();
        Filter::new(&LogConfig { v, vmodule, ..LogConfig::default() })
    }

    #[test]
    fn v_maps_to_levels() {
        for (v, level) in [
            (-1, LevelFilter::Info),
            (0, LevelFilter::Info),
            (1, LevelFilter::Debug),
            (9, LevelFilter::Trace),
        ] {
            assert_eq!(filter(v, &[]).level(), level);
            assert_eq!(filter(v, &[]).max_level(), level);
        }
    }

    #[test]
    fn the_first_module_that_matches_decides_about_verbose_lines() {
        let filter = filter(1, &[("mesh", 2), ("src/net/*", 0), ("ti?er", 2), ("m*h", 0)]);
        assert_eq!(filter.max_level(), LevelFilter::Trace);
        let cases = [
            (Level::Trace, "src/net/mesh.rs", true),
            (Level::Debug, "src/net/other.rs", false),
            (Level::Info, "src/net/other.rs", true),
            (Level::Debug, "src/net/deep/other.rs", true),
            (Level::Trace, "src/net/deep/other.rs", false),
            (Level::Trace, "src/base/timer.rs", true),
            (Level::Trace, "src/base/tier.rs", false),
            (Level::Debug, "src/base/mush.rs", false),
        ];
        for (level, file, want) in cases {
            assert_eq!(filter.allows(level, Some(file)), want, "{level} {file}");
        }
        assert!(filter.allows(Level::Debug, None));
    }

    #[test]
    fn a_level_below_info_silences_modules_too() {
        let filter = filter(0, &[("mesh", 2)]);
        filter.set_level(LevelFilter::Error);
        assert_eq!((filter.level(), filter.max_level()), (LevelFilter::Error, LevelFilter::Error));
        assert!(!filter.allows(Level::Trace, Some("mesh.rs")));
        assert!(!filter.allows(Level::Warn, Some("mesh.rs")));
        assert!(filter.allows(Level::Error, Some("mesh.rs")));
        filter.set_level(LevelFilter::Debug);
        assert_eq!(filter.max_level(), LevelFilter::Trace);
        assert!(filter.allows(Level::Debug, Some("x.rs")) && !filter.allows(Level::Trace, Some("x.rs")));
    }

    #[test]
    fn globs_match_whole_names() {
        for (pattern, text, want) in [
            ("", "", true),
            ("*", "", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b*d", "abcd", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a?c", "a/c", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        }
    }
}
