//! Decimal numbers by value, whatever their size: `100`, `1e2` and `100.0` are one number.

/// `text`, a valid JSON number, as `[-]digits[e exponent]` without leading or trailing zeros; equal texts are equal
/// values and the other way round. `None` when the exponent does not fit 64 bits.
pub(super) fn normalise(text: &str) -> Option<String> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let shortest = significant.trim_end_matches('0');
    if shortest.is_empty() {
        return Some("0".into());
    }
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let dropped = i64::try_from(significant.len() - shortest.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
    let sign = if negative { "-" } else { "" };
    Some(if exponent == 0 { format!("{sign}{shortest}") } else { format!("{sign}{shortest}e{exponent}") })
}

/// `text` as a whole number of 64 bits, if it is one by value.
pub(super) fn as_u64(text: &str) -> Option<u64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let normal = normalise(text)?;
    let (digits, exponent) = normal.split_once('e').unwrap_or((&normal, "0"));
    let power = 10_u64.checked_pow(exponent.parse().ok()?)?;
    digits.parse::<u64>().ok()?.checked_mul(power)
}
