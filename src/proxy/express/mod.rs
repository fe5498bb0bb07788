//! The express way of what nearly all traffic is made of: a plain command (one key, so one slot) of a client that has asked
//! for nothing special, for a backend that is there, and the ordinary reply to it. Batches are taken in one loop each, with
//! every object looked up once. Whatever is out of the ordinary is left to `intake`, `dispatch` and `deliver`, which can do
//! all of this, too; what both do must be the same.
//!
//! | file | owns |
//! |---|---|
//! | `requests` | from the bytes of a client to the windows |
//! | `replies` | from the bytes of a node to the outboxes |

mod replies;
mod requests;
