//! The demo's answers: enough ordinary questions, in more than one wording, to watch a cache work, and pairs that are
//! close but different, so that a wrong hit would show.

/// An answer and the words that call for it: one of each group, matched as whole words.
struct Canned {
    groups: &'static [&'static [&'static str]],
    answer: &'static str,
}

const fn canned(groups: &'static [&'static [&'static str]], answer: &'static str) -> Canned {
    Canned { groups, answer }
}

/// Read in order; the first whose groups are all met answers.
const ANSWERS: &[Canned] = &[
    canned(
        &[&["2fa", "two-factor", "two factor"], &["disable", "turn off", "remove", "deactivate"]],
        "To turn two-factor authentication off, open Settings > Security, choose Two-factor authentication, press Turn off and confirm with a current code.",
    ),
    canned(
        &[&["2fa", "two-factor", "two factor"]],
        "To turn two-factor authentication on, open Settings > Security, choose Two-factor authentication, scan the QR code with an authenticator app and enter the code it shows.",
    ),
    canned(
        &[&["password"], &["reset", "forgot", "forgotten", "lost", "recover", "change", "new"]],
        "Open the sign-in page, choose \"Forgot password?\", enter your e-mail address and follow the link we send you. The link works for one hour.",
    ),
    canned(
        &[&["refund", "refunds", "money back", "return", "returns"]],
        "You can return an unused item within 30 days. The refund goes to the original payment method within 5 working days after we receive it.",
    ),
    canned(
        &[&[
            "opening hours",
            "opening times",
            "business hours",
            "when are you open",
            "are you open",
            "when do you open",
        ]],
        "The shop is open Monday to Friday from 9:00 to 18:00 and Saturday from 10:00 to 16:00. It is closed on Sunday.",
    ),
    canned(
        &[&["cancel", "end", "stop"], &["subscription", "plan", "membership"]],
        "Open Settings > Billing, choose Cancel subscription and confirm. You keep access until the end of the period you have paid for.",
    ),
    canned(
        &[&["change", "upgrade", "switch", "downgrade"], &["plan", "subscription"]],
        "Open Settings > Billing and choose Change plan. An upgrade starts at once and is charged pro rata; a downgrade starts with the next period.",
    ),
    canned(
        &[&["shipping", "delivery", "deliver", "ship"], &["long", "time", "when", "days"]],
        "Standard delivery takes 3 to 5 working days, express delivery 1 to 2.",
    ),
    canned(&[&["capital"], &["france"]], "The capital of France is Paris."),
    canned(&[&["capital"], &["spain"]], "The capital of Spain is Madrid."),
    canned(&[&["capital"], &["germany"]], "The capital of Germany is Berlin."),
    canned(&[&["capital"], &["italy"]], "The capital of Italy is Rome."),
    canned(&[&["capital"], &["australia"]], "The capital of Australia is Canberra."),
    canned(
        &[&["euros to dollars", "euro to dollar", "eur to usd"]],
        "Multiply the amount in euros by the current EUR/USD rate. At a rate of 1.10, 10 euros are 11 dollars.",
    ),
    canned(
        &[&["dollars to euros", "dollar to euro", "usd to eur"]],
        "Divide the amount in dollars by the current EUR/USD rate. At a rate of 1.10, 11 dollars are 10 euros.",
    ),
    canned(
        &[&["reverse"], &["list", "array"], &["python"]],
        "Use `items[::-1]` for a reversed copy, or `items.reverse()` to reverse the list in place.",
    ),
    canned(
        &[&["semantic cache", "semantic caching"]],
        "A semantic cache stores answers and serves one again when a new question means the same as an earlier one, even in other words. It saves time and money; its risk is serving the answer to a question that is close but different.",
    ),
    canned(
        &[&["boiling point", "boil"], &["water"]],
        "At sea level water boils at 100 degrees Celsius (212 degrees Fahrenheit).",
    ),
    canned(&[&["hello", "hi", "hey", "good morning"]], "Hello! What can I do for you?"),
    canned(&[&["thank you", "thanks"]], "You are welcome!"),
];

/// The demo's answer to `question`; honest about what it is when it has none.
pub(super) fn answer(question: &str) -> String {
    let padded = padded(question);
    let met = |canned: &&Canned| canned.groups.iter().all(|group| group.iter().any(|word| holds(&padded, word)));
    match ANSWERS.iter().find(met) {
        Some(canned) => canned.answer.to_owned(),
        None => format!("This is the built-in demo model. You asked: {}", question.trim()),
    }
}

/// Lower case, with single blanks for everything that is not part of a word, and one at each end.
fn padded(question: &str) -> String {
    let mut text = String::from(" ");
    for c in question.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() || c == '-' {
            text.push(c);
        } else if !text.ends_with(' ') {
            text.push(' ');
        }
    }
    if !text.ends_with(' ') {
        text.push(' ');
    }
    text
}

fn holds(padded: &str, words: &str) -> bool {
    padded.match_indices(words).any(|(at, _)| {
        let before = padded.get(..at).is_some_and(|text| text.ends_with(' '));
        before && padded.get(at + words.len()..).is_some_and(|text| text.starts_with(' '))
    })
}
