//! The code that a person carries from one machine to another.
//!
//! ```text
//! ctxj- | base32 of: version u8 | inviter's key 32 | secret 10 | count u8 | addresses | relay | first 3 bytes of BLAKE3 of all before
//! address: 4 | ip 4 | port u16, or 6 | ip 16 | port u16
//! relay: length u8 | URL
//! ```
//!
//! Version 1 has no relay, and is what is written when there is none: earlier builds read it.
//!
//! The key in it proves the inviter to the joiner, the secret the joiner to the inviter. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ctxnode_model::NodeKey;
use data_encoding::BASE32_NOPAD;
use iroh::RelayUrl;
use thiserror::Error;

const PREFIX: &str = "ctxj-";
const VERSION: u8 = 1;
const WITH_RELAY: u8 = 2;
/// 80 bits, for minutes to days, against an endpoint that answers a few attempts a second.
pub(crate) const SECRET_LEN: usize = 10;
const CHECK_LEN: usize = 3;
/// The most addresses in a code; more would make it long and help nobody.
const MAX_ADDRESSES: usize = 4;

/// What an invitation code says.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The node to ask.
    pub inviter: NodeKey,
    /// What proves the right to ask.
    pub secret: [u8; SECRET_LEN],
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The relay over which it can be reached.
    pub relay: Option<RelayUrl>,
}

/// A text that is not a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// It does not begin as one.
    #[error("an invitation begins with `{PREFIX}`")]
    Prefix,
    /// A character was lost or changed on the way.
    #[error("the invitation is damaged: copy it again, whole")]
    Damaged,
    /// A newer version made it.
    #[error("the invitation has form {0}, this version reads forms up to {WITH_RELAY}: update ctxnode")]
    Version(u8),
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("inviter", &self.inviter)
            .field("addresses", &self.addresses)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One with a longer name is found without: every node of its fleet is told which relay to use.
        let relay = self.relay.as_ref().and_then(|url| Some((u8::try_from(url.as_str().len()).ok()?, url.as_str())));
        let mut bytes = vec![if relay.is_some() { WITH_RELAY } else { VERSION }];
        bytes.extend_from_slice(&self.inviter.0);
        bytes.extend_from_slice(&self.secret);
        let addresses = &self.addresses[..self.addresses.len().min(MAX_ADDRESSES)];
        bytes.push(u8::try_from(addresses.len()).unwrap_or(0));
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.extend_from_slice(&address.port().to_be_bytes());
        }
        if let Some((length, url)) = relay {
            bytes.push(length);
            bytes.extend_from_slice(url.as_bytes());
        }
        bytes.extend_from_slice(&check(&bytes));
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let body = text.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
        let body = body.and(text.get(PREFIX.len()..)).ok_or(CodeError::Prefix)?;
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| CodeError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(CodeError::Damaged)?;
        if check(body) != *sum {
            return Err(CodeError::Damaged);
        }
        match body.first() {
            Some(&(VERSION | WITH_RELAY)) => read(body).ok_or(CodeError::Damaged),
            other => Err(CodeError::Version(other.copied().unwrap_or(0))),
        }
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let hash = blake3::hash(bytes);
    let [a, b, c, ..] = *hash.as_bytes();
    [a, b, c]
}

fn read(body: &[u8]) -> Option<Code> {
    let (version, rest) = body.split_first()?;
    let (inviter, rest) = rest.split_first_chunk()?;
    let (secret, rest) = rest.split_first_chunk()?;
    let (count, mut rest) = rest.split_first()?;
    let mut addresses = Vec::new();
    for _ in 0..*count {
        let (family, after) = rest.split_first()?;
        let (ip, after): (IpAddr, _) = match family {
            4 => after.split_first_chunk::<4>().map(|(ip, after)| (Ipv4Addr::from(*ip).into(), after))?,
            6 => after.split_first_chunk::<16>().map(|(ip, after)| (Ipv6Addr::from(*ip).into(), after))?,
            _ => return None,
        };
        let (port, after) = after.split_first_chunk()?;
        addresses.push(SocketAddr::new(ip, u16::from_be_bytes(*port)));
        rest = after;
    }
    let mut relay = None;
    if *version == WITH_RELAY {
        let (length, url) = rest.split_first()?;
        if url.len() != usize::from(*length) {
            return None;
        }
        relay = Some(std::str::from_utf8(url).ok()?.parse().ok()?);
        rest = &[];
    }
    rest.is_empty().then_some(Code { inviter: NodeKey(*inviter), secret: *secret, addresses, relay })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_code_comes_back_and_no_single_changed_character_is_taken(
            key: [u8; 32], secret: [u8; SECRET_LEN],
            addresses in proptest::collection::vec(any::<SocketAddr>(), 0..=MAX_ADDRESSES),
            relay in proptest::option::of("[a-z]{1,40}"), at: prop::sample::Index, to in "[a-z2-7]",
        ) {
            // Scope and flow of an IPv6 address do not travel.
            let addresses: Vec<SocketAddr> = addresses.iter().map(|a| SocketAddr::new(a.ip(), a.port())).collect();
            let relay = relay.map(|host| format!("https://{host}.example").parse().unwrap());
            let code = Code { inviter: NodeKey(key), secret, addresses, relay };
            let text = code.to_string();
            prop_assert_eq!(text.parse::<Code>(), Ok(code.clone()));
            prop_assert_eq!(text.to_uppercase().parse::<Code>(), Ok(code.clone()));
            let place = PREFIX.len() + at.index(text.len() - PREFIX.len());
            let mut changed = text.clone();
            changed.replace_range(place..=place, &to);
            prop_assert!(changed == text || changed.parse::<Code>().is_err());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = text.parse::<Code>();
            let _ = format!("{PREFIX}{text}").parse::<Code>();
        }
    }

    /// What an earlier build wrote, and what it reads: the same bytes.
    #[test]
    fn a_code_without_a_relay_is_what_it_always_was() {
        let text = "ctxj-aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaqcaibaeaqcaibaeaieyaaaeaisrqln2gq";
        let addresses = vec![SocketAddr::from(([192, 0, 2, 1], 4_748))];
        let code = Code { inviter: NodeKey([1; 32]), secret: [2; SECRET_LEN], addresses, relay: None };
        assert_eq!(code.to_string(), text);
        assert_eq!(text.parse::<Code>(), Ok(code.clone()));
        let relayed = Code { relay: Some("https://relay.example".parse().unwrap()), ..code };
        assert!(relayed.to_string() != text && relayed.to_string().parse::<Code>() == Ok(relayed));
    }

    #[test]
    fn a_newer_form_says_so() {
        let mut body = vec![9_u8; 40];
        body.extend_from_slice(&check(&body));
        let text = format!("{PREFIX}{}", BASE32_NOPAD.encode(&body));
        assert_eq!(text.parse::<Code>(), Err(CodeError::Version(9)));
        assert_eq!("hello".parse::<Code>(), Err(CodeError::Prefix));
    }
}
