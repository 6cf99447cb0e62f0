//! Who acts: machine part, instance and agent id, the identity that a resume asks for, and actor key ids.
//!
//! There is one normaliser for every caller. Which process is an agent's root, and which conversation it belongs to, is
//! found out elsewhere; here the findings become names.

use super::canonical::sha256_hex;
use super::limits::{AGENT_CHARS, CLI_CHARS, INSTANCE_CHARS, MACHINE_KEPT_CHARS};
use super::text::require_line;
use crate::record::Session;
use crate::{Invalid, NodeKey};

/// Returns the machine part of an agent id: `[a-z0-9-]`, at most 40 characters, different for different host names.
#[must_use]
pub fn machine_part(host: &str) -> String {
    let plain = plain(host);
    if plain.is_empty() {
        return format!("host-{}", short_hash(host));
    }
    if plain == host && plain.len() <= MACHINE_KEPT_CHARS {
        return plain;
    }
    let kept = plain[..plain.len().min(MACHINE_KEPT_CHARS)].trim_end_matches('-');
    format!("{kept}-{}", short_hash(host))
}

/// Returns the CLI part of an agent id; `cli` when nothing is left of the name.
#[must_use]
pub fn cli_part(cli: &str) -> String {
    let plain = plain(cli);
    let kept = plain[..plain.len().min(CLI_CHARS)].trim_end_matches('-');
    if kept.is_empty() { "cli".to_owned() } else { kept.to_owned() }
}

/// What makes one agent process or conversation different from another of the same CLI on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// The root agent process. Boot id and start time tell apart processes that were given one pid.
    Process {
        /// The kernel's id of this boot.
        boot_id: &'a str,
        /// The process id.
        pid: u32,
        /// Its start time as the operating system counts it.
        started: u64,
    },
    /// A conversation that the CLI named.
    Conversation(&'a str),
}

/// Returns the instance of a root: eight lower-case Crockford characters.
#[must_use]
pub fn instance(root: Root<'_>) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut hasher = blake3::Hasher::new_derive_key("ctxnode 2026-11 agent instance v1");
    match root {
        Root::Process { boot_id, pid, started } => {
            hasher.update(&[0]).update(&(boot_id.len() as u64).to_be_bytes()).update(boot_id.as_bytes());
            hasher.update(&pid.to_be_bytes()).update(&started.to_be_bytes())
        }
        Root::Conversation(id) => hasher.update(&[1]).update(id.as_bytes()),
    };
    let hash = hasher.finalize();
    hash.as_bytes().iter().take(INSTANCE_CHARS).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// Returns the agent id `<cli>-<machine>-<instance>`, each part normalised; at most 63 characters.
#[must_use]
pub fn agent_id(cli: &str, machine: &str, instance: &str) -> String {
    let instance = plain(instance);
    let instance = instance[..instance.len().min(INSTANCE_CHARS)].trim_end_matches('-');
    let mut id = format!("{}-{machine}", cli_part(cli));
    if !instance.is_empty() {
        id.push('-');
        id.push_str(instance);
    }
    id
}

/// Notes an agent id given by a caller that is empty, too long, or could break a list.
pub fn check_agent(invalid: &mut Invalid, field: &str, agent: &str) {
    require_line(invalid, field, agent, AGENT_CHARS);
    invalid.require(!agent.trim().chars().any(char::is_whitespace), field, "must not hold white space");
}

/// What a start compares to find the session that it resumes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// An agent process that the daemon found by itself.
    Process {
        /// The machine part.
        machine: String,
        /// The CLI.
        cli: String,
        /// The instance.
        instance: String,
    },
    /// A caller that named its agent id; another node may hold the same one.
    Named(String),
}

impl Identity {
    /// Returns the identity of a session's agent.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        match (session.explicit_agent, &session.cli, &session.instance) {
            (false, Some(cli), Some(instance)) => {
                Self::Process { machine: session.machine.clone(), cli: cli.clone(), instance: instance.clone() }
            }
            _ => Self::Named(session.agent.clone()),
        }
    }
}

/// Returns the actor key id of a credential: the first 16 hex digits of its SHA-256.
#[must_use]
pub fn actor_key_id(credential: &str) -> String {
    let mut hex = sha256_hex(credential.as_bytes());
    hex.truncate(16);
    hex
}

/// Returns the actor key id of a local caller or a node. For people `agent` is [`user_agent`].
#[must_use]
pub fn local_actor_key_id(node: &NodeKey, agent: &str) -> String {
    actor_key_id(&format!("{node}:{agent}"))
}

