//! What a policy says of personal data, applied to what was found.

use super::PersonalData;
use crate::privacy::Kind;

/// What becomes of personal data in a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privacy {
    /// In what users say, in any turn.
    pub questions: PersonalData,
    /// In what the model says.
    pub answers: PersonalData,
    /// Records of traffic may hold the words of questions without personal data.
    pub traffic_text: bool,
}

impl Privacy {
    /// What becomes of a question whose worst personal data is `found`.
    pub fn of_question(self, found: Option<Kind>) -> PersonalData {
        treatment(self.questions, found)
    }

    /// What becomes of an answer whose worst personal data is `found`.
    pub fn of_answer(self, found: Option<Kind>) -> PersonalData {
        treatment(self.answers, found)
    }

    /// Whether it lets nothing through that `other` does not.
    pub fn is_at_least_as_strict_as(self, other: Self) -> bool {
        self.questions <= other.questions && self.answers <= other.answers
    }
}

/// A key or a card does harm wherever it lies, so only a policy that allows everything keeps it.
fn treatment(setting: PersonalData, found: Option<Kind>) -> PersonalData {
    match found {
        None => PersonalData::Allow,
        Some(kind) if kind.is_usable_by_anyone() && setting == PersonalData::Exact => PersonalData::KeepOut,
        Some(_) => setting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_cards_are_kept_out_unless_everything_is_allowed() {
        use PersonalData::{Allow, Exact, KeepOut};
        for (setting, email, key) in [(KeepOut, KeepOut, KeepOut), (Exact, Exact, KeepOut), (Allow, Allow, Allow)] {
            let privacy = Privacy { questions: setting, answers: setting, traffic_text: false };
            assert_eq!(privacy.of_question(None), Allow);
            assert_eq!(privacy.of_question(Some(Kind::Email)), email);
            assert_eq!(privacy.of_answer(Some(Kind::Secret)), key);
            assert_eq!(privacy.of_answer(Some(Kind::Card)), key);
        }
    }

    #[test]
    fn a_privacy_is_stricter_only_in_both_parts() {
        let of = |questions, answers| Privacy { questions, answers, traffic_text: false };
        let usual = of(PersonalData::Exact, PersonalData::Exact);
        assert!(of(PersonalData::KeepOut, PersonalData::Exact).is_at_least_as_strict_as(usual));
        assert!(!of(PersonalData::KeepOut, PersonalData::Allow).is_at_least_as_strict_as(usual));
    }
}
