//! The text of `CLUSTER INFO`, as far as topology needs it.

/// What `CLUSTER INFO` says of the node's own standing in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `cluster_state:ok`. A primary that lost the majority, or misses slots with `cluster-require-full-coverage`,
    /// says `fail`.
    pub state_ok: bool,
    /// `cluster_current_epoch`: the highest config epoch it has heard of; 0 when not said.
    pub current_epoch: u64,
    /// `cluster_my_epoch`: the config epoch of its shard; 0 when not said.
    pub my_epoch: u64,
}

impl ClusterInfo {
    /// Reads the text; lines that are missing or malformed count as not said, a missing state as not ok.
    pub fn parse(text: &[u8]) -> Self {
        let number = |name| field(text, name).and_then(|v| v.parse().ok()).unwrap_or(0);
        ClusterInfo {
            state_ok: field(text, "cluster_state") == Some("ok"),
            current_epoch: number("cluster_current_epoch"),
            my_epoch: number("cluster_my_epoch"),
        }
    }
}

/// The value of the line `name:value`.
pub(super) fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_real_node() {
        let text = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
            cluster_known_nodes:4\r\ncluster_size:3\r\ncluster_current_epoch:3\r\ncluster_my_epoch:1\r\n\r\n";
        assert_eq!(ClusterInfo::parse(text), ClusterInfo { state_ok: true, current_epoch: 3, my_epoch: 1 });
    }

    #[test]
    fn what_is_missing_or_malformed_counts_as_not_said() {
        let nothing = ClusterInfo::default();
        for text in
            ["", "cluster_state:fail", "cluster_state", "cluster_current_epoch:x", "xcluster_state:ok"]
        {
            assert_eq!(ClusterInfo::parse(text.as_bytes()), nothing, "{text}");
        }
        assert_eq!(ClusterInfo::parse(b"cluster_state:\xff\n"), nothing);
    }
}
