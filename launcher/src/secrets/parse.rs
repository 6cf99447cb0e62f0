//! What providers print: a JSON object of texts, Infisical's list of key and value, or lines of `NAME=value`. Pure.

use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Secret, SecretError, Secrets, is_name};

/// Reads an output. Errors name positions only.
///
/// # Errors
/// When it is empty, malformed, or holds no entry.
pub fn parse(program: &str, output: &[u8]) -> Result<Secrets, SecretError> {
    let malformed = |line, column| SecretError::Malformed { program: program.to_owned(), line, column };
    let text = std::str::from_utf8(output).map_err(|error| {
        let before = &output[..error.valid_up_to()];
        malformed(1 + before.iter().filter(|byte| **byte == b'\n').count(), 0)
    })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(SecretError::Empty { program: program.to_owned() });
    }
    let secrets =
        if text.trim_start().starts_with(['{', '[']) { json(text, malformed)? } else { lines(text, malformed)? };
    if secrets.is_empty() {
        return Err(SecretError::NoEntries { program: program.to_owned() });
    }
    Ok(secrets)
}

fn json(text: &str, malformed: impl Fn(usize, usize) -> SecretError) -> Result<Secrets, SecretError> {
    // Its message may quote the text, its position does not.
    let mut value: Value = serde_json::from_str(text).map_err(|error| malformed(error.line(), error.column()))?;
    let pairs = match &mut value {
        Value::Object(object) => object.iter().map(|(name, value)| Some((name.clone(), taken(value)?))).collect(),
        Value::Array(list) => list.iter().map(of_entry).collect(),
        _ => None,
    };
    let pairs: Option<Vec<(String, Secret)>> = pairs;
    wipe(&mut value);
    let pairs = pairs.filter(|pairs| pairs.iter().all(|(name, secret)| is_usable(name, secret.expose())));
    pairs.map(|pairs| pairs.into_iter().collect()).ok_or_else(|| malformed(1, 0))
}

fn of_entry(entry: &Value) -> Option<(String, Secret)> {
    let name = entry.get("key").or_else(|| entry.get("secretKey"))?.as_str()?;
    Some((name.to_owned(), taken(entry.get("value").or_else(|| entry.get("secretValue"))?)?))
}

fn taken(value: &Value) -> Option<Secret> {
    match value {
        Value::String(text) => Some(Secret::new(text.clone())),
        Value::Number(number) => Some(Secret::new(number.to_string())),
        Value::Bool(flag) => Some(Secret::new(flag.to_string())),
        _ => None,
    }
}

/// Overwrites every text below a value.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(object) => object.values_mut().for_each(wipe),
        _ => {}
    }
}

fn lines(text: &str, malformed: impl Fn(usize, usize) -> SecretError) -> Result<Secrets, SecretError> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| malformed(index + 1, 1))?;
        let value = Zeroizing::new(unquoted(value).to_owned());
        if !is_usable(name.trim(), &value) {
            return Err(malformed(index + 1, 1));
        }
        pairs.push((name.trim().to_owned(), Secret(value)));
    }
    Ok(pairs.into_iter().collect())
}

/// Takes one pair of quotes off. What is between them is literal: this is no shell.
fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn is_usable(name: &str, value: &str) -> bool {
    is_name(name) && !value.contains('\0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let secrets = parse("p", text.as_bytes()).unwrap();
        secrets.pairs().map(|(name, secret)| (name.to_owned(), secret.expose().to_owned())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn objects_lists_and_lines_are_read() {
        let expected = [pair("A", "x=1"), pair("B", "2")];
        assert_eq!(read(r#"{"A":"x=1","B":2}"#), expected);
        assert_eq!(
            read(r#"[{"key":"A","value":"x=1","type":"shared"},{"secretKey":"B","secretValue":"2"}]"#),
            expected
        );
        assert_eq!(read("# all\nexport A='x=1'\r\n\nB=2\n"), expected);
        assert_eq!(read("A=$(id); `id`"), [pair("A", "$(id); `id`")]);
    }

    #[test]
    fn k_01_empty_malformed_and_no_entries_differ_and_show_no_part() {
        let error = |text: &[u8]| parse("p", text).unwrap_err().to_string();
        assert_eq!(error(b" \n"), "`p` printed nothing");
        assert_eq!(error(b"{}"), "`p` has no entries there");
        assert_eq!(error(b"[]"), "`p` has no entries there");
        for text in [
            &b"{\"A\":\"s3cr3t\""[..],
            b"{\"A\":{\"B\":\"s3cr3t\"}}",
            b"A=1\ns3cr3t\n",
            b"s3cr3t t=1",
            b"{\"s3cr3t t\":\"1\"}",
            b"A=s3cr3t\xff",
            b"[\"s3cr3t\"]",
        ] {
            let text = error(text);
            assert!(text.contains("malformed at line") && !text.contains("s3cr3t"), "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let secrets = parse("p", b"TOKEN=s3cr3t").unwrap();
        assert_eq!(format!("{secrets:?} {:?}", secrets.get("TOKEN")), "Secrets(1) Some(Secret)");
    }

    proptest! {
        #[test]
        fn no_error_holds_a_part_of_the_output(text in "[a-zA-Z0-9{}\\[\\]\",:=\\\\ \n]{0,80}") {
            let canary = "Zq7Canary";
            if let Err(error) = parse("p", format!("{text}{canary}{text}").as_bytes()) {
                let shown = format!("{error} {error:?} {}", error.fix());
                prop_assert!(!shown.contains(canary));
            }
        }
    }
}
