//! Makes an answer fit into what a client accepts: body pieces get shorter, lists lose their last rows, and what was cut
//! otherwise is named.

use ctxnode_model::rules::text::{chars, cut};
use serde_json::{Map, Value, json};

/// The most characters of structured content, and of a text, as encoded.
pub(crate) const OUTPUT_CHARS: usize = 20_000;
/// A string shorter than this as encoded is an id, a name or a time and is never cut.
const SHORT: usize = 200;

/// Returns the number of characters of a value as JSON.
pub(crate) fn encoded(value: &Value) -> usize {
    // A value built from our own types has no keys that are not strings, so encoding cannot fail.
    serde_json::to_string(value).map_or(usize::MAX, |text| chars(&text))
}

/// Returns how many rows of a list fit, when not all do.
pub(crate) fn rows_that_fit(value: &Value, max: usize) -> Option<usize> {
    let items = value.get("items")?.as_array()?;
    let total = encoded(value);
    if total <= max {
        return None;
    }
    let rows: Vec<usize> = items.iter().map(|row| encoded(row) + 1).collect();
    let mut room = max.saturating_sub(total - rows.iter().sum::<usize>());
    let fitting = rows.iter().take_while(|length| {
        let fits = **length <= room;
        room = room.saturating_sub(**length);
        fits
    });
    Some(fitting.count())
}

/// Shortens an answer until it is at most `max` characters as encoded.
pub(crate) fn fit(mut value: Value, max: usize) -> Value {
    shorten_piece(&mut value, max);
    if let (Some(shown), Some(object)) = (rows_that_fit(&value, max), value.as_object_mut()) {
        drop_rows(object, shown);
    }
    let mut notes = Map::new();
    let named = |notes: &Map<String, Value>| if notes.is_empty() { 0 } else { encoded(&json!({ "cut": notes })) };
    while encoded(&value) + named(&notes) > max {
        let Some((path, was)) = shorten_largest(&mut value, "") else { break };
        notes.entry(path).or_insert(was.into());
    }
    if !notes.is_empty()
        && let Some(object) = value.as_object_mut()
    {
        object.insert("cut".to_owned(), Value::Object(notes));
    }
    value
}

/// Shortens the piece of a body, and says where the next one begins.
fn shorten_piece(value: &mut Value, max: usize) {
    let over = encoded(value).saturating_sub(max);
    let Some(object) = value.as_object_mut().filter(|object| over > 0 && object.contains_key("total_chars")) else {
        return;
    };
    let Some(Value::String(content)) = object.get("content") else { return };
    // One character can take six as encoded, so what to give up is measured and not computed.
    let room = encoded(&Value::from(content.as_str())).saturating_sub(over + 40);
    let mut used = 2;
    let kept = content.chars().take_while(|character| {
        used += encoded(&Value::from(character.to_string())) - 2;
        used <= room
    });
    let kept: String = kept.collect();
    let next = object.get("offset").and_then(Value::as_u64).unwrap_or(0) + chars(&kept) as u64;
    object.insert("content".to_owned(), kept.into());
    object.insert("next_offset".to_owned(), next.into());
}

fn drop_rows(object: &mut Map<String, Value>, shown: usize) {
    if let Some(Value::Array(items)) = object.get_mut("items") {
        items.truncate(shown);
    }
    object.insert("shown".to_owned(), shown.into());
    if object.contains_key("has_more") {
        object.insert("has_more".to_owned(), true.into());
        // It would skip the rows that were dropped.
        object.remove("next_cursor");
    }
}

/// Halves the largest text or list somewhere inside, and returns where it is and how long it was.
fn shorten_largest(value: &mut Value, path: &str) -> Option<(String, usize)> {
    match value {
        // Many small free values: none of them is worth more than the others. The answer's own fields are never dropped.
        Value::Object(fields)
            if !path.is_empty() && fields.len() > 1 && fields.values().all(|field| encoded(field) <= SHORT) =>
        {
            let was = fields.len();
            let names: Vec<String> = fields.keys().skip(was / 2).cloned().collect();
            for name in names {
                fields.remove(&name);
            }
            Some((path.to_owned(), was))
        }
        // The largest may hold nothing that can be shortened; then another one gives way.
        Value::Object(object) => {
            let mut inner: Vec<(&String, &mut Value)> = object.iter_mut().collect();
            inner.sort_by_cached_key(|(_, inner)| std::cmp::Reverse(encoded(inner)));
            inner.into_iter().find_map(|(name, inner)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                shorten_largest(inner, &path)
            })
        }
        Value::Array(items) if items.len() > 1 => {
            let was = items.len();
            items.truncate(was / 2);
            Some((path.to_owned(), was))
        }
        Value::Array(items) => shorten_largest(items.first_mut()?, path),
        // Measured as encoded, where one character can take six.
        Value::String(text) if encoded(&Value::from(text.as_str())) > SHORT => {
            let was = chars(text);
            *text = cut(text, was / 2).to_owned();
            text.push('…');
            Some((path.to_owned(), was))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 2_000;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,900}".prop_map(Value::from),
            "[\"\\\\\n\u{1}漢😀]{0,900}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 60, 12, |inner| {
            let key = "[a-z]{1,6}";
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..12)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        // Each case is a large object that is encoded many times.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_answer_fits(fields in proptest::collection::btree_map("[a-z]{1,6}", any_json(), 1..6)) {
            let value = Value::Object(fields.into_iter().collect());
            let fitted = fit(value.clone(), MAX);
            prop_assert!(encoded(&fitted) <= MAX, "{}", encoded(&fitted));
            if encoded(&value) <= MAX {
                prop_assert_eq!(fitted, value);
            }
        }

        #[test]
        fn the_pieces_of_a_body_join_to_the_body(body in "[a-z\"\\\\\n漢😀]{0,6000}") {
            let total = chars(&body);
            let (mut offset, mut joined) = (0, String::new());
            loop {
                let rest: String = body.chars().skip(offset).collect();
                let piece = fit(json!({ "content": rest, "offset": offset, "total_chars": total }), MAX);
                prop_assert!(encoded(&piece) <= MAX);
                joined.push_str(piece["content"].as_str().unwrap());
                let Some(next) = piece.get("next_offset").and_then(Value::as_u64) else { break };
                prop_assert!(next as usize > offset);
                offset = next as usize;
            }
            prop_assert_eq!(joined, body);
        }
    }

    #[test]
    fn a_list_that_is_cut_says_how_many_rows_it_shows_and_offers_no_cursor_past_them() {
        let rows: Vec<Value> = (0..100).map(|n| json!({ "id": n, "text": "x".repeat(50) })).collect();
        let list = json!({ "items": rows, "shown": 100, "total": 500, "has_more": false, "next_cursor": "c" });
        let fitted = fit(list, MAX);
        assert_eq!(fitted["items"].as_array().unwrap().len() as u64, fitted["shown"].as_u64().unwrap());
        assert_eq!((fitted["total"].as_u64(), fitted["has_more"].as_bool()), (Some(500), Some(true)));
        assert!(fitted.get("next_cursor").is_none() && fitted.get("cut").is_none());
    }
}
