//! Roles people have, and whom a question is about.

use super::frame::Frame;
use super::lexicon::Family;
use super::reading::Reading;
use super::tags;

/// A section is a set of roles; two of one set exclude each other.
pub(super) const LIST: &str = "
[account]
administrator
guest
moderator
editor
viewer
member
[trade]
buyer, purchaser, customer, client, shopper
seller, vendor
supplier, vendor
courier, carrier
[work]
employer
employee, worker, staff
contractor, contract worker
freelancer, self employed, freelance
manager, supervisor, boss
intern
apprentice
[home]
tenant, renter
landlord, property owner
roommate, flatmate, housemate
subtenant
neighbor
[money]
lender, creditor
borrower, debtor
cosigner, guarantor
[school]
student, pupil
teacher, instructor
professor
principal
[health]
doctor, physician
nurse
patient
pharmacist
dentist
[insurance]
insurer, insurance company
insured, policyholder
beneficiary
[law]
plaintiff
defendant
judge
witness
lawyer, attorney
[travel]
passenger
pilot
driver
host
[age]
baby, newborn, infant, child, toddler, teenager, teen, kid
adult, grown up
senior, elderly, senior citizen
[young]
baby, newborn, infant
toddler
teenager, teen
[kin]
wife, spouse, partner
husband, spouse, partner
son
daughter
brother
sister
father, dad, parents
mother, mum, mom, parents
grandfather, grandpa, grandparents
grandmother, grandma, grandparents
boyfriend
girlfriend
friend
[sex]
man, male, boy
woman, female, girl
";

/// Whose matter it is.
pub(super) const PERSONS: &str = "
[owner]
my, mine, our
your, yours
his, her, hers
their, theirs
[subject]
he
she
[object]
him
her
";

/// Somebody else's matter, in otherwise nearly equal questions.
pub(super) fn owner(a: &Reading, b: &Reading, frame: &Frame) -> Option<String> {
    if !frame.is_minimal(2) {
        return None;
    }
    tags::conflict(a, b, Family::Person).or_else(|| {
        let (x, y) = (third_persons(a), third_persons(b));
        let differs = x.len() == y.len() && x.iter().zip(&y).any(|(p, q)| p.0 != q.0);
        differs.then(|| format!("'{}' against '{}'", joined(&x), joined(&y)))
    })
}

/// He or she, in the order of the question: `he rejects her` is not `she rejects him`.
fn third_persons(reading: &Reading) -> Vec<(bool, &str)> {
    let sex = |word: &str| match word {
        "he" | "him" | "his" => Some(false),
        "she" | "her" | "hers" => Some(true),
        _ => None,
    };
    reading.units.iter().filter_map(|u| Some((sex(&u.shown)?, u.shown.as_str()))).collect()
}

fn joined(persons: &[(bool, &str)]) -> String {
    persons.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_roles_differ() {
        for (a, b) in [
            ("Can the buyer cancel the sale?", "Can the seller cancel the sale?"),
            ("May my employer see this?", "May my employee see this?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Role), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn who_acts_and_who_is_acted_on_differ_in_pronouns_too() {
        let found = slots("If Anna met Ben, would she like him?", "If Anna met Ben, would he like her?");
        assert!(found.contains(&Slot::Person), "{found:?}");
    }

    #[test]
    fn two_words_for_a_role_match() {
        for (a, b) in [
            ("Can the buyer cancel the sale?", "Can the purchaser cancel the sale?"),
            ("Can my father sign it?", "Can my dad sign it?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Role), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
