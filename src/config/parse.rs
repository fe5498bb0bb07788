//! From arguments to settings: Go's flag syntax on top of `getopts`, then the flag table, then what only a
//! combination of flags can get wrong.

use std::ffi::OsString;
use std::fmt;

use getopts::{Fail, HasArg, Matches, Occur, Options, ParsingStyle};

use super::flags::{Flag, Kind, FLAGS, VERSION};
use super::{usage, Settings, PROGRAM};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// To run with these settings.
    Run(Box<Settings>),
    /// To print this usage text and exit with 0. Go prints it on standard error and exits with 2; who asked for it
    /// got what was asked for, so here it is for standard output.
    Help(String),
    /// To print this version and exit with 0.
    Version(String),
}

/// A command line that cannot be followed. Displays as one whole line that names the flag, the value and what would
/// be accepted; the process should exit with 2, as with Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PROGRAM}: {}", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments, the program's name not among them.
pub fn from_args(args: impl Iterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let args = args.enumerate().map(|(at, arg)| utf8(at, arg)).collect::<Result<Vec<String>, _>>()?;
    let matches = options().parse(&args).map_err(|fail| explain(&fail, &args))?;
    if HELP.iter().any(|name| matches.opt_present(name)) {
        return Ok(Invocation::Help(usage::text()));
    }
    if last_value(&matches, VERSION, Kind::Bool).is_some_and(|v| super::value::boolean(&v) == Some(true)) {
        return Ok(Invocation::Version(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"))));
    }
    if let Some(extra) = matches.free.first() {
        return Err(UsageError(format!(
            "unexpected argument {extra:?}: want flags only, such as -addr 0.0.0.0:8088 or -logtostderr=true"
        )));
    }
    settings(&matches).map(|settings| Invocation::Run(Box::new(settings)))
}

/// Not in the table because Go lists neither, and knows both.
const HELP: [&str; 2] = ["h", "help"];

fn utf8(at: usize, arg: OsString) -> Result<String, UsageError> {
    arg.into_string().map_err(|arg| UsageError(format!("argument {} is {arg:?}: want UTF-8 text", at + 1)))
}

/// The flags in getopts' words: one dash or two, a value behind `=` or in the next argument, the last one counts.
fn options() -> Options {
    let mut options = Options::new();
    options.long_only(true).parsing_style(ParsingStyle::StopAtFirstFree);
    for flag in FLAGS {
        let has_arg = if flag.kind == Kind::Bool { HasArg::Maybe } else { HasArg::Yes };
        declare(&mut options, flag.name, has_arg);
    }
    for name in HELP {
        declare(&mut options, name, HasArg::Maybe);
    }
    options
}

fn declare(options: &mut Options, name: &str, has_arg: HasArg) {
    let (short, long) = if name.len() == 1 { (name, "") } else { ("", name) };
    options.opt(short, long, "", "", has_arg, Occur::Multi);
}

fn explain(fail: &Fail, args: &[String]) -> UsageError {
    let text = match fail {
        Fail::UnrecognizedOption(name) if name.is_empty() || name.starts_with('-') => {
            let arg = args.iter().find(|arg| written_name(arg) == Some(name));
            format!("bad flag syntax: {}: want -name value or -name=value", arg.unwrap_or(name))
        }
        Fail::UnrecognizedOption(name) => match usage::nearest(name) {
            Some(near) => format!("flag provided but not defined: -{name}: did you mean -{near}?"),
            None => format!("flag provided but not defined: -{name}: see -help for those that are"),
        },
        Fail::ArgumentMissing(name) => {
            format!("flag needs an argument: -{name}: want -{name} value or -{name}=value")
        }
        // Not reached: every flag is optional, may be repeated, and may have a value.
        other => other.to_string(),
    };
    UsageError(text)
}

/// What stands between the one or two dashes and the `=`, the way getopts cuts it.
fn written_name(arg: &str) -> Option<&str> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    name.split('=').next()
}

fn settings(matches: &Matches) -> Result<Settings, UsageError> {
    let mut settings = Settings::default();
    for flag in FLAGS {
        if let Some(value) = last_value(matches, flag.name, flag.kind) {
            set(&mut settings, flag, &value)?;
        }
    }
    check_combinations(&settings)?;
    Ok(settings)
}

fn set(settings: &mut Settings, flag: &Flag, value: &str) -> Result<(), UsageError> {
    (flag.set)(settings, value)
        .map_err(|want| UsageError(format!("-{}: invalid value {value:?}: want {want}", flag.name)))
}

fn check_combinations(settings: &Settings) -> Result<(), UsageError> {
    let (init, idle) = (settings.proxy.backend_init_connections, settings.proxy.backend_idle_connections);
    if init > idle {
        return Err(UsageError(format!(
            "-backend-init-connections: invalid value \"{init}\": want at most -backend-idle-connections, which is {idle}"
        )));
    }
    Ok(())
}

/// The value given last, since repeating a flag overrides it; a bare boolean is `true`.
fn last_value(matches: &Matches, name: &str, kind: Kind) -> Option<String> {
    let last = matches.opt_positions(name).into_iter().max()?;
    let written = matches.opt_strs_pos(name).into_iter().find(|(at, _)| *at == last);
    match written {
        Some((_, value)) => Some(value),
        None => (kind == Kind::Bool).then(|| "true".to_string()),
    }
}