/// Returns the agent id under which a person acts.
#[must_use]
pub fn user_agent(name: &str) -> String {
    format!("user-{name}")
}

/// Lower-cases, replaces everything outside `[a-z0-9-]`, collapses runs of hyphens and trims the ends.
fn plain(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

fn short_hash(raw: &str) -> String {
    let mut hex = sha256_hex(raw.as_bytes());
    hex.truncate(8);
    hex
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::rules::limits::MACHINE_CHARS;

    #[test]
    fn s_19_odd_host_names_become_stable_distinct_parts() {
        assert_eq!(machine_part("mac1"), "mac1");
        assert_eq!(machine_part("m16.local"), format!("m16-local-{}", short_hash("m16.local")));
        assert_eq!(machine_part(""), "host-e3b0c442");
        let long = "x".repeat(200);
        let names = [
            "m16.local",
            "m16-local",
            "DESKTOP-ABC123",
            "desktop-abc123",
            "host_with_underscores",
            "",
            &long,
            "ホスト",
            "主机",
            "--",
            "a--b",
            "-a",
        ];
        let parts: BTreeSet<String> = names.iter().map(|name| machine_part(name)).collect();
        assert_eq!(parts.len(), names.len(), "{parts:?}");
        for name in names {
            let id = agent_id("claude", &machine_part(name), "k3v9x2aa");
            let mut invalid = Invalid::new();
            check_agent(&mut invalid, "agent", &id);
            assert_eq!(invalid, Invalid::new(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn s_19_parts_and_ids_keep_their_form_and_length(host in ".{0,60}", cli in ".{0,20}", conversation in ".{0,20}") {
            let machine = machine_part(&host);
            prop_assert!(!machine.is_empty() && machine.len() <= MACHINE_CHARS);
            prop_assert_eq!(plain(&machine), machine.as_str());
            let id = agent_id(&cli, &machine, &instance(Root::Conversation(&conversation)));
            prop_assert!(id.len() <= AGENT_CHARS);
            prop_assert_eq!(plain(&id), id.as_str());
        }

        #[test]
        fn s_19_different_names_give_different_parts(a in "[a-zA-Z0-9._-]{0,40}", b in "[a-zA-Z0-9._-]{0,40}") {
            prop_assert_eq!(a == b, machine_part(&a) == machine_part(&b));
        }
    }

    #[test]
    fn an_instance_depends_on_every_part_of_its_root() {
        let of = |boot_id, pid, started| instance(Root::Process { boot_id, pid, started });
        let all = [of("b", 7, 9), of("c", 7, 9), of("b", 8, 9), of("b", 7, 8), instance(Root::Conversation("b"))];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|text| text.len() == INSTANCE_CHARS));
        assert_eq!(of("b", 7, 9), all[0]);
    }

    #[test]
    fn a_11_actor_key_ids_match_their_vectors() {
        assert_eq!(actor_key_id("test-key"), "62af8704764faf8e");
        assert_eq!(actor_key_id(&"a".repeat(64)), "ffe054fe7ae0cb6d");
    }

    #[test]
    fn r_10_two_agents_over_one_socket_have_different_actor_ids() {
        let node = NodeKey([7; 32]);
        assert_eq!(local_actor_key_id(&node, "x"), actor_key_id(&format!("{}:x", "07".repeat(32))));
        assert_ne!(local_actor_key_id(&node, "x"), local_actor_key_id(&node, &user_agent("x")));
    }

    #[test]
    fn a_named_agent_is_compared_by_its_name_and_a_process_by_its_parts() {
        let process = Session {
            agent: "claude-mac1-k3v9x2aa".into(),
            machine: "mac1".into(),
            cli: Some("claude".into()),
            instance: Some("k3v9x2aa".into()),
            ..Session::default()
        };
        let renamed = Session { agent: "another".into(), ..process.clone() };
        let elsewhere = Session { machine: "mac2".into(), ..process.clone() };
        assert_eq!(Identity::of(&process), Identity::of(&renamed));
        assert_ne!(Identity::of(&process), Identity::of(&elsewhere));
        let named = Session { explicit_agent: true, ..process.clone() };
        assert_eq!(Identity::of(&named), Identity::Named("claude-mac1-k3v9x2aa".into()));
        assert_eq!(Identity::of(&named), Identity::of(&Session { machine: "mac2".into(), ..named.clone() }));
    }
}
