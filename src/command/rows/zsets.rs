//! Rows: sorted sets.

use super::super::spec::{Command, Flags, Keys};
use super::{blocking, counted, ro, rw, ALL_BUT_LAST, KEY, TWO};

/// Argument 1 is the destination, argument 2 the number of sources that follow.
const STORE: Keys = Keys::Counted { count: 2, first: 3, step: 1, dest: 1 };

pub(super) const ROWS: &[Command] = &[
    rw("zadd", -4, KEY),
    rw("zrem", -3, KEY),
    ro("zscore", 3, KEY),
    ro("zmscore", -3, KEY),
    ro("zcard", 2, KEY),
    ro("zcount", 4, KEY),
    rw("zincrby", 4, KEY),
    // WITHSCORE came after Redis 7.0.
    ro("zrank", -3, KEY).with(Flags::ARITY_GREW),
    ro("zrevrank", -3, KEY).with(Flags::ARITY_GREW),
    ro("zrange", -4, KEY),
    ro("zrangebylex", -4, KEY),
    ro("zrangebyscore", -4, KEY),
    ro("zrevrange", -4, KEY),
    ro("zrevrangebylex", -4, KEY),
    ro("zrevrangebyscore", -4, KEY),
    rw("zrangestore", -5, TWO),
    ro("zlexcount", 4, KEY),
    ro("zrandmember", -2, KEY),
    ro("zscan", -3, KEY),
    rw("zpopmax", -2, KEY),
    rw("zpopmin", -2, KEY),
    rw("zremrangebylex", 4, KEY),
    rw("zremrangebyrank", 4, KEY),
    rw("zremrangebyscore", 4, KEY),
    ro("zdiff", -3, counted(1)),
    ro("zinter", -3, counted(1)),
    ro("zunion", -3, counted(1)),
    ro("zintercard", -3, counted(1)),
    rw("zdiffstore", -4, STORE),
    rw("zinterstore", -4, STORE),
    rw("zunionstore", -4, STORE),
    rw("zmpop", -4, counted(1)),
    blocking("bzpopmax", -3, ALL_BUT_LAST),
    blocking("bzpopmin", -3, ALL_BUT_LAST),
    blocking("bzmpop", -5, counted(2)),
];
