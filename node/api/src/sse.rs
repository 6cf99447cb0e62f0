//! Server-sent events: the text format as a parser without I/O. Reading them from the daemon is [`crate::EventStream`].

use thiserror::Error;

/// The most bytes of one event. An event names what happened in one line and never carries a body; a server that sends
/// more is not ours, and buffering it would let it fill the memory.
pub const MAX_EVENT: usize = 256 << 10;

/// One event as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its id: pass the last one on reconnecting to be told first that others may have been missed.
    pub id: Option<String>,
    /// Its kind; empty when the server named none.
    pub kind: String,
    /// What it carries.
    pub data: String,
}

/// An event is larger than [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event is larger than {MAX_EVENT} bytes")]
pub struct EventTooLarge;

/// Splits a stream of bytes into events, however the bytes are cut.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    skip_line_feed: bool,
    event: ServerEvent,
    has_data: bool,
    bytes: usize,
}

impl EventParser {
    /// Takes bytes and returns the events that they complete.
    ///
    /// # Errors
    /// When an event is too large; the stream is of no further use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, EventTooLarge> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.skip_line_feed, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\r' | b'\n' => complete.extend(self.end_of_line()),
                _ => {
                    self.bytes += 1;
                    if self.bytes > MAX_EVENT {
                        return Err(EventTooLarge);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(complete)
    }

    fn end_of_line(&mut self) -> Option<ServerEvent> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.bytes = 0;
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let line = String::from_utf8_lossy(&line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A line without a name is a comment, which keeps the connection alive. Other names are of a later version.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str =
        ": hello\n\nid: 1\nevent: note\ndata: {\"a\":1}\n\nretry: 5\r\ndata: one\r\ndata:two\r\n\r\nid: 3\n\ndata\n\n";

    fn expected() -> Vec<ServerEvent> {
        let event = |id: Option<&str>, kind: &str, data: &str| ServerEvent {
            id: id.map(str::to_owned),
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        vec![event(Some("1"), "note", "{\"a\":1}"), event(None, "", "one\ntwo"), event(None, "", "")]
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_how_the_bytes_are_cut(cuts in proptest::collection::vec(0..TEXT.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, TEXT.len()]);
            cuts.sort_unstable();
            let mut parser = EventParser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.feed(&TEXT.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(events, expected());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = EventParser::default().feed(&bytes);
        }
    }

    #[test]
    fn an_endless_event_is_refused_and_many_small_ones_are_not() {
        let small = "data: x\n\n".repeat(MAX_EVENT);
        assert_eq!(EventParser::default().feed(small.as_bytes()).unwrap().len(), MAX_EVENT);
        let endless = "data: x\n".repeat(MAX_EVENT);
        assert_eq!(EventParser::default().feed(endless.as_bytes()), Err(EventTooLarge));
    }
}
