//! The model that a request names, for choosing its upstream where the request is not parsed any further.

use serde::Deserialize;

/// What Gemini's paths do with the model that they name.
const GEMINI_VERBS: &[&str] =
    &["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"];

/// The `model` of a JSON body, whatever else it holds. `None` where none is named, or more than one.
pub fn model_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        model: String,
    }
    serde_json::from_slice::<Named>(body).ok().map(|named| named.model).filter(|model| !model.is_empty())
}

/// The model in a path such as `/v1beta/models/gemini-2.5-flash:generateContent`, where Gemini's protocol names it.
pub fn model_in_path(path_and_query: &str) -> Option<&str> {
    method_in_path(path_and_query).filter(|(_, verb)| GEMINI_VERBS.contains(verb)).map(|(model, _)| model)
}

/// The model and what is done with it, in a path of Gemini's form.
pub(super) fn method_in_path(path_and_query: &str) -> Option<(&str, &str)> {
    let path = path_and_query.split('?').next().unwrap_or_default();
    let (_, named) = path.rsplit_once("/models/")?;
    named.rsplit_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bodys_model_is_read_only_when_there_is_exactly_one() {
        for (body, model) in [
            (r#"{"messages": [1, {"model": "inner"}], "model": "gpt-4o", "n": 2}"#, Some("gpt-4o")),
            (r#"{"model": "a", "model": "b"}"#, None),
            (r#"{"model": ""}"#, None),
            (r#"{"model": 4}"#, None),
            (r#"{"model": "a""#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(model_of(body.as_bytes()).as_deref(), model, "{body}");
        }
    }

    #[test]
    fn geminis_model_stands_in_the_path() {
        for (path, model) in [
            ("/v1beta/models/gemini-2.5-flash:generateContent", Some("gemini-2.5-flash")),
            ("/v1/models/tuned:x:streamGenerateContent?alt=sse", Some("tuned:x")),
            ("/v1/models/ft:gpt-4o:org", None),
            ("/v1/models", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(model_in_path(path), model, "{path}");
        }
    }
}
