//! What to advise somebody away from the desk: where to work, and how to get there.

use crate::network::Network;

/// Where the power comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// From the wall.
    Mains,
    /// From the battery, with so many percent left when that is known.
    Battery(Option<u8>),
}

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The kind of network.
    pub network: Network,
    /// The machine's name on the local network.
    pub local_name: &'a str,
    /// The other machines that answer now.
    pub servers: Vec<&'a str>,
    /// Whether there are other machines at all.
    pub has_servers: bool,
    /// Where the power comes from; unknown when absent.
    pub power: Option<Power>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// When.
    pub scenario: &'static str,
    /// Where to work.
    pub target: String,
    /// How to get there.
    pub method: String,
}

/// Returns the advice that fits: with a server that answers, long work belongs there; without, on this machine.
#[must_use]
pub fn advice(facts: &Facts<'_>) -> Vec<Advice> {
    let row = |scenario, target: &str, method: String| Advice { scenario, target: target.to_owned(), method };
    let mut rows = Vec::new();
    if let Some(server) = facts.servers.first() {
        rows.push(row("a quick thought, or the lid is closed", server, format!("mosh {server} from the phone")));
    }
    rows.push(row("a longer sitting", "this laptop", "open the lid, `launcher <venture>`".to_owned()));
    if facts.network != Network::Offline {
        let over = if facts.network == Network::Hotspot { " over the hotspot" } else { "" };
        let method = format!("ssh or mosh to {} from the phone{over}", facts.local_name);
        rows.push(row("stepping away in the middle", "this laptop", method));
    }
    rows
}

/// Returns what to be careful about.
#[must_use]
pub fn cautions(facts: &Facts<'_>, awake: bool) -> Vec<String> {
    let mut found = Vec::new();
    if facts.network == Network::Hotspot {
        found.push("a hotspot turns itself off after about 90 seconds without clients".to_owned());
    }
    if facts.has_servers && facts.servers.is_empty() {
        found.push("no other machine answers; what is written here waits until one does".to_owned());
    }
    if let (true, Some(Power::Battery(percent))) = (awake, facts.power) {
        let percent = percent.map(|percent| format!(" ({percent} %)")).unwrap_or_default();
        found.push(format!("the machine is kept awake on battery{percent}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(network: Network, servers: Vec<&str>) -> Facts<'_> {
        Facts { network, local_name: "mac.local", servers, has_servers: true, power: Some(Power::Battery(Some(40))) }
    }

    #[test]
    fn t_07_a_hotspot_names_the_local_name_and_silent_servers_are_said() {
        let alone = facts(Network::Hotspot, vec![]);
        let rows = advice(&alone);
        assert!(rows.iter().any(|row| row.method.contains("mac.local") && row.method.contains("hotspot")), "{rows:?}");
        assert!(rows.iter().all(|row| row.target == "this laptop"), "{rows:?}");
        let said = cautions(&alone, true).join("\n");
        assert!(said.contains("90 seconds") && said.contains("no other machine") && said.contains("40 %"), "{said}");
    }

    #[test]
    fn a_server_that_answers_is_where_to_go_without_the_laptop() {
        let rows = advice(&facts(Network::Lan, vec!["office"]));
        assert_eq!((rows[0].target.as_str(), rows.len()), ("office", 3));
        assert_eq!(cautions(&facts(Network::Lan, vec!["office"]), false), Vec::<String>::new());
        assert!(advice(&facts(Network::Offline, vec![])).iter().all(|row| !row.method.contains("local")));
    }
}
