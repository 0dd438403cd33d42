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
