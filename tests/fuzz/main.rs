//! The fuzz targets without a fuzzer: each looks at its kept inputs (`tools/fuzz/seeds`, those of former failures among
//! them) and then, for five seconds, at changes of them by lot. `make fuzz` runs the same under libFuzzer.
//!
//! `FUZZ_SECONDS=n` sets another time. An input that fails is printed and kept; it becomes a seed, named by its symptom.

// A smoke test lasts as long as it is told to.
#![allow(clippy::disallowed_methods)]

mod engine;
mod flags;
mod mutate;
mod redirect;
mod reply_framer;
mod request_parser;
mod slots_reply;

use std::cell::RefCell;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use redis_cluster_proxy::base::random::Random;

fn run(name: &str, check: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "tools/fuzz/seeds/{name} is empty");
    seeds.iter().for_each(|(file, seed)| look(name, file, seed, check));
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, seed)| seed).collect();
    let seconds = std::env::var("FUZZ_SECONDS").map_or(5, |text| text.parse().unwrap());
    let (begin, time) = (Instant::now(), Duration::from_secs(seconds));
    let random = RefCell::new(Random::new(0x5eed + u64::from(name.as_bytes()[0])));
    let mut inputs = 0;
    while begin.elapsed() < time {
        look(name, "made by lot", &mutate::mutate(&random, &seeds), check);
        inputs += 1;
    }
    println!("{name}: {} seeds, {inputs} inputs by lot", seeds.len());
    assert!(inputs > 0 || seconds == 0);
}

fn look(name: &str, source: &str, data: &[u8], check: fn(&[u8])) {
    if let Err(panic) = catch_unwind(|| check(data)) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        fs::write(&kept, data).unwrap();
        eprintln!("{name} fails for {source}, kept as {}: {}", kept.display(), data.escape_ascii());
        resume_unwind(panic);
    }
}

/// Names and contents of the kept inputs, in the order of their names.
fn seeds(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fuzz/seeds").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|f| (f.display().to_string(), fs::read(f).unwrap())).collect()
}

#[test]
fn request_parser_smoke() {
    run("request_parser", request_parser::check);
}

#[test]
fn reply_framer_smoke() {
    run("reply_framer", reply_framer::check);
}

#[test]
fn redirect_smoke() {
    run("redirect", redirect::check);
}

#[test]
fn slots_reply_smoke() {
    run("slots_reply", slots_reply::check);
}

#[test]
fn flags_smoke() {
    run("flags", flags::check);
}

#[test]
fn engine_smoke() {
    run("engine", engine::check);
}
