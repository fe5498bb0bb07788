//! The protocol buffer that `go tool pprof` reads: message `Profile` of `profile.proto` in github.com/google/pprof.
//!
//! It is small enough to be written by hand: numbers are varints, everything else is a length and bytes. Field
//! numbers below are those of that file.
#![cfg_attr(not(all(feature = "profile", unix, target_pointer_width = "64")), allow(dead_code))]

use std::collections::HashMap;
use std::time::Duration;

/// A function that was running, or had called one that was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// A profile that is being written. Tables come first to be complete, so they are kept apart until the end.
pub(super) struct Profile {
    samples: Vec<u8>,
    locations: Table<Vec<Frame>>,
    functions: Table<(String, String)>,
    strings: Table<String>,
    started_nanos: u64,
    duration: Duration,
    period_nanos: u64,
}

/// Things that are referred to by number, each once.
struct Table<T> {
    ids: HashMap<T, u64>,
    encoded: Vec<u8>,
}

impl<T: std::hash::Hash + Eq> Table<T> {
    fn new() -> Self {
        Table { ids: HashMap::new(), encoded: Vec::new() }
    }
}

impl Profile {
    /// An empty profile of `duration`, begun at a Unix time, with so many samples per second.
    pub(super) fn new(started_micros: u64, duration: Duration, frequency: i32) -> Self {
        let frequency = u64::try_from(frequency).unwrap_or(1).max(1);
        let mut profile = Profile {
            samples: Vec::new(),
            locations: Table::new(),
            functions: Table::new(),
            strings: Table::new(),
            started_nanos: started_micros.saturating_mul(1000),
            duration,
            period_nanos: 1_000_000_000 / frequency,
        };
        // The first string is empty by definition.
        profile.string("");
        profile
    }

    /// Adds a stack, innermost place first, each place with what was inlined there, innermost first.
    pub(super) fn sample(&mut self, stack: impl Iterator<Item = Vec<Frame>>, thread: &str, count: i64) {
        let mut location_ids = Vec::new();
        for place in stack {
            let id = self.location(place);
            varint(&mut location_ids, id);
        }
        let count = u64::try_from(count).unwrap_or(0);
        let mut values = Vec::new();
        varint(&mut values, count);
        varint(&mut values, count.saturating_mul(self.period_nanos));
        let (key, name) = (self.string("thread"), self.string(thread));
        let mut label = Vec::new();
        number(&mut label, 1, key);
        number(&mut label, 2, name);
        let mut sample = Vec::new();
        bytes(&mut sample, 1, &location_ids);
        bytes(&mut sample, 2, &values);
        bytes(&mut sample, 3, &label);
        bytes(&mut self.samples, 2, &sample);
    }

    /// The whole message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let samples_in_count = self.value_type("samples", "count");
        let cpu_in_nanos = self.value_type("cpu", "nanoseconds");
        let mut out = Vec::new();
        bytes(&mut out, 1, &samples_in_count);
        bytes(&mut out, 1, &cpu_in_nanos);
        out.append(&mut self.samples);
        out.append(&mut self.locations.encoded);
        out.append(&mut self.functions.encoded);
        out.append(&mut self.strings.encoded);
        number(&mut out, 9, self.started_nanos);
        number(&mut out, 10, u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX));
        bytes(&mut out, 11, &cpu_in_nanos);
        number(&mut out, 12, self.period_nanos);
        out
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> Vec<u8> {
        let (kind, unit) = (self.string(kind), self.string(unit));
        let mut out = Vec::new();
        number(&mut out, 1, kind);
        number(&mut out, 2, unit);
        out
    }

    fn location(&mut self, place: Vec<Frame>) -> u64 {
        if let Some(id) = self.locations.ids.get(&place) {
            return *id;
        }
        let id = self.locations.ids.len() as u64 + 1;
        let mut location = Vec::new();
        number(&mut location, 1, id);
        for frame in &place {
            let function = self.function(&frame.function, &frame.file);
            let mut line = Vec::new();
            number(&mut line, 1, function);
            number(&mut line, 2, u64::from(frame.line));
            bytes(&mut location, 4, &line);
        }
        bytes(&mut self.locations.encoded, 4, &location);
        self.locations.ids.insert(place, id);
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (name.to_owned(), file.to_owned());
        if let Some(id) = self.functions.ids.get(&key) {
            return *id;
        }
        let id = self.functions.ids.len() as u64 + 1;
        let (name, file) = (self.string(name), self.string(file));
        let mut function = Vec::new();
        for (field, value) in [(1, id), (2, name), (3, name), (4, file)] {
            number(&mut function, field, value);
        }
        bytes(&mut self.functions.encoded, 5, &function);
        self.functions.ids.insert(key, id);
        id
    }

    fn string(&mut self, text: &str) -> u64 {
        if let Some(id) = self.strings.ids.get(text) {
            return *id;
        }
        let id = self.strings.ids.len() as u64;
        bytes(&mut self.strings.encoded, 6, text.as_bytes());
        self.strings.ids.insert(text.to_owned(), id);
        id
    }
}

