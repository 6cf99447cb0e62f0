//! Lines of bounded length from a stream. Every line of MCP over stdio is one message.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// The longest line that is passed on: a note of the largest size, every character of it escaped, fits.
pub(super) const MAX_LINE: usize = 8 << 20;

/// What a stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end; what is not UTF-8 in it is replaced.
    Text(String),
    /// A line that was longer than [`MAX_LINE`] and was skipped.
    TooLong,
    /// The end of the stream. A last line without an end comes before it.
    End,
}

/// The lines of a stream.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { reader: BufReader::new(stream), line: Vec::new(), skipping: false }
    }

    /// Returns the next line. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                let last = std::mem::take(&mut self.line);
                let ended = std::mem::take(&mut self.skipping) || last.is_empty();
                return Ok(if ended { Line::End } else { text(&last) });
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            let used = part.len() + usize::from(end.is_some());
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            self.reader.consume(used);
            if self.line.len() > MAX_LINE {
                self.line = Vec::new();
                self.skipping = true;
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.skipping) {
                    return Ok(Line::TooLong);
                }
                if !line.trim_ascii().is_empty() {
                    return Ok(text(&line));
                }
            }
        }
    }
}

fn text(line: &[u8]) -> Line {
    Line::Text(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_are_skipped() {
        let long = "x".repeat(MAX_LINE + 1);
        let input = format!("one\n\n  \n{long}\ntwo\r\nthree");
        let mut lines = Lines::new(input.as_bytes());
        assert_eq!(lines.next().await.unwrap(), Line::Text("one".to_owned()));
        assert_eq!(lines.next().await.unwrap(), Line::TooLong);
        assert_eq!(lines.next().await.unwrap(), Line::Text("two\r".to_owned()));
        assert_eq!(lines.next().await.unwrap(), Line::Text("three".to_owned()));
        assert_eq!(lines.next().await.unwrap(), Line::End);
    }
}
