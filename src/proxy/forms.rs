//! Since when servers do what the proxy does in their place, where no table has it: asked by
//! [`Software::has`](crate::cluster::Software::has). Which commands there are is in the command table, the fields of a
//! client's line and the filters of CLIENT LIST in `session`, sections and fields of INFO in `info`, those of CLUSTER INFO in
//! `cluster_view`.

use crate::command::Since;

/// Who has not authenticated learns nothing else, not even whether a command exists.
pub(super) const AUTH_FIRST: Since = Since::valkey(9, 0);

/// HELLO without authentication is explained by `HELLO <proto> AUTH ...`.
pub(super) const HELLO_PROTO: Since = Since::both((7, 2), (7, 2));

/// The error for a command that is not allowed inside MULTI names it.
pub(super) const NO_MULTI_NAMES: Since = Since::valkey(9, 0);

/// MULTI and WATCH inside MULTI make EXEC fail.
pub(super) const NESTING_ABORTS: Since = Since::valkey(8, 0);

/// CLIENT PAUSE and CLIENT UNBLOCK pass over what stands behind their arguments.
pub(super) const SURPLUS_IGNORED: Since = Since::valkey(9, 0);

/// CLUSTER SHARDS tells the ids of shards.
pub(super) const SHARD_IDS: Since = Since::valkey(9, 1);
