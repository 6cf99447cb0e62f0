//! Which relays pass packets on between nodes that cannot reach each other, and over which one a node is dialled.
//!
//! A relay that somebody names is used only when it is one of those that this node's settings name: otherwise any member
//! could make this machine open connections to wherever it likes.

use iroh::{Endpoint, RelayMode, RelayUrl};

/// Which relays are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Relays {
    /// None: no packet leaves for a machine that is not a member's.
    #[default]
    None,
    /// Those that the makers of iroh run.
    Public,
    /// These. When it is one, every node of the fleet is reached over it.
    Own(Vec<RelayUrl>),
}

impl Relays {
    pub(crate) fn mode(&self) -> RelayMode {
        match self {
            Self::Public => RelayMode::Default,
            Self::Own(urls) if !urls.is_empty() => RelayMode::custom(urls.iter().cloned()),
            Self::None | Self::Own(_) => RelayMode::Disabled,
        }
    }

    /// Whether any is used.
    pub(crate) fn are_used(&self) -> bool {
        !matches!(self.mode(), RelayMode::Disabled)
    }

    /// Returns the relay over which a node is dialled that has named one as its own, or has not.
    pub(crate) fn over(&self, named: Option<&str>) -> Option<RelayUrl> {
        let used = self.mode().relay_map();
        let named = named.and_then(|named| named.parse().ok()).filter(|url| used.contains(url));
        named.or_else(|| self.only())
    }

    /// Returns the relay over which an endpoint can be reached, once it is known.
    pub(crate) fn home(&self, endpoint: &Endpoint) -> Option<RelayUrl> {
        self.only().or_else(|| endpoint.addr().relay_urls().next().cloned())
    }

    /// Returns the relay that all nodes share when there is no other.
    fn only(&self) -> Option<RelayUrl> {
        match self {
            Self::Own(urls) if urls.len() == 1 => urls.first().cloned(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RelayUrl {
        text.parse().unwrap()
    }

    #[test]
    fn without_relays_none_is_dialled_whatever_is_named() {
        for relays in [Relays::None, Relays::Own(Vec::new())] {
            assert!(!relays.are_used());
            assert_eq!(relays.over(Some("https://relay.example")), None);
            assert_eq!(relays.over(None), None);
        }
    }

    #[test]
    fn the_only_relay_is_dialled_whatever_is_named() {
        let relays = Relays::Own(vec![url("https://relay.example")]);
        assert!(relays.are_used());
        let over = [None, Some("https://relay.example"), Some("https://other.example"), Some("no url")];
        assert!(over.iter().all(|named| relays.over(*named) == Some(url("https://relay.example"))));
    }

    #[test]
    fn of_several_the_one_that_was_named_is_dialled_and_no_stranger() {
        let public: Vec<RelayUrl> = RelayMode::Default.relay_map().urls();
        for relays in [Relays::Public, Relays::Own(public.clone())] {
            assert!(public.len() > 1 && relays.are_used());
            for known in &public {
                assert_eq!(relays.over(Some(known.as_str())), Some(known.clone()));
            }
            assert_eq!(relays.over(Some("http://169.254.169.254/")), None);
            assert_eq!(relays.over(Some("no url")), None);
            assert_eq!(relays.over(None), None);
        }
    }
}
