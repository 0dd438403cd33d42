//! How one setting's value is read, from a file's TOML or from a flag's text.

use std::path::PathBuf;

use toml_edit::Value;

/// A kind of setting.
pub(super) trait Setting: Sized {
    /// What a value must be, for the message when it is not.
    const WANTS: &'static str;

    /// Reads a flag or variable.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads a file's value.
    fn from_toml(value: &Value) -> Option<Self>;
}

impl Setting for String {
    const WANTS: &'static str = "a text in quotes";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Setting for PathBuf {
    const WANTS: &'static str = "a path in quotes";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }
}

impl Setting for Vec<String> {
    const WANTS: &'static str = "a list of texts in quotes, such as [\"a\", \"b\"]";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.split(',').map(|part| part.trim().to_owned()).collect())
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

impl Setting for bool {
    const WANTS: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for f64 {
    const WANTS: &'static str = "a number such as 0.9";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|value: &Self| value.is_finite())
    }

    #[expect(clippy::cast_precision_loss, reason = "settings are small")]
    fn from_toml(value: &Value) -> Option<Self> {
        value.as_float().or_else(|| value.as_integer().map(|whole| whole as Self)).filter(|value| value.is_finite())
    }
}

/// A count, or a time in the unit that the key ends in.
impl Setting for u64 {
    const WANTS: &'static str = "a whole number, zero or above";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().replace('_', "").parse().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|value| value.try_into().ok())
    }
}

/// Bytes: a number, or a text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

impl Setting for ByteSize {
    const WANTS: &'static str = "a number of bytes, or a size such as \"64MiB\"";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits)?;
        let number: u64 = number.replace('_', "").parse().ok()?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "ki" | "kib" => 1 << 10,
            "mi" | "mib" => 1 << 20,
            "gi" | "gib" => 1 << 30,
            "ti" | "tib" => 1 << 40,
            _ => return None,
        };
        number.checked_mul(factor).map(Self)
    }

    fn from_toml(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => u64::from_toml(value).map(Self),
        }
    }
}

/// Texts: a list in a file, with commas between them in a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts(pub(super) Vec<String>);

impl Setting for Texts {
    const WANTS: &'static str = "a list of texts in quotes";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()))
    }

    fn from_toml(value: &Value) -> Option<Self> {
        let texts = value.as_array()?.iter().map(String::from_toml);
        texts.collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("64MiB", Some(64 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("10gb", Some(10_000_000_000)),
            ("1.5GiB", None),
            ("MiB", None),
            ("-1", None),
            ("9 parsecs", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(ByteSize::from_text(text).map(|size| size.0), bytes, "{text}");
        }
    }

    #[test]
    fn numbers_must_be_finite_and_switches_plain() {
        assert_eq!(f64::from_text("NaN"), None);
        assert_eq!(f64::from_text(" 0.5 "), Some(0.5));
        assert_eq!(bool::from_text("ON"), Some(true));
        assert_eq!(bool::from_text("maybe"), None);
        assert_eq!(u64::from_text("-1"), None);
    }
}
