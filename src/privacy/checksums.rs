//! Check digits. Each takes ASCII digits or letters alone and says whether they fit; anything else does not.

/// Values of ASCII digits; `None` when there is anything else, or nothing.
fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect::<Option<Vec<u32>>>().filter(|digits| !digits.is_empty())
}

fn weighted(digits: &[u32], weights: impl IntoIterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Payment cards (ISO/IEC 7812-1).
pub(super) fn luhn(number: &str) -> bool {
    digits(number).is_some_and(|digits| {
        let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
        let sum: u32 =
            digits.iter().rev().enumerate().map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit }).sum();
        sum.is_multiple_of(10)
    })
}

/// IBAN (ISO 13616): the first four characters moved to the end, letters as 10 to 35, remainder 1 by 97.
pub(super) fn iban(compact: &str) -> bool {
    let Some((head, body)) = compact.split_at_checked(4) else { return false };
    let mut rest = 0;
    for c in body.chars().chain(head.chars()) {
        let Some(value) = c.to_digit(36) else { return false };
        rest = (rest * if value > 9 { 100 } else { 10 } + value) % 97;
    }
    rest == 1
}

/// Aadhaar (Verhoeff: multiplication in the dihedral group of order ten).
pub(super) fn verhoeff(number: &str) -> bool {
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let times = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + (b - 5)) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a - 5 + 5 - (b - 5)) % 5,
    };
    digits(number).is_some_and(|digits| {
        let mut check = 0;
        for (at, digit) in digits.iter().rev().enumerate() {
            let permuted = (0..at % 8).fold(*digit, |digit, _| {
                usize::try_from(digit).ok().and_then(|at| PERMUTATION.get(at)).copied().unwrap_or_default()
            });
            check = times(check, permuted);
        }
        check == 0
    })
}

/// German tax id (ISO 7064 MOD 11,10). Of its first ten digits exactly one stands there twice or three times.
pub(super) fn steuer_id(number: &str) -> bool {
    let Some(digits) = digits(number).filter(|digits| digits.len() == 11 && digits.first() != Some(&0)) else {
        return false;
    };
    let (body, check) = digits.split_at(10);
    let times = |digit: u32| body.iter().filter(|other| **other == digit).count();
    let repeated: Vec<usize> = (0..10).map(times).filter(|times| *times > 1).collect();
    let product = body.iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    matches!(repeated.as_slice(), [2 | 3]) && check.first() == Some(&((11 - product) % 10))
}

/// German identity card, ten characters: weights 7, 3, 1 over nine, letters as 10 to 35.
pub(super) fn personalausweis(number: &str) -> bool {
    let values: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(36)).collect();
    values.filter(|values| values.len() == 10).is_some_and(|values| {
        let (body, check) = values.split_at(9);
        check.first() == Some(&(weighted(body, [7, 3, 1].into_iter().cycle()) % 10))
    })
}

/// French social security number, fifteen characters: the last two are 97 less the remainder of the others by 97.
/// Corsica's departments 2A and 2B count as 19 and 18.
pub(super) fn nir(number: &str) -> bool {
    let Some((body, key)) = number.split_at_checked(13).filter(|(_, key)| key.len() == 2) else { return false };
    let body = body.to_ascii_uppercase().replacen("2A", "19", 1).replacen("2B", "18", 1);
    match (body.parse::<u64>(), key.parse::<u64>()) {
        (Ok(body), Ok(key)) => key == 97 - body % 97,
        _ => false,
    }
}

/// Spanish DNI: eight digits and a letter that their remainder by 23 gives.
pub(super) fn dni(number: &str, letter: char) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let rest = number.parse::<usize>().ok().filter(|_| number.len() == 8).map(|number| number % 23);
    rest.and_then(|rest| LETTERS.get(rest)).is_some_and(|fits| char::from(*fits) == letter.to_ascii_uppercase())
}

/// Italian codice fiscale, sixteen characters: odd and even places have values of their own, the last is their sum by 26.
pub(super) fn codice_fiscale(code: &str) -> bool {
    const ODD: [u32; 36] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
        10, 22, 25, 24, 23,
    ];
    let values: Option<Vec<u32>> = code.chars().map(|c| c.to_digit(36)).collect();
    values.filter(|values| values.len() == 16).is_some_and(|values| {
        let (body, check) = values.split_at(15);
        let value = |(at, value): (usize, &u32)| match (at % 2, *value) {
            (0, value) => usize::try_from(value).ok().and_then(|at| ODD.get(at)).copied().unwrap_or_default(),
            (_, letter @ 10..) => letter - 10,
            (_, digit) => digit,
        };
        let sum: u32 = body.iter().enumerate().map(value).sum();
        check.first() == Some(&(sum % 26 + 10))
    })
}

/// Brazilian CPF: two check digits by 11.
pub(super) fn cpf(number: &str) -> bool {
    digits(number).filter(|digits| digits.len() == 11).is_some_and(|digits| {
        let check = |count: u32| {
            let rest = weighted(&digits, (2..=count + 1).rev()) * 10 % 11;
            rest % 10
        };
        digits.iter().any(|digit| Some(digit) != digits.first())
            && digits.get(9) == Some(&check(9))
            && digits.get(10) == Some(&check(10))
    })
}

/// Ten-digit ISBN: weights 10 to 1, divisible by 11.
pub(super) fn isbn10(number: &str) -> bool {
    digits(number)
        .filter(|digits| digits.len() == 10)
        .is_some_and(|digits| weighted(&digits, (1..=10).rev()).is_multiple_of(11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_fit_and_a_changed_digit_does_not() {
        type Check = fn(&str) -> bool;
        let cases: [(Check, &str, &str); 10] = [
            (luhn, "4111111111111111", "4111111111111112"),
            (iban, "DE89370400440532013000", "DE89370400440532013001"),
            (verhoeff, "234123412346", "234123412347"),
            (steuer_id, "86095742719", "86095742718"),
            (steuer_id, "47036892816", "47036892815"),
            (personalausweis, "T220001293", "T220001294"),
            (nir, "255081416802538", "255081416802539"),
            (codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
            (cpf, "52998224725", "52998224724"),
            (isbn10, "0306406152", "0306406153"),
        ];
        for (check, good, bad) in cases {
            assert!(check(good), "{good}");
            assert!(!check(bad), "{bad}");
            assert!(!check("") && !check("x") && !check("ü2345678901234567"), "{good}");
        }
        assert!(dni("12345678", 'Z') && dni("12345678", 'z') && !dni("12345678", 'A') && !dni("1234567", 'Z'));
        assert!(nir("2550814168025") == nir("255081416802"), "too short");
    }
}
