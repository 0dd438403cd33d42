//! Dates: months, weekdays, relative days and periods, quarters, seasons and holidays.

/// A section is a kind; two values of one kind exclude each other.
pub(super) const LIST: &str = "
[month]
january, jan
february, feb
march
april
june, jun
july, jul
august, aug
september, sept, sep
october, oct
november, nov
december, dec
[weekday]
monday, mondays, mon
tuesday, tuesdays, tue, tues
wednesday, wednesdays, weds
thursday, thursdays, thu, thurs
friday, fridays, fri
saturday, saturdays
sunday, sundays
weekend, weekends
[relative]
today
tomorrow
yesterday
tonight
day after tomorrow
day before yesterday
[period]
this week, current week
last week, previous week
next week, coming week
this month, current month
last month, previous month, past month
next month, coming month
this quarter, current quarter
last quarter, previous quarter
next quarter
this year, current year
last year, previous year, past year, last calendar year
next year, coming year
year to date, ytd
[quarter]
q1, first quarter
q2, second quarter
q3, third quarter
q4, fourth quarter
[season]
spring
summer
autumn
winter
[part of day]
morning, mornings
afternoon, afternoons
evening, evenings
night, nights, overnight
[holiday]
christmas, xmas
easter
thanksgiving
halloween
new year, new years eve, new year eve
ramadan
hanukkah
diwali
black friday
labor day
memorial day
independence day
valentines day, valentine day
mother day, mothers day
father day, fathers day
boxing day
[frequency]
daily, every day, each day
weekly, every week, each week
biweekly, fortnightly, every two weeks
monthly, every month, each month
quarterly, every quarter, each quarter
yearly, annually, every year, each year
hourly, every hour
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_dates_differ() {
        for (a, b) in [
            ("Is the office open in July?", "Is the office open in August?"),
            ("What were sales last quarter?", "What were sales this quarter?"),
            ("Do trains run at Christmas?", "Do trains run at Easter?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Date), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn short_forms_of_a_date_match() {
        for (a, b) in [
            ("Is the office open in Dec?", "Is the office open in December?"),
            ("What were sales last year?", "What were sales in the previous year?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Date), "{a} / {b}: {:?}", slots(a, b));
        }
    }
}
