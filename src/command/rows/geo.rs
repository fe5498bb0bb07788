//! Rows: geography.

use super::super::spec::{Command, Keys};
use super::{ro, rw, KEY, TWO};

pub(super) const ROWS: &[Command] = &[
    rw("geoadd", -5, KEY),
    ro("geodist", -4, KEY),
    ro("geohash", -2, KEY),
    ro("geopos", -2, KEY),
    ro("geosearch", -7, KEY),
    rw("geosearchstore", -8, TWO),
    rw("georadius", -6, Keys::GeoStore { options: 6 }),
    ro("georadius_ro", -6, KEY),
    rw("georadiusbymember", -5, Keys::GeoStore { options: 5 }),
    ro("georadiusbymember_ro", -5, KEY),
];
