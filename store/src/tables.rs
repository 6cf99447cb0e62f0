//! Every table of the file, with its versioned name. What key and value hold is described in `FORMAT.md`.

use redb::TableDefinition;

/// All tables map bytes to framed bytes; integers in keys are big-endian, so that the order of keys is the order of things.
pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A table of the store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Table { $($(#[$doc])* $variant),* }

        impl Table {
            /// Every table, in the order of declaration.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The versioned name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

tables! {
    /// Name -> value: format, fleet, node, epoch, counters. Owner: open.
    Meta = "meta_v1",
    /// Log id -> number, length, tip, last stamp. Owner: apply.
    Logs = "logs_v1",
    /// Log number -> log id. Owner: apply.
    LogNumbers = "log_numbers_v1",
    /// Log number, seq -> signed entry bytes. Owner: apply.
    Entries = "entries_v1",
    /// Ordinal -> which entry, which documents. Owner: apply.
    Journal = "journal_v1",
    /// Order of a control op -> its payload. Owner: apply.
    Control = "control_v1",
    /// Document id -> heads, counts, tombstone. Owner: apply.
    Documents = "documents_v1",
    /// Document id, change hash -> where the change is and what it is. Owner: apply.
    Changes = "changes_v1",
    /// Document id, change hash -> a change whose dependencies are not all here. Owner: apply.
    Waiting = "waiting_v1",
    /// Document id, order -> whether a tombstone or a revival stands there, and in which entry. Owner: apply.
    Marks = "marks_v1",
    /// Document id -> saved document up to a change. A cache. Owner: apply.
    Saves = "saves_v1",
    /// Document id -> record view. Derived. Owner: apply.
    Records = "records_v1",
    /// Document id -> body text. Derived. Owner: apply.
    Bodies = "bodies_v1",
    /// Index, kind, prefix, sort, id -> nothing. Derived. Owner: apply.
    Index = "index_v1",
    /// Index, kind, prefix -> number of rows. Derived. Owner: apply.
    Counts = "counts_v1",
    /// Branch number -> number of the log that it is a branch of, the position that its first entry claims; and that
    /// number, branch number -> the same position. Owner: branches.
    Branches = "branches_v1",
    /// Log number, seq, op -> why it is not applied. Owner: apply.
    Quarantine = "quarantine_v1",
    /// Session id -> last heartbeat, checkout. Node-local.
    Heartbeats = "local_heartbeats_v1",
    /// Process or conversation -> sessions. Node-local.
    Bindings = "local_bindings_v1",
    /// Token hash -> token. Node-local.
    Tokens = "local_tokens_v1",
    /// Actor, operation, key -> kept answer. Node-local.
    Idempotency = "local_idempotency_v1",
    /// Time, number -> one call. Node-local.
    RequestLog = "local_request_log_v1",
    /// Session id -> last known state. Node-local.
    Captures = "local_captures_v1",
    /// Name -> anything that can be lost. Node-local.
    Caches = "local_caches_v1",
    /// Hash of an invitation's secret -> what it grants. Node-local.
    Invites = "local_invites_v1",
    /// Node key -> where it was last reached and what it said. Node-local.
    Peers = "local_peers_v1",
    /// What taking entries in showed and nobody was told yet. Node-local. Owner: findings.
    Findings = "local_findings_v1",
}

impl Table {
    /// The redb definition.
    pub(crate) const fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }

    /// Whether the table can be deleted and comes back equal.
    pub(crate) const fn is_derived(self) -> bool {
        matches!(self, Self::Records | Self::Bodies | Self::Index | Self::Counts | Self::Saves)
    }
}

/// A table that never replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalTable {
    /// Last heartbeats of sessions of this node.
    Heartbeats,
    /// Which process or conversation holds which sessions.
    Bindings,
    /// API tokens by their hash.
    Tokens,
    /// Kept answers of idempotent calls.
    Idempotency,
    /// Calls of the last seven days.
    RequestLog,
    /// Last known states of sessions.
    Captures,
    /// What can be lost.
    Caches,
    /// Open and used invitations by the hash of their secret.
    Invites,
    /// What is known of each peer.
    Peers,
    /// What taking entries in showed and nobody was told yet.
    Findings,
}

impl LocalTable {
    pub(crate) const fn table(self) -> Table {
        match self {
            Self::Heartbeats => Table::Heartbeats,
            Self::Bindings => Table::Bindings,
            Self::Tokens => Table::Tokens,
            Self::Idempotency => Table::Idempotency,
            Self::RequestLog => Table::RequestLog,
            Self::Captures => Table::Captures,
            Self::Caches => Table::Caches,
            Self::Invites => Table::Invites,
            Self::Peers => Table::Peers,
            Self::Findings => Table::Findings,
        }
    }
}
