//! Formats and lengths asked for: table, JSON, a bullet list, one sentence.

/// A section is a kind; two values of one kind exclude each other.
pub(super) const LIST: &str = "
[layout]
table
json
yaml, yml
csv
xml
html
markdown, md
bullet, bullet list, bullet point, bulleted list
numbered list
paragraph
essay
poem, haiku, limerick, sonnet
email
letter
tweet
blog post
bar chart
pie chart
line chart
diagram, flowchart
slide, powerpoint, presentation
checklist
one liner
report
speech
sms, text message
headline
pdf
latex
regex
sql, sql query
docstring
[file]
jpg, jpeg
png
gif
svg
webp
heic
tiff
mp3
mp4
wav
docx
xlsx
epub
zip
tar
iso
[style]
formal, formally
casual, informal, informally
funny, humorous
friendly
professional
technical
persuasive
sarcastic
apologetic
[detail]
short, brief, concise
detailed, in detail, in depth, comprehensive
[base]
binary
hexadecimal, hex
octal
decimal
base64
roman numeral
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_formats_differ() {
        for (a, b) in [
            ("Give me the list as JSON.", "Give me the list as CSV."),
            ("Is a detailed plan needed?", "Is a brief plan needed?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Format), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn short_forms_of_a_format_match() {
        let (a, b) = ("Give me the list as md.", "Give me the list as Markdown.");
        assert!(!slots(a, b).contains(&Slot::Format), "{a} / {b}: {:?}", slots(a, b));
    }
}
