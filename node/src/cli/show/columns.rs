//! Which fields of a list's rows people see, and under which heading. An inner field is `outer.inner`.

/// Heading and field.
type Column = (&'static str, &'static str);

const COLUMNS: &[(&str, &[Column])] = &[
    (
        "session.list",
        &[
            ("id", "id"),
            ("agent", "agent"),
            ("machine", "machine"),
            ("venture", "venture"),
            ("repo", "repo"),
            ("branch", "branch"),
            ("issue", "issue"),
            ("status", "status"),
            ("live", "live"),
            ("age", "age"),
        ],
    ),
    (
        "peer.list",
        &[
            ("name", "name"),
            ("role", "role"),
            ("state", "state"),
            ("path", "path"),
            ("address", "address"),
            ("we lack", "we_lack"),
            ("they lack", "they_lack"),
            ("seen", "last_seen_age"),
            ("problem", "problem"),
        ],
    ),
    (
        "handoff.list",
        &[
            ("id", "id"),
            ("status", "status"),
            ("venture", "venture"),
            ("from", "from_agent"),
            ("issue", "issue"),
            ("age", "age"),
            ("open", "open"),
            ("summary", "summary"),
        ],
    ),
    (
        "note.list",
        &[
            ("id", "id"),
            ("venture", "venture"),
            ("age", "age"),
            ("bytes", "size"),
            ("tags", "tags"),
            ("title", "title"),
        ],
    ),
    (
        "doc.list",
        &[
            ("scope", "scope"),
            ("name", "name"),
            ("version", "version"),
            ("bytes", "size"),
            ("age", "age"),
            ("title", "title"),
        ],
    ),
    (
        "claim.list",
        &[
            ("id", "id"),
            ("kind", "kind"),
            ("key", "key"),
            ("agent", "agent"),
            ("machine", "machine"),
            ("age", "age"),
            ("note", "note"),
        ],
    ),
    (
        "venture.list",
        &[("code", "code"), ("name", "name"), ("org", "org"), ("repos", "repos"), ("capabilities", "capabilities")],
    ),
    (
        "event.list",
        &[
            ("age", "age"),
            ("kind", "kind"),
            ("venture", "venture"),
            ("agent", "agent"),
            ("issue", "issue"),
            ("text", "text"),
        ],
    ),
    (
        "waiting.list",
        &[("machine", "machine"), ("record", "record"), ("age", "age"), ("waits for", "waits_for"), ("fix", "fix")],
    ),
    (
        "request-log",
        &[
            ("time", "time"),
            ("operation", "operation"),
            ("status", "status"),
            ("ms", "duration_ms"),
            ("agent", "agent"),
            ("correlation id", "correlation_id"),
        ],
    ),
];

/// Returns the columns of an operation; none means all simple fields.
pub(super) fn of(operation: &str) -> &'static [Column] {
    COLUMNS.iter().find(|(of, _)| *of == operation).map_or(&[], |(_, columns)| columns)
}

#[cfg(test)]
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(operation, _)| *operation)
}
