//! Units and currencies: amounts in a base unit, and units named without an amount ("in Celsius").

/// What a unit measures. Dimensions without an exact rate between their units stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    /// Seconds.
    Time,
    /// Months: not a fixed number of days.
    Months,
    /// Metres.
    Length,
    /// Grams.
    Mass,
    /// Millilitres.
    Volume,
    /// Bytes.
    Data,
    Celsius,
    Fahrenheit,
    Kelvin,
    Calories,
    /// Square metres.
    Area,
    Dollar,
    Euro,
    Pound,
    Yen,
    Rupee,
    Cent,
    Bitcoin,
    Words,
    Watts,
}

use Dimension as D;

const UNITS: &[(&str, Dimension, f64)] = &[
    ("second seconds sec secs s", D::Time, 1.0),
    ("minute minutes min mins", D::Time, 60.0),
    ("hour hours hr hrs h", D::Time, 3600.0),
    ("day days", D::Time, 86_400.0),
    ("week weeks wk wks", D::Time, 604_800.0),
    ("fortnight fortnights", D::Time, 1_209_600.0),
    ("month months mo mos mth mths", D::Months, 1.0),
    ("year years yr yrs", D::Months, 12.0),
    ("decade decades", D::Months, 120.0),
    ("ms millisecond milliseconds", D::Time, 0.001),
    ("mm millimeter millimeters millimetre millimetres", D::Length, 0.001),
    ("cm centimeter centimeters centimetre centimetres", D::Length, 0.01),
    ("m meter meters metre metres", D::Length, 1.0),
    ("km kilometer kilometers kilometre kilometres kms", D::Length, 1000.0),
    ("inch inches", D::Length, 0.0254),
    ("foot feet ft", D::Length, 0.3048),
    ("yard yards yd", D::Length, 0.9144),
    ("mile miles mi", D::Length, 1609.344),
    ("mg milligram milligrams", D::Mass, 0.001),
    ("g gram grams gr gramme grammes", D::Mass, 1.0),
    ("kg kilo kilos kilogram kilograms kgs", D::Mass, 1000.0),
    ("ounce ounces oz", D::Mass, 28.349_523_125),
    ("lb lbs", D::Mass, 453.592_37),
    ("ml milliliter milliliters millilitre millilitres", D::Volume, 1.0),
    ("liter liters litre litres l", D::Volume, 1000.0),
    ("cup cups", D::Volume, 236.588),
    ("tablespoon tablespoons tbsp", D::Volume, 14.787),
    ("teaspoon teaspoons tsp", D::Volume, 4.929),
    ("gallon gallons gal", D::Volume, 3785.41),
    ("pint pints", D::Volume, 473.176),
    ("byte bytes", D::Data, 1.0),
    ("kb kilobyte kilobytes", D::Data, 1e3),
    ("mb megabyte megabytes", D::Data, 1e6),
    ("gb gig gigs gigabyte gigabytes", D::Data, 1e9),
    ("tb terabyte terabytes", D::Data, 1e12),
    ("celsius c centigrade", D::Celsius, 1.0),
    ("fahrenheit f farenheit", D::Fahrenheit, 1.0),
    ("kelvin", D::Kelvin, 1.0),
    ("calorie calories kcal cal", D::Calories, 1.0),
    ("sqm", D::Area, 1.0),
    ("dollar dollars usd bucks buck", D::Dollar, 1.0),
    ("euro euros eur", D::Euro, 1.0),
    ("pound pounds gbp quid", D::Pound, 1.0),
    ("yen jpy", D::Yen, 1.0),
    ("rupee rupees inr", D::Rupee, 1.0),
    ("cent cents", D::Cent, 1.0),
    ("bitcoin btc", D::Bitcoin, 1.0),
    ("word words", D::Words, 1.0),
    ("watt watts w", D::Watts, 1.0),
    ("kw kilowatt kilowatts", D::Watts, 1000.0),
];

/// Dimension and factor of a unit that follows a number.
pub(super) fn lookup(word: &str) -> Option<(Dimension, f64)> {
    static TABLE: std::sync::LazyLock<std::collections::HashMap<&str, (Dimension, f64)>> =
        std::sync::LazyLock::new(|| {
            UNITS.iter().flat_map(|(names, d, f)| names.split(' ').map(move |n| (n, (*d, *f)))).collect()
        });
    TABLE.get(word).copied()
}

/// Whether `tail` may be written right after a figure: `30min`, `9am`.
pub(super) fn is_glued(tail: &str) -> bool {
    // `5m` is five million as often as five metres, so it stays with the figure.
    !matches!(tail, "m" | "k" | "") && (matches!(tail, "am" | "pm") || lookup(tail).is_some())
}

/// The currency of a sign.
pub(super) fn currency_symbol(word: &str) -> Option<Dimension> {
    Some(match word {
        "$" => D::Dollar,
        "€" => D::Euro,
        "£" => D::Pound,
        "¥" => D::Yen,
        "₹" => D::Rupee,
        _ => return None,
    })
}

/// Units asked for by name; one section a dimension.
pub(super) const LIST: &str = "
[duration]
second, sec
minute, min
hour, hr
millisecond
[length]
centimeter, centimetre, cm
meter, metre
kilometer, kilometre, km
inch
foot, feet
mile
[mass]
gram
kilogram, kg, kilo
ounce, oz
lb
[volume]
milliliter, millilitre, ml
liter, litre
cup
tablespoon, tbsp
teaspoon, tsp
gallon
[temperature]
celsius, centigrade
fahrenheit, farenheit
kelvin
gas mark
[data]
megabyte, mb
gigabyte, gb
terabyte, tb
kilobyte, kb
[rate]
per second
per minute
per hour, hourly, an hour, a hour
per day, daily, a day, each day, every day
per week, weekly, a week, each week, every week
per month, monthly, a month, each month, every month
per year, yearly, annual, annually, a year, each year, every year, per annum
per person, per head, each person
per user, per seat
[energy]
calorie, kcal
joule, kilojoule, kj
[system]
metric
imperial
[pace]
mph, miles per hour
kmh, kph, km per hour, kilometers per hour
";

/// Currencies asked for by name.
pub(super) const CURRENCIES: &str = "
[currency]
dollar, usd, us dollar, $
euro, eur, €
pound, gbp, pound sterling, sterling, £
yen, jpy, japanese yen, ¥
rupee, inr, indian rupee, ₹
yuan, renminbi, rmb, cny
swiss franc, chf, franc
canadian dollar, cad
australian dollar, aud
peso, mxn
krona, kronor, sek
krone, nok, dkk
zloty, pln
ruble, rouble, rub
won, krw
lira
baht
shekel
rand, zar
bitcoin, btc
ethereum, eth, ether
dogecoin, doge
litecoin, ltc
solana
usdc
usdt, tether
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_units_differ() {
        for (a, b) in [
            ("Show the distance in miles.", "Show the distance in kilometers."),
            ("Is the fee per hour?", "Is the fee per week?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Unit), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn spellings_of_a_unit_match() {
        for (a, b) in [
            ("Show the distance in km.", "Show the distance in kilometres."),
            ("Is the fee hourly?", "Is the fee per hour?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Unit), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn amounts_are_compared_in_one_base() {
        for (a, b) in [
            ("Is 1.5 hours enough?", "Is 90 min enough?"),
            ("Is 2 kg too heavy?", "Is 2000 g too heavy?"),
            ("Is 50 usd ok?", "Is $50 ok?"),
        ] {
            assert!(slots(a, b).is_empty(), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