/// A field that holds a number (wire type 0).
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

/// A field that holds bytes, a message or packed numbers (wire type 2).
fn bytes(out: &mut Vec<u8>, field: u64, body: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, body.len() as u64);
    out.extend_from_slice(body);
}

/// Seven bits a byte, lowest first, the top bit set on all but the last.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a message: its number and its value or body.
    #[derive(Debug, PartialEq)]
    enum Field {
        Number(u64, u64),
        Bytes(u64, Vec<u8>),
    }

    fn read_varint(input: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = input.split_first().expect("a whole varint");
            *input = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn fields(mut input: &[u8]) -> Vec<Field> {
        let mut all = Vec::new();
        while !input.is_empty() {
            let tag = read_varint(&mut input);
            let value = read_varint(&mut input);
            all.push(if tag & 7 == 0 {
                Field::Number(tag >> 3, value)
            } else {
                assert_eq!(tag & 7, 2);
                let (body, rest) = input.split_at(usize::try_from(value).unwrap());
                input = rest;
                Field::Bytes(tag >> 3, body.to_vec())
            });
        }
        all
    }

    fn bodies(message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
        let all = fields(message).into_iter();
        all.filter_map(|field| match field {
            Field::Bytes(number, body) if number == wanted => Some(body),
            _ => None,
        })
        .collect()
    }

    fn frame(function: &str, line: u32) -> Frame {
        Frame { function: function.into(), file: "f.rs".into(), line }
    }

    #[test]
    fn varints() {
        let cases: [(u64, &[u8]); 5] = [
            (0, &[0]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn equal_places_functions_and_strings_are_written_once() {
        let mut profile = Profile::new(1_000_000, Duration::from_secs(2), 100);
        let main = || vec![frame("main", 1)];
        profile.sample([vec![frame("inlined", 9), frame("hot", 5)], main()].into_iter(), "worker", 3);
        profile.sample([vec![frame("hot", 6)], main()].into_iter(), "worker", 1);
        let message = profile.finish();
        let strings: Vec<String> =
            bodies(&message, 6).into_iter().map(|b| String::from_utf8(b).unwrap()).collect();
        assert_eq!(
            strings,
            [
                "",
                "inlined",
                "f.rs",
                "hot",
                "main",
                "thread",
                "worker",
                "samples",
                "count",
                "cpu",
                "nanoseconds"
            ]
        );
        assert_eq!((bodies(&message, 1).len(), bodies(&message, 2).len()), (2, 2));
        assert_eq!((bodies(&message, 4).len(), bodies(&message, 5).len()), (3, 3));
    }

    #[test]
    fn a_sample_refers_to_its_places_and_says_its_worth() {
        let mut profile = Profile::new(1_000_000, Duration::from_secs(2), 100);
        profile.sample([vec![frame("hot", 5)], vec![frame("main", 1)]].into_iter(), "", 3);
        let message = profile.finish();
        let sample = &bodies(&message, 2)[0];
        assert_eq!(bodies(sample, 1), [vec![1, 2]]);
        let packed = bodies(sample, 2);
        let mut values = packed[0].as_slice();
        assert_eq!((read_varint(&mut values), read_varint(&mut values)), (3, 30_000_000));
        let first = &bodies(&message, 4)[0];
        assert_eq!(fields(first)[0], Field::Number(1, 1));
        assert_eq!(fields(&bodies(first, 4)[0]), [Field::Number(1, 1), Field::Number(2, 5)]);
        let all = fields(&message);
        assert!(all.contains(&Field::Number(9, 1_000_000_000)));
        assert!(all.contains(&Field::Number(10, 2_000_000_000)));
        assert!(all.contains(&Field::Number(12, 10_000_000)));
    }
}
