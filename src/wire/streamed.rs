//! The body of a request for JSON, asking for a stream instead: what a flight sends whose readers want to stream.
//!
//! Two small edits to the client's own bytes: `stream` becomes true, and where usage is only told on demand it is asked
//! for, for JSON always has it.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Family,
    canonical::{self, Object, splice},
    chat::{just_inside, usage_edit},
};

/// `body`, which asks for JSON, asking for a stream. `None` where the family's shape is not a member of its body.
pub(super) fn streamed(family: Family, body: &Bytes) -> Option<Bytes> {
    let tells_usage_on_demand = match family {
        Family::Chat | Family::Completions => true,
        Family::Messages | Family::Responses | Family::Ollama => false,
        Family::Embeddings | Family::Gemini => return None,
    };
    let node = canonical::parse(body).ok()?;
    let root = node.as_object()?;
    let mut edits = vec![stream_edit(body, root)];
    edits.extend(tells_usage_on_demand.then(|| usage_edit(body, root)));
    edits.sort_by_key(|(range, _)| range.start);
    Some(Bytes::from(splice(body, &edits)))
}

fn stream_edit(body: &[u8], root: &Object<'_>) -> (Range<usize>, &'static str) {
    match root.member("stream") {
        Some(member) => (member.node.span(), "true"),
        None => (just_inside(body, 0), "\"stream\":true,"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(family: Family, body: &'static str) -> String {
        let streamed = streamed(family, &Bytes::from_static(body.as_bytes())).unwrap();
        String::from_utf8(streamed.to_vec()).unwrap()
    }

    #[test]
    fn a_stream_is_asked_for_with_its_usage_and_every_other_byte_stays() {
        let cases = [
            (
                Family::Chat,
                r#" { "model":"m" , "n": 1}"#,
                r#" {"stream":true,"stream_options":{"include_usage":true}, "model":"m" , "n": 1}"#,
            ),
            (
                Family::Completions,
                r#"{"stream":false,"model":"m"}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#,
            ),
            (
                Family::Chat,
                r#"{"model":"m","stream_options":null,"stream":null}"#,
                r#"{"model":"m","stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (Family::Messages, r#"{"model":"m"}"#, r#"{"stream":true,"model":"m"}"#),
            (Family::Responses, r#"{"model":"m","stream": false}"#, r#"{"model":"m","stream": true}"#),
        ];
        for (family, body, expected) in cases {
            assert_eq!(text(family, body), expected);
        }
        assert_eq!(streamed(Family::Embeddings, &Bytes::from_static(b"{}")), None);
    }
}
