//! What a node says in `CLUSTER NODES`.

/// One line of the reply.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// The 40 digits.
    pub id: String,
    /// Its client port.
    pub port: u16,
    /// Whether it is a primary that is not marked as failed.
    pub is_live_primary: bool,
    /// Whether it is marked as failed or failing.
    pub has_failed: bool,
    /// The id of its primary; `None` for a primary.
    pub primary: Option<String>,
    /// Ranges of slots, both ends included.
    pub slots: Vec<(u16, u16)>,
}

/// The rows of a reply to `CLUSTER NODES`.
pub fn parse(text: &str) -> Vec<NodeRow> {
    text.lines().filter_map(parse_line).collect()
}

impl NodeRow {
    /// Whether the node owns a slot.
    pub fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot))
    }
}

fn parse_line(line: &str) -> Option<NodeRow> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, addr, flags, primary, ..] = words.as_slice() else { return None };
    let port = addr.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    let has_failed = flags.split(',').any(|f| matches!(f, "fail" | "fail?" | "handshake" | "noaddr"));
    let is_primary = flags.split(',').any(|f| f == "master");
    Some(NodeRow {
        id: id.to_string(),
        port,
        is_live_primary: is_primary && !has_failed,
        has_failed,
        primary: (*primary != "-").then(|| primary.to_string()),
        slots: words[8..].iter().filter_map(|w| range(w)).collect(),
    })
}

/// `5`, `5-9`; not `[5->-...]`, which is a slot on its way.
fn range(word: &str) -> Option<(u16, u16)> {
    let (a, b) = word.split_once('-').unwrap_or((word, word));
    Some((a.parse().ok()?, b.parse().ok()?))
}
