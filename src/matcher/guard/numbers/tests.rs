//! Figures in words and digits, and when two of them exclude each other.

use crate::matcher::guard::tests::slots;
use crate::matcher::guard::{Slot, Verdict, check};

#[test]
fn other_figures_differ() {
    for (a, b) in [
        ("Can I bring 2 bags on board?", "Can I bring three bags on board?"),
        ("Is the discount 10% for students?", "Is the discount 15% for students?"),
        ("What is the first step of the plan?", "What is the third step of the plan?"),
        ("Is lunch at 1 pm?", "Is lunch at 3 pm?"),
        ("Does it cost $20?", "Does it cost $25?"),
        ("What is 15% of 80?", "What is 80% of 15?"),
        ("Is a ticket valid for two hours?", "Is a ticket valid for 90 minutes?"),
    ] {
        assert!(slots(a, b).contains(&Slot::Number), "{a} / {b}: {:?}", slots(a, b));
    }
}

#[test]
fn one_amount_written_twice_matches() {
    for (a, b) in [
        ("Is the limit 1,500 words?", "Is the limit fifteen hundred words?"),
        ("Is it open until 15:00?", "Is it open until 3 pm?"),
        ("Is it 26.2 miles long?", "Is it twenty-six point two miles long?"),
        ("Do they sell half a dozen eggs?", "Do they sell six eggs?"),
        ("Who won the cup in 2008?", "who won the cup in '08"),
        ("Is it 25 percent off?", "Is it 25% off?"),
        ("what do i need 2 bring 4 the exam", "what do I need to bring for the exam"),
    ] {
        assert!(!slots(a, b).contains(&Slot::Number), "{a} / {b}: {:?}", slots(a, b));
    }
}

#[test]
fn spelled_numbers_have_their_value() {
    use crate::matcher::guard::Reading;
    for (text, value) in [
        ("one hundred and twenty", 120.0),
        ("two thousand five hundred", 2500.0),
        ("forty-two", 42.0),
        ("a thousand", 1000.0),
        ("3/4", 0.75),
        ("10k", 10_000.0),
    ] {
        let reading = Reading::of(text);
        assert_eq!(reading.numbers.len(), 1, "{text}");
        assert!((reading.numbers[0].0.raw - value).abs() < 1e-9, "{text}");
    }
}

#[test]
fn small_figures_that_face_each_other_differ_also_where_one_could_be_a_word() {
    for (cached, asked) in [
        ("What does article 1 of the catalogue cost?", "What does article 2 of the catalogue cost?"),
        ("What does article 2 of the catalogue cost?", "What does article 4 of the catalogue cost?"),
        ("Explain chapter 4 of the handbook.", "Explain chapter 1 of the handbook."),
    ] {
        assert!(matches!(check(cached, asked), Verdict::Reject { .. }), "{cached} / {asked}");
    }
}
